"""how far a company's people have read their messages."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "message_mark",
        sa.Column("account_id", sa.Uuid(), nullable=False, comment="whose mark"),
        sa.Column(
            "read_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            comment="when the newest message that was read arose",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_message_mark_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_message_mark")),
    )
    grant_application()
