"""what village verifiers confirm."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "need_verification",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("need_id", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("verifier", sa.Uuid(), nullable=False),
        sa.Column("verified_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("undone_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('confirmed', 'not_real', 'already_covered', 'moved_away', 'deceased')",
            name=op.f("ck_need_verification_outcome_known"),
        ),
        sa.ForeignKeyConstraint(["need_id"], ["coverage_need.id"], name=op.f("fk_need_verification_need_id")),
        sa.ForeignKeyConstraint(["verifier"], ["account.id"], name=op.f("fk_need_verification_verifier")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_need_verification")),
    )
    op.create_index(
        "uq_need_verification_standing",
        "need_verification",
        ["need_id"],
        unique=True,
        postgresql_where=sa.text("undone_at IS NULL"),
    )
    op.create_index("ix_need_verification_verifier", "need_verification", ["verifier", "verified_at"])
    # Whoever may see a need sees whether its village has confirmed it; a company learns nothing of it.
    show_to_portal(
        "need_verification",
        "portal_context('role') IN ('officer', 'auditor', 'verifier')"
        " AND EXISTS (SELECT 1 FROM coverage_need n WHERE n.id = need_id)",
        "id, need_id, outcome, verified_at, undone_at",
    )
    grant_application()
