"""a company's newest lines without reading all of its lines."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# As portal_company_lines (0015), but needs and workers are looked up for one page's lines alone; total counts all.
_NEWEST = r"""
CREATE FUNCTION portal_company_newest(states text[], skipped bigint, most bigint) RETURNS TABLE (
    id bigint, worker_id bigint, district_code text, occupation text, programmes smallint, months smallint,
    start_month date, state text, total bigint
) LANGUAGE sql STABLE SECURITY DEFINER ROWS 50 SET search_path = pg_catalog, public AS $$
    SELECT l.id, n.worker_id, n.district_code, w.occupation, n.programmes, l.months, n.start_month, l.state,
           l.total
    FROM (
        SELECT p.id, p.need_id, p.months, p.state, count(*) OVER () AS total
        FROM fund f JOIN proposal p ON p.fund_id = f.id
        WHERE portal_context('role') IN ('company_user', 'company_admin') AND f.kind = 'csr'
          AND lpad(regexp_replace(f.npwp, '\D', '', 'g'), 16, '0') = portal_context('funder')
          AND p.state IN ('proposed', 'confirming', 'approved', 'enrolled') AND p.state = ANY (states)
        ORDER BY p.id DESC OFFSET skipped LIMIT most
    ) l
    JOIN coverage_need n ON n.id = l.need_id JOIN worker w ON w.id = n.worker_id
$$
"""


def upgrade() -> None:
    """Apply."""
    op.execute(_NEWEST)
    op.execute("REVOKE EXECUTE ON FUNCTION portal_company_newest(text[], bigint, bigint) FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION portal_company_newest(text[], bigint, bigint) TO gotong_portal")
