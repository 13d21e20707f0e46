"""which role is told of which alerts through which channels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "alert_role_subscription",
        sa.Column(
            "channels",
            postgresql.ARRAY(sa.Text()),
            server_default=sa.text("'{email,service,webhook}'"),
            nullable=False,
        ),
    )
    op.execute("UPDATE alert_role_subscription SET channels = '{}' WHERE NOT wanted")
    op.drop_column("alert_role_subscription", "wanted")
    op.create_check_constraint(
        op.f("ck_alert_role_subscription_channels_known"),
        "alert_role_subscription",
        "channels <@ ARRAY['email', 'service', 'webhook']",
    )
    # A house without a mail server no longer counts that as failures.
    op.execute("UPDATE alert_channel SET failures = 0 WHERE last_error LIKE 'this house has no mail server%'")
