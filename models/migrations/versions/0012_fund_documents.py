"""documents of funds; whoever may read the audit record reads it under the portal's role."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


# A definer function, because the portal's role may not read accounts.
_ACTORS = """
CREATE FUNCTION portal_regency_actors() RETURNS SETOF text LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public AS $$
    SELECT a.email FROM account a WHERE a.regency_code = portal_context('regency')
$$
"""

# Table -> which of its rows the portal's role may read (portal/unit.py). A regency's records are those
# of its people, and those about itself and its funds.
POLICIES = {
    "audit_record": """
        CASE portal_context('role')
            WHEN 'administrator' THEN true
            WHEN 'officer' THEN actor IN (SELECT portal_regency_actors())
                OR subject = portal_context('regency') OR subject IN (SELECT code FROM fund)
            WHEN 'auditor' THEN portal_context('regency') IS NULL
                OR actor IN (SELECT portal_regency_actors())
                OR subject = portal_context('regency') OR subject IN (SELECT code FROM fund)
            ELSE false END
    """,
    "fund_document": "portal_context('role') = 'officer' AND fund_id IN (SELECT id FROM fund)",
}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "fund_document",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("fund_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("added_by", sa.Text(), nullable=False),
        sa.Column("added_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('pdf', 'png', 'jpeg', 'xlsx')", name=op.f("ck_fund_document_kind_known")
        ),
        sa.CheckConstraint("octet_length(sha256) = 32", name=op.f("ck_fund_document_hash_is_sha256")),
        sa.CheckConstraint(
            "octet_length(content) BETWEEN 1 AND 10485760", name=op.f("ck_fund_document_size_limited")
        ),
        sa.CheckConstraint("length(name) BETWEEN 1 AND 120", name=op.f("ck_fund_document_name_given")),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_fund_document_fund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fund_document")),
    )
    op.create_index("uq_fund_document_content", "fund_document", ["fund_id", "sha256"], unique=True)
    op.execute(_ACTORS)
    op.execute("REVOKE EXECUTE ON FUNCTION portal_regency_actors() FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION portal_regency_actors() TO gotong_portal")
    for table, condition in POLICIES.items():
        show_to_portal(table, condition)
    grant_application()
