"""what the review queue shows of every line: the match it beat; how many lines of a batch are open, kept by triggers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# One aggregate per statement, not per line: a run that opens a million lines counts them once.
_COUNT_OPENED = """
CREATE FUNCTION count_opened_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO review_batch AS b
        (run_id, fund_id, district_code, open_lines, open_rupiah, confirming_lines, confirming_rupiah)
    SELECT p.run_id, p.fund_id, n.district_code,
           count(*) FILTER (WHERE p.state = 'proposed'),
           coalesce(sum(p.amount_rupiah) FILTER (WHERE p.state = 'proposed'), 0),
           count(*) FILTER (WHERE p.state = 'confirming'),
           coalesce(sum(p.amount_rupiah) FILTER (WHERE p.state = 'confirming'), 0)
    FROM fresh p JOIN coverage_need n ON n.id = p.need_id
    WHERE p.state IN ('proposed', 'confirming')
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (run_id, fund_id, district_code) DO UPDATE SET
        open_lines = b.open_lines + excluded.open_lines,
        open_rupiah = b.open_rupiah + excluded.open_rupiah,
        confirming_lines = b.confirming_lines + excluded.confirming_lines,
        confirming_rupiah = b.confirming_rupiah + excluded.confirming_rupiah,
        changed_at = clock_timestamp();
    RETURN NULL;
END $$
"""
_COUNT_CHANGED = """
CREATE FUNCTION count_changed_lines() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE review_batch b SET
        open_lines = b.open_lines + c.open_lines, open_rupiah = b.open_rupiah + c.open_rupiah,
        confirming_lines = b.confirming_lines + c.confirming_lines,
        confirming_rupiah = b.confirming_rupiah + c.confirming_rupiah, changed_at = clock_timestamp()
    FROM (
        SELECT p.run_id, p.fund_id, n.district_code,
               coalesce(sum(p.sign) FILTER (WHERE p.state = 'proposed'), 0) AS open_lines,
               coalesce(sum(p.sign * p.amount_rupiah) FILTER (WHERE p.state = 'proposed'), 0) AS open_rupiah,
               coalesce(sum(p.sign) FILTER (WHERE p.state = 'confirming'), 0) AS confirming_lines,
               coalesce(sum(p.sign * p.amount_rupiah) FILTER (WHERE p.state = 'confirming'), 0)
                   AS confirming_rupiah
        FROM (SELECT need_id, run_id, fund_id, amount_rupiah, state, 1 AS sign FROM fresh
              UNION ALL
              SELECT need_id, run_id, fund_id, amount_rupiah, state, -1 FROM stale) p
        JOIN coverage_need n ON n.id = p.need_id
        WHERE p.state IN ('proposed', 'confirming')
        GROUP BY 1, 2, 3
    ) c
    WHERE b.run_id = c.run_id AND b.fund_id = c.fund_id AND b.district_code = c.district_code
      AND (c.open_lines <> 0 OR c.open_rupiah <> 0 OR c.confirming_lines <> 0 OR c.confirming_rupiah <> 0);
    RETURN NULL;
END $$
"""
# A worker who moves takes the undecided line to the other district's batch.
_MOVE_LINE = """
CREATE FUNCTION move_review_line() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    line proposal;
    opened int;
BEGIN
    SELECT * INTO line FROM proposal WHERE need_id = NEW.id AND state IN ('proposed', 'confirming');
    IF FOUND THEN
        opened := (line.state = 'proposed')::int;
        UPDATE review_batch SET
            open_lines = open_lines - opened, open_rupiah = open_rupiah - opened * line.amount_rupiah,
            confirming_lines = confirming_lines - (1 - opened),
            confirming_rupiah = confirming_rupiah - (1 - opened) * line.amount_rupiah,
            changed_at = clock_timestamp()
        WHERE run_id = line.run_id AND fund_id = line.fund_id AND district_code = OLD.district_code;
        INSERT INTO review_batch AS b
            (run_id, fund_id, district_code, open_lines, open_rupiah, confirming_lines, confirming_rupiah)
        VALUES (line.run_id, line.fund_id, NEW.district_code, opened, opened * line.amount_rupiah,
                1 - opened, (1 - opened) * line.amount_rupiah)
        ON CONFLICT (run_id, fund_id, district_code) DO UPDATE SET
            open_lines = b.open_lines + excluded.open_lines,
            open_rupiah = b.open_rupiah + excluded.open_rupiah,
            confirming_lines = b.confirming_lines + excluded.confirming_lines,
            confirming_rupiah = b.confirming_rupiah + excluded.confirming_rupiah,
            changed_at = clock_timestamp();
    END IF;
    RETURN NULL;
END $$
"""
_TRIGGERS = (
    "CREATE TRIGGER proposal_opened_counted AFTER INSERT ON proposal REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION count_opened_lines()",
    "CREATE TRIGGER proposal_changed_counted AFTER UPDATE ON proposal"
    " REFERENCING OLD TABLE AS stale NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_changed_lines()",
    "CREATE TRIGGER coverage_need_moved AFTER UPDATE OF district_code ON coverage_need FOR EACH ROW"
    " WHEN (OLD.district_code IS DISTINCT FROM NEW.district_code) EXECUTE FUNCTION move_review_line()",
)
_COUNT_WHAT_STANDS = """
INSERT INTO review_batch
    (run_id, fund_id, district_code, open_lines, open_rupiah, confirming_lines, confirming_rupiah)
SELECT p.run_id, p.fund_id, n.district_code,
       count(*) FILTER (WHERE p.state = 'proposed'),
       coalesce(sum(p.amount_rupiah) FILTER (WHERE p.state = 'proposed'), 0),
       count(*) FILTER (WHERE p.state = 'confirming'),
       coalesce(sum(p.amount_rupiah) FILTER (WHERE p.state = 'confirming'), 0)
FROM proposal p JOIN coverage_need n ON n.id = p.need_id
WHERE p.state IN ('proposed', 'confirming')
GROUP BY 1, 2, 3
"""

# Who signed and in which words is the office's business alone: companies may read a decision, not these columns.
_DECISIONS = """
CREATE VIEW review_decision WITH (security_barrier) AS
SELECT d.id, d.action, d.fund_id, d.district_code, d.run_id, d.officer, d.reason, d.remark, d.lines,
       d.amount_rupiah, d.needs_second, d.state, d.second_officer, d.decided_at, d.closed_at
FROM decision d JOIN fund f ON f.id = d.fund_id
WHERE CASE portal_context('role')
    WHEN 'officer' THEN f.regency_code = portal_context('regency')
    WHEN 'auditor' THEN portal_context('regency') IS NULL OR f.regency_code = portal_context('regency')
    ELSE false END
"""
_OFFICE = "portal_context('role') IN ('officer', 'auditor') AND fund_id IN (SELECT id FROM fund)"


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "proposal", sa.Column("asks_points", sa.REAL(), comment="the fund's price; older lines have none")
    )
    op.add_column(
        "proposal", sa.Column("alternative_fund_id", sa.BigInteger(), comment="the best other fund")
    )
    op.add_column(
        "proposal", sa.Column("alternative_points", sa.REAL(), comment="what it asks more than this fund")
    )
    op.create_check_constraint(
        op.f("ck_proposal_alternative_whole"),
        "proposal",
        "num_nulls(alternative_fund_id, alternative_points) IN (0, 2)",
    )
    op.create_check_constraint(
        op.f("ck_proposal_alternative_is_another"),
        "proposal",
        "alternative_fund_id <> fund_id AND asks_points IS NOT NULL OR alternative_fund_id IS NULL",
    )
    op.create_index("ix_batch_claim_lapses", "batch_claim", ["lapses_at"])
    op.create_table(
        "review_batch",
        sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("fund_id", sa.BigInteger(), nullable=False),
        sa.Column("district_code", sa.Text(), nullable=False),
        sa.Column("open_lines", sa.Integer(), nullable=False),
        sa.Column("open_rupiah", sa.BigInteger(), nullable=False),
        sa.Column("confirming_lines", sa.Integer(), nullable=False),
        sa.Column("confirming_rupiah", sa.BigInteger(), nullable=False),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.Column(
            "changed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "open_lines >= 0 AND (open_lines = 0) = (open_rupiah = 0) AND open_rupiah >= 0",
            name=op.f("ck_review_batch_open_not_negative"),
        ),
        sa.CheckConstraint(
            "confirming_lines >= 0 AND (confirming_lines = 0) = (confirming_rupiah = 0) AND confirming_rupiah >= 0",
            name=op.f("ck_review_batch_confirming_not_negative"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["allocation_run.id"], name=op.f("fk_review_batch_run_id")),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_review_batch_fund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_batch")),
        sa.UniqueConstraint(
            "run_id", "fund_id", "district_code", name=op.f("uq_review_batch_run_id_fund_id_district_code")
        ),
    )
    op.create_index(
        "ix_review_batch_open", "review_batch", ["fund_id"], postgresql_where=sa.text("open_lines > 0")
    )
    op.execute(_COUNT_WHAT_STANDS)
    for statement in (_COUNT_OPENED, _COUNT_CHANGED, _MOVE_LINE, *_TRIGGERS, _DECISIONS):
        op.execute(statement)
    op.execute("REVOKE ALL ON review_decision FROM PUBLIC")
    op.execute("GRANT SELECT ON review_decision TO gotong_portal")
    for table in ("review_batch", "batch_claim"):
        show_to_portal(table, _OFFICE)
    grant_application()
