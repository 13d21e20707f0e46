"""Alert rules: the kinds there are, what is shipped, and what may be saved.

A kind says what is read and in which unit; a rule gives it thresholds. Rules are rows, one set for
each regency and one for the house, and can be edited in the portal but not removed, only switched off:
an alert always names the rule that opened it.
"""

from __future__ import annotations

import datetime as dt
import itertools
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from models.alert_tables import AlertRule
from models.role import Role
from workflow.alert import Rule
from workflow.record import record_action

Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")
#: What belongs to no regency.
HOUSE: Final = "house"

#: Shares are whole numbers of 10,000: 7500 is 75 %.
WHOLE: Final = 10_000
#: Unit -> the largest threshold that makes sense.
UNITS: Final[dict[str, int]] = {
    "share": WHOLE,
    "days": 366,
    "workers": 10**7,
    "rupiah": 2**53 - 1,
    "seconds": 86_400,
    "count": 10**6,
}

_OFFICE: Final[tuple[Role, ...]] = ("officer", "auditor")
_OFFICER: Final[tuple[Role, ...]] = ("officer",)
_OPERATION: Final[tuple[Role, ...]] = ("administrator",)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is read. ``roles`` are told unless they or a person chose otherwise."""

    unit: str
    subject: Literal["fund", "district", "regency", "decision", "topic", "books", "channel"]
    roles: tuple[Role, ...]
    days: bool = False
    house: bool = False


KINDS: Final[dict[str, Kind]] = {
    "fund_reserved": Kind("share", "fund", _OFFICER),
    "fund_committed": Kind("share", "fund", _OFFICER),
    "fund_exhaustion": Kind("share", "fund", _OFFICER),
    "fund_lapse": Kind("share", "fund", _OFFICE, days=True),
    "pledge_unpaid": Kind("days", "fund", _OFFICER),
    "pledge_reduced": Kind("share", "fund", _OFFICE),
    "large_decision": Kind("rupiah", "decision", _OFFICE),
    "coverage_falling": Kind("share", "district", _OFFICE, days=True),
    "coverage_lapsing": Kind("share", "district", _OFFICER, days=True),
    "waiting_long": Kind("workers", "district", _OFFICER, days=True),
    "enrolment_refused": Kind("share", "fund", _OFFICER, days=True),
    "run_gap": Kind("share", "regency", _OPERATION),
    "run_time": Kind("seconds", "regency", _OPERATION),
    "audit_breach": Kind("count", "books", (*_OFFICE, *_OPERATION)),
    "intake_paused": Kind("count", "topic", _OPERATION, house=True),
    "operation": Kind("count", "books", _OPERATION, house=True),
    "dead_letters": Kind("share", "topic", _OPERATION, days=True, house=True),
    "channel_failing": Kind("count", "channel", _OPERATION, house=True),
}


#: The kinds of a person's channels.
CHANNELS: Final = frozenset(("email", "service", "webhook"))
#: Roles that alerts are for.
TOLD_ROLES: Final[tuple[Role, ...]] = ("officer", "auditor", "administrator")
#: Said by the step that saw it: its reading is always 1, so there is no threshold to choose.
SAID_KINDS: Final = frozenset(("audit_breach", "intake_paused", "operation"))


def may_be_told(role: str, kind: str) -> bool:
    """Whether alerts of a kind are for a role: an administrator's are not about money."""
    if role == "administrator":
        return "administrator" in KINDS[kind].roles
    return role in TOLD_ROLES and not KINDS[kind].house


@dataclass(frozen=True, slots=True)
class RuleTerms:
    """What a person may change of a rule."""

    kind: str
    fire: int
    clear: int
    severity: Severity
    days: int | None = None
    enabled: bool = True
    escalate_after_hours: int | None = None


#: Name -> terms. Names stay the same when thresholds are edited.
SHIPPED: Final[dict[str, RuleTerms]] = {
    "fund_reserved_75": RuleTerms("fund_reserved", 7_500, 7_000, "info"),
    "fund_reserved_90": RuleTerms("fund_reserved", 9_000, 8_500, "info"),
    "fund_reserved_100": RuleTerms("fund_reserved", 10_000, 9_700, "warning"),
    "fund_committed_75": RuleTerms("fund_committed", 7_500, 7_000, "info"),
    "fund_committed_90": RuleTerms("fund_committed", 9_000, 8_500, "warning", escalate_after_hours=72),
    "fund_committed_100": RuleTerms("fund_committed", 10_000, 9_700, "critical", escalate_after_hours=24),
    "fund_exhaustion": RuleTerms("fund_exhaustion", 8_500, 5_000, "warning", escalate_after_hours=72),
    "fund_lapse": RuleTerms("fund_lapse", 2_000, 1_200, "warning", days=120, escalate_after_hours=168),
    "pledge_unpaid": RuleTerms("pledge_unpaid", 45, 30, "warning", escalate_after_hours=168),
    "pledge_reduced": RuleTerms("pledge_reduced", 1_000, 1_000, "warning", escalate_after_hours=48),
    "large_decision": RuleTerms("large_decision", 250_000_000, 250_000_000, "info"),
    "coverage_falling": RuleTerms("coverage_falling", 300, 100, "critical", 30, escalate_after_hours=48),
    "coverage_lapsing": RuleTerms("coverage_lapsing", 1_500, 800, "warning", 45, escalate_after_hours=72),
    "waiting_long": RuleTerms("waiting_long", 25, 10, "warning", days=60),
    "enrolment_refused": RuleTerms("enrolment_refused", 1_000, 500, "warning", days=30),
    "run_gap": RuleTerms("run_gap", 100, 50, "warning"),
    "run_time": RuleTerms("run_time", 60, 45, "warning"),
    "audit_breach": RuleTerms("audit_breach", 1, 1, "critical", escalate_after_hours=4),
    "intake_paused": RuleTerms("intake_paused", 1, 1, "critical", escalate_after_hours=4),
    "operation": RuleTerms("operation", 1, 1, "warning"),
    "dead_letters": RuleTerms("dead_letters", 500, 200, "critical", days=1, escalate_after_hours=24),
    "channel_failing": RuleTerms("channel_failing", 3, 1, "warning"),
}


class RuleRefusedError(ValueError):
    """The rule cannot be saved. ``problem`` is a code that the portal says in words, with ``limit``
    or the name of the ``field``."""

    def __init__(self, problem: str, limit: int | None = None, field: str = "") -> None:
        super().__init__(problem if limit is None else f"{problem} (at most {limit})")
        self.problem = problem
        self.limit = limit
        self.field = field


def check_rule(terms: RuleTerms) -> None:
    """Raises ``RuleRefusedError``: an unknown kind or severity, a threshold that can never be crossed
    or never cleared, a span of days where none is read or none where one is."""
    kind = KINDS.get(terms.kind)
    if kind is None:
        raise RuleRefusedError("kind_unknown")
    if terms.severity not in SEVERITIES:
        raise RuleRefusedError("severity_unknown")
    if terms.fire < 1 or terms.clear < 1:
        raise RuleRefusedError("threshold_below_one")
    if terms.fire > UNITS[kind.unit]:
        raise RuleRefusedError("threshold_impossible", UNITS[kind.unit])
    if terms.clear > terms.fire:
        raise RuleRefusedError("clear_above_fire")
    if kind.days and terms.days is None:
        raise RuleRefusedError("days_missing")
    if terms.days is not None and (not kind.days or not 1 <= terms.days <= 366):
        raise RuleRefusedError("days_impossible", 366)
    if terms.escalate_after_hours is not None and not 1 <= terms.escalate_after_hours <= 720:
        raise RuleRefusedError("escalation_impossible", 720)


def read_rules(connection: Connection, scope: str) -> list[AlertRule]:
    """The rules of a regency or of the house, those shipped but not stored yet included."""
    rules = _select_rules(connection, scope)
    known = {rule.name for rule in rules}
    missing = [
        {
            "scope": scope,
            "name": name,
            "kind": terms.kind,
            "fire": terms.fire,
            "clear": terms.clear,
            "days": terms.days,
            "severity": terms.severity,
            "escalate_after_hours": terms.escalate_after_hours,
            "changed_by": "shipped",
        }
        for name, terms in SHIPPED.items()
        if name not in known and KINDS[terms.kind].house == (scope == HOUSE)
    ]
    if not missing:
        return rules
    connection.execute(insert_or_skip(AlertRule).on_conflict_do_nothing(), missing)
    return _select_rules(connection, scope)


def _select_rules(connection: Connection, scope: str) -> list[AlertRule]:
    rows = connection.execute(
        select(AlertRule.__table__).where(AlertRule.scope == scope).order_by(AlertRule.id)
    )
    return [AlertRule(**row._mapping) for row in rows]


def as_rule(rule: AlertRule) -> Rule:
    """The row as ``workflow.alert`` judges it."""
    return Rule(rule.id, rule.kind, rule.fire, rule.clear, rule.days, rule.enabled)


def terms_of(rule: AlertRule) -> RuleTerms:
    """What a person may change of it."""
    return RuleTerms(
        rule.kind,
        rule.fire,
        rule.clear,
        rule.severity,  # type: ignore[arg-type]  # a CHECK keeps it to the three
        rule.days,
        rule.enabled,
        rule.escalate_after_hours,
    )


def change_rule(
    connection: Connection, scope: str, name: str, terms: RuleTerms, actor: str, now: dt.datetime
) -> None:
    """Save new terms of a rule. Its kind stays; ``LookupError`` for a rule that the scope does not have.

    Raises ``RuleRefusedError`` as :func:`check_rule` does.
    """
    standing = connection.execute(
        select(AlertRule.kind).where(AlertRule.scope == scope, AlertRule.name == name).with_for_update()
    ).one_or_none()
    if standing is None:
        raise LookupError(f"no alert rule {name}")
    terms = replace(terms, kind=standing.kind)
    check_rule(terms)
    values = _values_of(terms)
    connection.execute(
        update(AlertRule)
        .where(AlertRule.scope == scope, AlertRule.name == name)
        .values(**values, changed_by=actor, changed_at=now)
    )
    record_action(connection, actor, "change_alert_rule", f"{scope}/{name}", values, now)


def add_rule(connection: Connection, scope: str, terms: RuleTerms, actor: str, now: dt.datetime) -> str:
    """Add a rule to those of the scope, e.g. one more threshold; returns its name.

    Raises ``RuleRefusedError`` as :func:`check_rule` does, and for a kind that the scope does not have, that
    has no threshold to choose, or whose threshold has a rule already.
    """
    check_rule(terms)
    if KINDS[terms.kind].house != (scope == HOUSE) or terms.kind in SAID_KINDS:
        raise RuleRefusedError("kind_unknown")
    known = read_rules(connection, scope)
    if any((rule.kind, rule.fire, rule.days) == (terms.kind, terms.fire, terms.days) for rule in known):
        raise RuleRefusedError("rule_exists")
    # Names of rules that were edited since may say another threshold.
    base = f"{terms.kind}_at_{terms.fire}" + (f"_{terms.days}d" if terms.days else "")
    taken = {rule.name for rule in known}
    name = next(each for n in itertools.count(1) if (each := base if n == 1 else f"{base}_{n}") not in taken)
    values = {"kind": terms.kind} | _values_of(terms)
    statement = insert_or_skip(AlertRule).on_conflict_do_nothing().returning(AlertRule.id)
    statement = statement.values(scope=scope, name=name, changed_by=actor, changed_at=now, **values)
    if connection.scalar(statement) is None:
        raise RuleRefusedError("rule_exists")
    record_action(connection, actor, "add_alert_rule", f"{scope}/{name}", values, now)
    return name


def _values_of(terms: RuleTerms) -> dict[str, Any]:
    return {
        "fire": terms.fire,
        "clear": terms.clear,
        "days": terms.days,
        "severity": terms.severity,
        "enabled": terms.enabled,
        "escalate_after_hours": terms.escalate_after_hours,
    }
