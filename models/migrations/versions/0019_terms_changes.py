"""a pledge's changed window or rules, for its company to read."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "terms_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("fund_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "revision", sa.BigInteger(), nullable=False, comment="the fund's revision with which it came"
        ),
        sa.Column(
            "changed",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="columns of the fund that differ",
        ),
        sa.Column("recorded_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.CheckConstraint("cardinality(changed) > 0", name=op.f("ck_terms_change_changed_something")),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_terms_change_fund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terms_change")),
    )
    op.create_index("uq_terms_change_revision", "terms_change", ["fund_id", "revision"], unique=True)
    show_to_portal("terms_change", "fund_id IN (SELECT id FROM fund)")
    grant_application()
