"""documents of funds: never changed, hashed by the database too, word files, and auditors read them."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    for name in ("kind_known", "hash_is_sha256"):
        op.drop_constraint(op.f(f"ck_fund_document_{name}"), "fund_document")
    op.create_check_constraint(
        op.f("ck_fund_document_kind_known"), "fund_document", "kind IN ('pdf', 'png', 'jpeg', 'xlsx', 'docx')"
    )
    op.create_check_constraint(
        op.f("ck_fund_document_hash_is_sha256"), "fund_document", "sha256 = sha256(content)"
    )
    op.execute(
        "CREATE TRIGGER fund_document_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON fund_document"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "ALTER POLICY portal ON fund_document USING"
        " (portal_context('role') IN ('officer', 'auditor') AND fund_id IN (SELECT id FROM fund))"
    )
