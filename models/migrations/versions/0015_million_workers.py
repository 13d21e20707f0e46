"""at a million workers: whom a village's verifier has to visit, and a company's own lines, without detours."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# What the policies of proposal, coverage_need and worker together leave a company (migration 0004), read once:
# under the policies every table looks the company's whole list of ids up again. No name, no NIK, no village.
_LINES = r"""
CREATE FUNCTION portal_company_lines() RETURNS TABLE (
    id bigint, fund_id bigint, worker_id bigint, district_code text, occupation text, programmes smallint,
    months smallint, start_month date, state text
) LANGUAGE sql STABLE SECURITY DEFINER ROWS 5000 SET search_path = pg_catalog, public AS $$
    SELECT p.id, p.fund_id, n.worker_id, n.district_code, w.occupation, n.programmes, p.months, n.start_month,
           p.state
    FROM fund f JOIN proposal p ON p.fund_id = f.id JOIN coverage_need n ON n.id = p.need_id
    JOIN worker w ON w.id = n.worker_id
    WHERE portal_context('role') IN ('company_user', 'company_admin') AND f.kind = 'csr'
      AND lpad(regexp_replace(f.npwp, '\D', '', 'g'), 16, '0') = portal_context('funder')
      AND p.state IN ('proposed', 'confirming', 'approved', 'enrolled')
$$
"""
_MONTHS = """
CREATE FUNCTION portal_company_months() RETURNS TABLE (
    worker_id bigint, district_code text, state text, programme smallint, month date
) LANGUAGE sql STABLE SECURITY DEFINER ROWS 20000 SET search_path = pg_catalog, public AS $$
    SELECT l.worker_id, l.district_code, l.state, m.programme, m.month
    FROM portal_company_lines() l JOIN funded_month m ON m.proposal_id = l.id
    WHERE l.state IN ('approved', 'enrolled')
$$
"""


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_coverage_need_village_open",
        "coverage_need",
        ["village_code", "reported_at", "id"],
        postgresql_where=sa.text("state IN ('waiting', 'proposed')"),
    )
    for name, definition in (("portal_company_lines", _LINES), ("portal_company_months", _MONTHS)):
        op.execute(definition)
        op.execute(f"REVOKE EXECUTE ON FUNCTION {name}() FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name}() TO gotong_portal")
