"""whom a village's verifier has to visit, in the order of the list, without walking through the district."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(
        "ix_coverage_need_village_open",
        "coverage_need",
        ["village_code", "reported_at", "id"],
        postgresql_where=sa.text("state IN ('waiting', 'proposed')"),
    )
