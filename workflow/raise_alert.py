"""Raise an alert: judge readings under one lock, open what was crossed, close what ceased, tell people.

Everything is one transaction with the caller's: the alert, ``alert.raised.v1`` in the outbox and one
delivery row for each channel of each person who is told. Whoever dies afterwards loses nothing.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, insert, or_, select, text, update

from models.alert_tables import Alert, AlertDelivery, AlertRule
from models.event import AlertRaised
from models.tables import Regency, Region
from workflow.alert import Closing, Opening, Reading, Standing, judge
from workflow.alert_override import hold_at, read_overrides
from workflow.alert_people import Recipient, due_moment, find_recipients
from workflow.alert_rules import HOUSE, KINDS, Severity, as_rule, read_rules
from workflow.alert_words import act, path_of, say
from workflow.outbox import enqueue_event

# One judge per scope: whoever waits here sees what the one before has opened, and newer balances.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('alerts ' || :scope, 6))")


def lock_scope(connection: Connection, scope: str) -> None:
    """Take the judge's seat until the transaction ends; read what is to be judged after it."""
    connection.execute(_LOCK, {"scope": scope})


def settle_alerts(
    connection: Connection,
    scope: str,
    readings: Sequence[Reading],
    now: dt.datetime,
    whole_kinds: Collection[str] = (),
) -> int:
    """Judge ``readings`` in the caller's transaction; returns the number of alerts opened.

    Call :func:`lock_scope` before taking the readings. ``scope`` is a regency's code or ``house``.
    ``whole_kinds``: kinds of which every subject was read, so that one that is missing has ceased.
    """
    rules = {rule.id: rule for rule in read_rules(connection, scope)}
    subjects = {reading.subject for reading in readings}
    standing = [
        Standing(row.id, row.rule_id, row.subject, row.period, row.state != "resolved")
        for row in connection.execute(
            select(Alert.id, Alert.rule_id, Alert.subject, Alert.period, Alert.state).where(
                Alert.scope == scope,
                or_(
                    Alert.subject.in_(subjects) & Alert.kind.in_({reading.kind for reading in readings}),
                    (Alert.state != "resolved") & Alert.kind.in_(whole_kinds),
                ),
            )
        )
    ]
    subjects |= {alert.subject for alert in standing}
    overrides = {
        key: hold_at(rules[key[0]], own) for key, own in read_overrides(connection, rules, subjects).items()
    }
    crossings = judge([as_rule(rule) for rule in rules.values()], readings, standing, whole_kinds, overrides)
    _close(connection, crossings.closed, now)
    for opening in crossings.opened:
        _open(connection, scope, rules[opening.rule.id], opening, now)
    return len(crossings.opened)


def raise_alert(
    connection: Connection,
    rule: str,
    subject: str,
    severity: Severity,
    *,
    message_id: str,
    message_en: str,
    now: dt.datetime,
    regency: str | None = None,
) -> None:
    """Open an alert that a step words itself; no text of it may be personal.

    ``rule`` is one of ``KINDS``; any other is a warning of the house, or of the regency when it has one.
    While an alert of the same subject is open, nothing more is said.
    """
    scope = regency or HOUSE
    kind = rule if rule in KINDS else "operation"
    lock_scope(connection, scope)
    facts = {"message_id": message_id, "message_en": message_en, "said_severity": severity}
    period = fiscal_year(connection, scope, now)
    settle_alerts(connection, scope, [Reading(kind, subject[:200], period, 1, facts)], now)


def close_alerts(
    connection: Connection, kind: str, scope: str, now: dt.datetime, subject: str | None = None
) -> None:
    """Close what stands of a kind (at ``subject``, or all of it) because its cause was mended."""
    lock_scope(connection, scope)
    if subject is None:
        settle_alerts(connection, scope, (), now, whole_kinds=(kind,))
    else:
        period = fiscal_year(connection, scope, now)
        settle_alerts(connection, scope, [Reading(kind, subject, period, 0)], now)


def fiscal_year(connection: Connection, scope: str, now: dt.datetime) -> str:
    """The period of what has no window of its own: the year, on the regency's clock."""
    timezone = connection.scalar(select(Regency.timezone).where(Regency.code == scope)) or "UTC"
    return str(now.astimezone(ZoneInfo(timezone)).year)


def escalate_alerts(connection: Connection, now: dt.datetime) -> int:
    """Tell everybody of the rule's kind again, quiet hours or not, where nobody has taken an alert on."""
    late = connection.execute(
        select(Alert.__table__)
        .join(AlertRule, AlertRule.id == Alert.rule_id)
        .where(
            Alert.state == "open",
            Alert.escalated_at.is_(None),
            AlertRule.escalate_after_hours.is_not(None),
            Alert.opened_at < now - AlertRule.escalate_after_hours * dt.timedelta(hours=1),
        )
        .with_for_update(of=Alert)
    ).all()
    for alert in late:
        connection.execute(update(Alert).where(Alert.id == alert.id).values(escalated_at=now, changed_at=now))
        people = find_recipients(connection, alert.scope, alert.kind, everybody=True)
        _deliver(connection, alert.id, people, "escalated", "critical", now)
    return len(late)


def _close(connection: Connection, closed: Sequence[Closing], now: dt.datetime) -> None:
    for closing in closed:
        connection.execute(
            update(Alert)
            .where(Alert.id == closing.alert_id, Alert.state != "resolved")
            .values(state="resolved", resolved_at=now, resolved_why=closing.why, changed_at=now)
        )


def _open(connection: Connection, scope: str, rule: AlertRule, opening: Opening, now: dt.datetime) -> None:
    reading = opening.reading
    alert_id = uuid.uuid4()
    facts: dict[str, Any] = reading.facts | ({"days": rule.days} if rule.days else {})
    facts |= _name_district(connection, rule.kind, reading)
    severity = facts.pop("said_severity", rule.severity)
    connection.execute(
        insert(Alert).values(
            id=alert_id,
            rule_id=rule.id,
            scope=scope,
            kind=rule.kind,
            subject=reading.subject,
            period=reading.period,
            severity=severity,
            value=reading.value,
            fire=opening.rule.fire,
            facts=facts,
            opened_at=now,
            changed_at=now,
        )
    )
    if opening.quiet:
        return
    message = (rule.kind, reading.subject, reading.value, facts)
    enqueue_event(
        connection,
        "alert.raised.v1",
        AlertRaised.model_validate(
            {
                "rule": rule.kind,
                "subject": reading.subject[:200],
                "severity": severity,
                "message_id": say(*message, "id"),
                "message_en": say(*message, "en"),
                "action_id": act(*message, "id"),
                "action_en": act(*message, "en"),
                "regency": None if scope == HOUSE else scope,
                "raised_at": now.astimezone(dt.UTC).isoformat(),
                "alert": str(alert_id),
                "path": path_of(rule.kind, reading.subject, facts),
            }
        ),
        key=scope.encode(),
        event_id=str(alert_id),
        time=now,
    )
    people = find_recipients(connection, scope, rule.kind, except_channel=_own_channel(reading))
    _deliver(connection, alert_id, people, "raised", severity, now)


def _name_district(connection: Connection, kind: str, reading: Reading) -> dict[str, str]:
    """The name of the district that the alert is about, where it is about one."""
    code = reading.subject if KINDS[kind].subject == "district" else reading.facts.get("district")
    if code is None:
        return {}
    name = connection.scalar(select(Region.name).where(Region.code == code))
    return {"district_name": name} if name else {}


def _own_channel(reading: Reading) -> uuid.UUID | None:
    """A channel that fails is not told of its own failing."""
    return uuid.UUID(reading.subject) if reading.kind == "channel_failing" else None


def _deliver(
    connection: Connection,
    alert_id: uuid.UUID,
    people: Sequence[Recipient],
    occasion: str,
    severity: str,
    now: dt.datetime,
) -> None:
    rows = [
        {
            "id": uuid.uuid4(),
            "alert_id": alert_id,
            "channel_id": channel,
            "occasion": occasion,
            "due_at": due_moment(person, severity, now),
        }
        for person in people
        for channel in person.channels
    ]
    if rows:
        connection.execute(insert(AlertDelivery), rows)
