"""a paid month is its line's worker's: asked once for each statement, not looked up for each month."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# Signing for ten thousand lines writes a hundred thousand months. Looking each of their workers up was a third
# of that, and only said that such a worker exists; this says that it is the one the line pays for.
_CHECK = """
CREATE FUNCTION check_month_of_its_worker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (SELECT DISTINCT proposal_id, worker_id FROM fresh) f
        JOIN proposal p ON p.id = f.proposal_id
        JOIN coverage_need n ON n.id = p.need_id
        WHERE n.worker_id <> f.worker_id
    ) THEN
        RAISE EXCEPTION 'a paid month must be of the worker whom its line is for'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_funded_month_of_its_worker';
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Apply."""
    op.drop_constraint(op.f("fk_funded_month_worker_id"), "funded_month", type_="foreignkey")
    op.execute(_CHECK)
    for event in ("INSERT", "UPDATE"):
        op.execute(
            f"CREATE TRIGGER funded_month_{event.lower()}_of_its_worker AFTER {event} ON funded_month"
            " REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION check_month_of_its_worker()"
        )
