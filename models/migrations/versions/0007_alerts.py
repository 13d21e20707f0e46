"""alerts: rules, crossings, channels and deliveries; forecasts and what they are made from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from models.migrations.access import grant_application, show_to_portal

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


_SCOPE = """
    CASE portal_context('role')
        WHEN 'officer' THEN scope = portal_context('regency')
        WHEN 'auditor' THEN portal_context('regency') IS NULL OR scope = portal_context('regency')
        WHEN 'administrator' THEN true
        ELSE false END
"""

# Table -> which of its rows the portal's role may read (portal/unit.py).
POLICIES = {
    "alert": _SCOPE,
    "alert_rule": _SCOPE,
    "fund_forecast": "portal_context('role') IN ('officer', 'auditor') AND fund_id IN (SELECT id FROM fund)",
}


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alert_job",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("done_for", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_alert_job")),
    )
    op.create_table(
        "alert_role_subscription",
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "role IN ('officer', 'company_user', 'company_admin', 'verifier', 'auditor', 'administrator')",
            name=op.f("ck_alert_role_subscription_role_known"),
        ),
        sa.PrimaryKeyConstraint("role", "kind", name=op.f("pk_alert_role_subscription")),
    )
    op.create_table(
        "alert_rule",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("fire", sa.BigInteger(), nullable=False),
        sa.Column("clear", sa.BigInteger(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=True),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("escalate_after_hours", sa.Integer(), nullable=True),
        sa.Column("changed_by", sa.Text(), nullable=False, comment="account or 'shipped'"),
        sa.Column(
            "changed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint("name ~ '^[a-z][a-z0-9_]{0,59}$'", name=op.f("ck_alert_rule_name_wellformed")),
        sa.CheckConstraint("scope ~ '^(house|\\d{2}\\.\\d{2})$'", name=op.f("ck_alert_rule_scope_known")),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')", name=op.f("ck_alert_rule_severity_known")
        ),
        sa.CheckConstraint("days BETWEEN 1 AND 366", name=op.f("ck_alert_rule_days_within_a_year")),
        sa.CheckConstraint(
            "escalate_after_hours BETWEEN 1 AND 720", name=op.f("ck_alert_rule_escalation_within_a_month")
        ),
        sa.CheckConstraint(
            "fire >= 1 AND clear >= 1 AND clear <= fire", name=op.f("ck_alert_rule_clear_below_fire")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_rule")),
        sa.UniqueConstraint("scope", "name", name=op.f("uq_alert_rule_scope_name")),
    )
    op.create_table(
        "coverage_day",
        sa.Column("district_code", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("regency_code", sa.Text(), nullable=False),
        sa.Column("workers", sa.BigInteger(), nullable=False),
        sa.Column("covered", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("covered BETWEEN 0 AND workers", name=op.f("ck_coverage_day_covered_are_workers")),
        sa.ForeignKeyConstraint(
            ["regency_code"], ["regency.code"], name=op.f("fk_coverage_day_regency_code")
        ),
        sa.PrimaryKeyConstraint("district_code", "day", name=op.f("pk_coverage_day")),
    )
    op.create_table(
        "alert",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("rule_id", sa.BigInteger(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="open", nullable=False),
        sa.Column(
            "value",
            sa.BigInteger(),
            nullable=False,
            comment="the reading at the crossing, in the kind's unit",
        ),
        sa.Column("fire", sa.BigInteger(), nullable=False, comment="the threshold that was crossed"),
        sa.Column("facts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("opened_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("acknowledged_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("escalated_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("resolved_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("resolved_why", sa.Text(), nullable=True),
        sa.Column(
            "changed_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(state = 'resolved') = (resolved_at IS NOT NULL)", name=op.f("ck_alert_resolved_has_time")
        ),
        sa.CheckConstraint("scope ~ '^(house|\\d{2}\\.\\d{2})$'", name=op.f("ck_alert_scope_known")),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')", name=op.f("ck_alert_severity_known")
        ),
        sa.CheckConstraint(
            "state <> 'acknowledged' OR owner_id IS NOT NULL", name=op.f("ck_alert_acknowledged_has_owner")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'acknowledged', 'resolved')", name=op.f("ck_alert_state_known")
        ),
        sa.CheckConstraint(
            "num_nulls(resolved_at, resolved_why) IN (0, 2)", name=op.f("ck_alert_resolved_has_cause")
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["account.id"], name=op.f("fk_alert_owner_id")),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rule.id"], name=op.f("fk_alert_rule_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    op.create_index("ix_alert_changed", "alert", ["changed_at"], unique=False)
    op.create_index("ix_alert_scope_state", "alert", ["scope", "state", "opened_at"], unique=False)
    op.create_index("ix_alert_subject", "alert", ["scope", "subject", "kind"], unique=False)
    op.create_index(
        "uq_alert_one_open_per_key",
        "alert",
        ["rule_id", "subject", "period"],
        unique=True,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_table(
        "alert_account_subscription",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_alert_account_subscription_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_alert_account_subscription")),
    )
    op.create_table(
        "alert_channel",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("address_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column(
            "failures",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="attempts that failed since the last that did not",
        ),
        sa.Column("failed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "(kind = 'email') = (address_sealed IS NULL)", name=op.f("ck_alert_channel_address_sealed")
        ),
        sa.CheckConstraint(
            "(kind = 'webhook') = (secret_sealed IS NOT NULL)",
            name=op.f("ck_alert_channel_webhook_has_secret"),
        ),
        sa.CheckConstraint(
            "kind IN ('email', 'service', 'webhook')", name=op.f("ck_alert_channel_kind_known")
        ),
        sa.CheckConstraint("failures >= 0", name=op.f("ck_alert_channel_failures_not_negative")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_alert_channel_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_channel")),
    )
    op.create_index("ix_alert_channel_account", "alert_channel", ["account_id"], unique=False)
    op.create_index(
        "uq_alert_channel_email",
        "alert_channel",
        ["account_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'email'"),
    )
    op.create_table(
        "alert_preference",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("language", sa.Text(), server_default="id", nullable=False),
        sa.Column("quiet_from", sa.SmallInteger(), nullable=True),
        sa.Column("quiet_to", sa.SmallInteger(), nullable=True),
        sa.Column("digest_at", sa.SmallInteger(), nullable=True),
        sa.CheckConstraint("language IN ('id', 'en')", name=op.f("ck_alert_preference_language_known")),
        sa.CheckConstraint(
            "(quiet_from IS NULL) = (quiet_to IS NULL)", name=op.f("ck_alert_preference_quiet_hours_whole")
        ),
        sa.CheckConstraint("digest_at BETWEEN 0 AND 1439", name=op.f("ck_alert_preference_digest_of_a_day")),
        sa.CheckConstraint(
            "quiet_from BETWEEN 0 AND 1439 AND quiet_to BETWEEN 0 AND 1439 AND quiet_from <> quiet_to",
            name=op.f("ck_alert_preference_quiet_hours_of_a_day"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_alert_preference_account_id")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_alert_preference")),
    )
    op.create_table(
        "fund_forecast",
        sa.Column("fund_id", sa.BigInteger(), nullable=False),
        sa.Column("made_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("exhaustion_chance", sa.Integer(), nullable=False, comment="of 10,000, before ends_on"),
        sa.Column("exhausted_early", sa.Date(), nullable=True),
        sa.Column("exhausted_likely", sa.Date(), nullable=True),
        sa.Column("exhausted_late", sa.Date(), nullable=True),
        sa.Column("left_low_rupiah", sa.BigInteger(), nullable=False),
        sa.Column("left_likely_rupiah", sa.BigInteger(), nullable=False),
        sa.Column("left_high_rupiah", sa.BigInteger(), nullable=False),
        sa.Column(
            "missing_rupiah",
            sa.BigInteger(),
            nullable=False,
            comment="what likely demand needs beyond the money",
        ),
        sa.Column("line_rupiah", sa.BigInteger(), nullable=False, comment="a usual line of this fund"),
        sa.Column(
            "acceptable_workers",
            sa.BigInteger(),
            nullable=True,
            comment="waiting workers its rules let through",
        ),
        sa.Column("stopped_by", sa.Text(), nullable=True, comment="the rule that stops most of the others"),
        sa.Column("stopped_workers", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "exhaustion_chance BETWEEN 0 AND 10000", name=op.f("ck_fund_forecast_chance_is_share")
        ),
        sa.CheckConstraint(
            "left_low_rupiah <= left_high_rupiah", name=op.f("ck_fund_forecast_interval_in_order")
        ),
        sa.ForeignKeyConstraint(["fund_id"], ["fund.id"], name=op.f("fk_fund_forecast_fund_id")),
        sa.PrimaryKeyConstraint("fund_id", name=op.f("pk_fund_forecast")),
    )
    op.create_table(
        "alert_delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("occasion", sa.Text(), nullable=False),
        sa.Column(
            "due_at",
            postgresql.TIMESTAMP(timezone=True),
            nullable=False,
            comment="also the end of a lease while it is being sent",
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("delivered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("dead_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column(
            "created_at",
            postgresql.TIMESTAMP(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "occasion IN ('raised', 'escalated')", name=op.f("ck_alert_delivery_occasion_known")
        ),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_alert_delivery_attempts_not_negative")),
        sa.CheckConstraint(
            "num_nonnulls(delivered_at, dead_at) <= 1", name=op.f("ck_alert_delivery_one_end")
        ),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_alert_delivery_alert_id")),
        sa.ForeignKeyConstraint(
            ["channel_id"], ["alert_channel.id"], name=op.f("fk_alert_delivery_channel_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_delivery")),
        sa.UniqueConstraint(
            "alert_id", "channel_id", "occasion", name=op.f("uq_alert_delivery_alert_id_channel_id_occasion")
        ),
    )
    op.create_index("ix_alert_delivery_channel", "alert_delivery", ["channel_id", "created_at"], unique=False)
    op.create_index(
        "ix_alert_delivery_due",
        "alert_delivery",
        ["due_at"],
        unique=False,
        postgresql_where=sa.text("delivered_at IS NULL AND dead_at IS NULL"),
    )
    for table, condition in POLICIES.items():
        show_to_portal(table, condition)
    grant_application()
