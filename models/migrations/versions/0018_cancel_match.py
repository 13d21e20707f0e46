"""an officer may cancel a match that is under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "allocation_run",
        sa.Column("cancel_asked_by", sa.Text(), nullable=True, comment="the officer who wants it stopped"),
    )
    op.drop_constraint(op.f("ck_allocation_run_status_known"), "allocation_run", type_="check")
    op.create_check_constraint(
        op.f("ck_allocation_run_status_known"),
        "allocation_run",
        "status IN ('RUNNING', 'OPTIMAL', 'FEASIBLE', 'ABANDONED', 'FAILED', 'CANCELLED')",
    )
