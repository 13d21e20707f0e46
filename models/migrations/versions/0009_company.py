"""offers, messages and statements of companies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


_COMPANY = "portal_context('role') IN ('company_user', 'company_admin') AND funder = portal_context('funder')"

# An officer reads what is offered to the regency; a statement is the company's and nobody else's.
_POLICIES = {
    "pledge_offer": f"""
        {_COMPANY} OR (portal_context('role') = 'officer' AND regency_code = portal_context('regency'))
        OR (portal_context('role') = 'auditor'
            AND (portal_context('regency') IS NULL OR regency_code = portal_context('regency')))
    """,
    "statement": _COMPANY,
}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pledge_offer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("funder", sa.Text(), nullable=False, comment="the company's NPWP in 16 digits"),
        sa.Column("funder_name", sa.Text(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column(
            "fund_code",
            sa.Text(),
            nullable=True,
            comment="the fund a top-up is for, or what confirming made",
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("amount_rupiah", sa.BigInteger(), nullable=False),
        sa.Column("window_from", sa.Date(), nullable=False),
        sa.Column("window_to", sa.Date(), nullable=False),
        sa.Column("programmes", sa.SmallInteger(), nullable=False, comment="bit mask; 0 = every programme"),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column("offered_by", sa.Text(), nullable=False),
        sa.Column("offered_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("closed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("remark", sa.Text(), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=True),
        sa.Column("total_rupiah", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'confirmed', 'declined', 'withdrawn')",
            name=op.f("ck_pledge_offer_state_known"),
        ),
        sa.CheckConstraint("amount_rupiah > 0", name=op.f("ck_pledge_offer_amount_positive")),
        sa.CheckConstraint("window_from <= window_to", name=op.f("ck_pledge_offer_window_in_order")),
        sa.CheckConstraint("programmes BETWEEN 0 AND 15", name=op.f("ck_pledge_offer_programmes_known")),
        sa.CheckConstraint("funder ~ '^\\d{16}$'", name=op.f("ck_pledge_offer_funder_is_npwp")),
        sa.CheckConstraint(
            "(state = 'open') = (closed_at IS NULL) AND (state = 'open') = (closed_by IS NULL)",
            name=op.f("ck_pledge_offer_closed_by_somebody"),
        ),
        sa.CheckConstraint(
            "state <> 'confirmed' OR num_nulls(fund_code, revision, total_rupiah) = 0",
            name=op.f("ck_pledge_offer_confirmed_has_place"),
        ),
        sa.CheckConstraint(
            "(state = 'declined') <= (remark IS NOT NULL)", name=op.f("ck_pledge_offer_declined_has_remark")
        ),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_pledge_offer_regency_code")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pledge_offer")),
    )
    op.create_index("ix_pledge_offer_funder", "pledge_offer", ["funder", "offered_at"])
    op.create_index("ix_pledge_offer_fund", "pledge_offer", ["fund_code", "revision"])
    op.create_index(
        "ix_pledge_offer_open", "pledge_offer", ["regency_code"], postgresql_where=sa.text("state = 'open'")
    )
    op.create_table(
        "statement",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("funder", sa.Text(), nullable=False, comment="the company's NPWP in 16 digits"),
        sa.Column("period_from", sa.Date(), nullable=False),
        sa.Column("period_to", sa.Date(), nullable=False),
        sa.Column("content", postgresql.JSONB(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("signed_by", sa.Text(), nullable=False, comment="who of the company asked for it"),
        sa.Column("signed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("period_from <= period_to", name=op.f("ck_statement_period_in_order")),
        sa.CheckConstraint("octet_length(digest) = 32", name=op.f("ck_statement_digest_is_sha256")),
        sa.CheckConstraint("octet_length(signature) = 64", name=op.f("ck_statement_signature_is_ed25519")),
        sa.CheckConstraint("funder ~ '^\\d{16}$'", name=op.f("ck_statement_funder_is_npwp")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_statement")),
        sa.UniqueConstraint("id", name=op.f("uq_statement_id")),
        sa.UniqueConstraint("code", name=op.f("uq_statement_code")),
    )
    op.create_index("ix_statement_funder", "statement", ["funder", "number"])
    for table, condition in _POLICIES.items():
        show_to_portal(table, condition)
    grant_application()
