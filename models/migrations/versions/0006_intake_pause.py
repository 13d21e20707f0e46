"""how far intake has come, and where it stands still."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "intake_position",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("log_id", sa.Text(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("next_offset >= 0", name=op.f("ck_intake_position_next_offset_not_negative")),
        sa.PrimaryKeyConstraint("topic", "partition", name=op.f("pk_intake_position")),
    )
    op.create_table(
        "intake_pause",
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("paused_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("reasons", postgresql.JSONB(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("resumed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("resumed_by", sa.Text(), nullable=True),
        sa.CheckConstraint("refused BETWEEN 1 AND events", name=op.f("ck_intake_pause_refused_among_events")),
        sa.CheckConstraint(
            "(resumed_at IS NULL) = (resumed_by IS NULL)", name=op.f("ck_intake_pause_resumed_by_somebody")
        ),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_intake_pause")),
    )
    grant_application()
