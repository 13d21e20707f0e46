"""Tables of alerts: the rules, what they found, and who is told where.

An alert opens when a rule's threshold is crossed and at most one of its key (rule, subject, period)
is open. A delivery is a row for one alert and one channel of one person, so that none is lost
between the alert's transaction and the message.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.role import ROLES
from models.tables import Base

_ROLE_LIST = ", ".join(repr(role) for role in ROLES)
#: ``house`` is what belongs to no regency: dead letters, channels, the books as a whole.
_SCOPE = r"scope ~ '^(house|\d{2}\.\d{2})$'"
_SEVERITY = "severity IN ('info', 'warning', 'critical')"


class AlertRule(Base):
    """When to open and when to close an alert: at ``fire`` or above, below ``clear``.

    Thresholds are whole numbers in the unit of the rule's kind (``workflow.alert_rules``).
    """

    __tablename__ = "alert_rule"
    __table_args__ = (
        UniqueConstraint("scope", "name"),
        CheckConstraint(_SCOPE, name="scope_known"),
        CheckConstraint("name ~ '^[a-z][a-z0-9_]{0,59}$'", name="name_wellformed"),
        CheckConstraint("fire >= 1 AND clear >= 1 AND clear <= fire", name="clear_below_fire"),
        CheckConstraint("days BETWEEN 1 AND 366", name="days_within_a_year"),
        CheckConstraint(_SEVERITY, name="severity_known"),
        CheckConstraint("escalate_after_hours BETWEEN 1 AND 720", name="escalation_within_a_month"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    scope: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    fire: Mapped[int]
    clear: Mapped[int]
    days: Mapped[int | None] = mapped_column(Integer)
    severity: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    escalate_after_hours: Mapped[int | None] = mapped_column(Integer)
    changed_by: Mapped[str] = mapped_column(comment="account or 'shipped'")
    changed_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class AlertOverride(Base):
    """Other thresholds of a rule for one fund or district; without such a row the rule's own hold."""

    __tablename__ = "alert_override"
    __table_args__ = (
        CheckConstraint("fire >= 1 AND clear >= 1 AND clear <= fire", name="clear_below_fire"),
        CheckConstraint("subject <> ''", name="subject_named"),
    )

    subject: Mapped[str] = mapped_column(primary_key=True, comment="code of the fund or district")
    rule_id: Mapped[int] = mapped_column(ForeignKey("alert_rule.id"), primary_key=True)
    fire: Mapped[int]
    clear: Mapped[int]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    changed_by: Mapped[str]
    changed_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class Alert(Base):
    """One crossing: open, acknowledged by an owner, resolved. ``facts`` are numbers and codes, no people."""

    __tablename__ = "alert"
    __table_args__ = (
        CheckConstraint(_SCOPE, name="scope_known"),
        CheckConstraint(_SEVERITY, name="severity_known"),
        CheckConstraint("state IN ('open', 'acknowledged', 'resolved')", name="state_known"),
        CheckConstraint("(state = 'resolved') = (resolved_at IS NOT NULL)", name="resolved_has_time"),
        CheckConstraint("num_nulls(resolved_at, resolved_why) IN (0, 2)", name="resolved_has_cause"),
        CheckConstraint("state <> 'acknowledged' OR owner_id IS NOT NULL", name="acknowledged_has_owner"),
        Index(
            "uq_alert_one_open_per_key",
            "rule_id",
            "subject",
            "period",
            unique=True,
            postgresql_where=text("state <> 'resolved'"),
        ),
        Index("ix_alert_scope_state", "scope", "state", "opened_at"),
        Index("ix_alert_subject", "scope", "subject", "kind"),
        Index("ix_alert_changed", "changed_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    rule_id: Mapped[int] = mapped_column(ForeignKey("alert_rule.id"))
    scope: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    period: Mapped[str]
    severity: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="open")
    value: Mapped[int] = mapped_column(comment="the reading at the crossing, in the kind's unit")
    fire: Mapped[int] = mapped_column(comment="the threshold that was crossed")
    facts: Mapped[dict[str, Any]]
    owner_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("account.id"))
    note: Mapped[str | None]
    opened_at: Mapped[dt.datetime]
    acknowledged_at: Mapped[dt.datetime | None]
    escalated_at: Mapped[dt.datetime | None]
    resolved_at: Mapped[dt.datetime | None]
    resolved_why: Mapped[str | None]
    changed_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class AlertChannel(Base):
    """A way to reach one person. What it leads to stands sealed; ``label`` is what may be shown."""

    __tablename__ = "alert_channel"
    __table_args__ = (
        CheckConstraint("kind IN ('email', 'service', 'webhook')", name="kind_known"),
        CheckConstraint("(kind = 'email') = (address_sealed IS NULL)", name="address_sealed"),
        CheckConstraint("(kind = 'webhook') = (secret_sealed IS NOT NULL)", name="webhook_has_secret"),
        CheckConstraint("failures >= 0", name="failures_not_negative"),
        Index("uq_alert_channel_email", "account_id", unique=True, postgresql_where=text("kind = 'email'")),
        Index("ix_alert_channel_account", "account_id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    kind: Mapped[str]
    label: Mapped[str]
    address_sealed: Mapped[bytes | None]
    secret_sealed: Mapped[bytes | None]
    enabled: Mapped[bool] = mapped_column(server_default=text("true"))
    failures: Mapped[int] = mapped_column(
        Integer, server_default="0", comment="attempts that failed since the last that did not"
    )
    failed_at: Mapped[dt.datetime | None]
    last_error: Mapped[str | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class AlertDelivery(Base):
    """One alert for one channel. ``id`` stays the same over all attempts, so a receiver knows a repeat."""

    __tablename__ = "alert_delivery"
    __table_args__ = (
        UniqueConstraint("alert_id", "channel_id", "occasion"),
        CheckConstraint("occasion IN ('raised', 'escalated')", name="occasion_known"),
        CheckConstraint("attempts >= 0", name="attempts_not_negative"),
        CheckConstraint("num_nonnulls(delivered_at, dead_at) <= 1", name="one_end"),
        Index(
            "ix_alert_delivery_due",
            "due_at",
            postgresql_where=text("delivered_at IS NULL AND dead_at IS NULL"),
        ),
        Index("ix_alert_delivery_channel", "channel_id", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    alert_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("alert.id"))
    channel_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("alert_channel.id"))
    occasion: Mapped[str]
    due_at: Mapped[dt.datetime] = mapped_column(comment="also the end of a lease while it is being sent")
    attempts: Mapped[int] = mapped_column(Integer, server_default="0")
    last_error: Mapped[str | None]
    delivered_at: Mapped[dt.datetime | None]
    dead_at: Mapped[dt.datetime | None]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class RoleSubscription(Base):
    """Through which channels a role is told of a kind of alert, where that differs from what is shipped.

    No channels: it is not told.
    """

    __tablename__ = "alert_role_subscription"
    __table_args__ = (
        CheckConstraint(f"role IN ({_ROLE_LIST})", name="role_known"),
        CheckConstraint("channels <@ ARRAY['email', 'service', 'webhook']", name="channels_known"),
    )

    role: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    channels: Mapped[list[str]] = mapped_column(server_default=text("'{email,service,webhook}'"))


class AccountSubscription(Base):
    """Whether a person wants a kind of alert, where that differs from the role's."""

    __tablename__ = "alert_account_subscription"

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    wanted: Mapped[bool]


class AlertPreference(Base):
    """A person's language, quiet hours and daily digest; minutes are those of the regency's own day."""

    __tablename__ = "alert_preference"
    __table_args__ = (
        CheckConstraint("language IN ('id', 'en')", name="language_known"),
        CheckConstraint("(quiet_from IS NULL) = (quiet_to IS NULL)", name="quiet_hours_whole"),
        CheckConstraint(
            "quiet_from BETWEEN 0 AND 1439 AND quiet_to BETWEEN 0 AND 1439 AND quiet_from <> quiet_to",
            name="quiet_hours_of_a_day",
        ),
        CheckConstraint("digest_at BETWEEN 0 AND 1439", name="digest_of_a_day"),
    )

    account_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"), primary_key=True)
    language: Mapped[str] = mapped_column(server_default="id")
    quiet_from: Mapped[int | None] = mapped_column(SmallInteger)
    quiet_to: Mapped[int | None] = mapped_column(SmallInteger)
    digest_at: Mapped[int | None] = mapped_column(SmallInteger)


class FundForecast(Base):
    """The newest forecast of a fund: when its money ends, or what of it will be left."""

    __tablename__ = "fund_forecast"
    __table_args__ = (
        CheckConstraint("exhaustion_chance BETWEEN 0 AND 10000", name="chance_is_share"),
        CheckConstraint("left_low_rupiah <= left_high_rupiah", name="interval_in_order"),
    )

    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"), primary_key=True)
    made_at: Mapped[dt.datetime]
    ends_on: Mapped[dt.date]
    exhaustion_chance: Mapped[int] = mapped_column(Integer, comment="of 10,000, before ends_on")
    exhausted_early: Mapped[dt.date | None]
    exhausted_likely: Mapped[dt.date | None]
    exhausted_late: Mapped[dt.date | None]
    left_low_rupiah: Mapped[int]
    left_likely_rupiah: Mapped[int]
    left_high_rupiah: Mapped[int]
    missing_rupiah: Mapped[int] = mapped_column(comment="what likely demand needs beyond the money")
    line_rupiah: Mapped[int] = mapped_column(comment="a usual line of this fund")
    acceptable_workers: Mapped[int | None] = mapped_column(comment="waiting workers its rules let through")
    stopped_by: Mapped[str | None] = mapped_column(comment="the rule that stops most of the others")
    stopped_workers: Mapped[int | None]


class CoverageDay(Base):
    """A district's cover at the end of a day, kept so that a fall can be seen."""

    __tablename__ = "coverage_day"
    __table_args__ = (CheckConstraint("covered BETWEEN 0 AND workers", name="covered_are_workers"),)

    district_code: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[dt.date] = mapped_column(primary_key=True)
    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"))
    workers: Mapped[int]
    covered: Mapped[int]


class AlertJob(Base):
    """When a scheduled job was last done, so that of several processes one does it."""

    __tablename__ = "alert_job"

    name: Mapped[str] = mapped_column(primary_key=True)
    done_for: Mapped[dt.datetime]
