"""other thresholds of an alert rule for one fund or district."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alert_override",
        sa.Column("subject", sa.Text(), nullable=False, comment="code of the fund or district"),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("fire", sa.BigInteger(), nullable=False),
        sa.Column("clear", sa.BigInteger(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column(
            "changed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "fire >= 1 AND clear >= 1 AND clear <= fire", name=op.f("ck_alert_override_clear_below_fire")
        ),
        sa.CheckConstraint("subject <> ''", name=op.f("ck_alert_override_subject_named")),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rule.id"], name=op.f("fk_alert_override_rule_id")),
        sa.PrimaryKeyConstraint("subject", "rule_id", name=op.f("pk_alert_override")),
    )
    # The rules that the portal's role sees are those of the visitor's regency already.
    show_to_portal("alert_override", "rule_id IN (SELECT id FROM alert_rule)")
    grant_application()
