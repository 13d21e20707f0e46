"""Override a rule for one fund or district: other thresholds there, or none; removed, its own hold again.

An override is of the rule, not beside it: what it opens is an alert of that rule, told, escalated and closed
like any other.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, delete, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from models.alert_tables import AlertOverride, AlertRule
from models.tables import Fund, Region
from workflow.alert import Rule
from workflow.alert_rules import KINDS, RuleRefusedError, as_rule, check_rule, read_rules, terms_of
from workflow.record import record_action

#: What an override may be for.
Place = Literal["fund", "district"]


def read_overrides(
    connection: Connection, rules: Collection[int], subjects: Collection[str]
) -> dict[tuple[int, str], AlertOverride]:
    """Those of the rules (by id) at the subjects, by both."""
    return {
        (row.rule_id, row.subject): AlertOverride(**row._mapping)
        for row in connection.execute(
            select(AlertOverride.__table__).where(
                AlertOverride.subject.in_(subjects), AlertOverride.rule_id.in_(rules)
            )
        )
    }


def list_overrides(connection: Connection, scope: str) -> list[tuple[AlertRule, AlertOverride]]:
    """All of a regency's, each with its rule. The connection may be confined to what a visitor may see."""
    return _read_pairs(connection, AlertRule.scope == scope)


def read_own_thresholds(
    connection: Connection, scope: str, subject: str
) -> list[tuple[AlertRule, AlertOverride]]:
    """As :func:`list_overrides`, of one fund or district."""
    return _read_pairs(connection, AlertRule.scope == scope, AlertOverride.subject == subject)


def _read_pairs(
    connection: Connection, *conditions: ColumnElement[bool]
) -> list[tuple[AlertRule, AlertOverride]]:
    rules, overrides = AlertRule.__table__.c, AlertOverride.__table__.c
    of_rule = [column.label(f"rule_{column.name}") for column in rules]
    of_override = [column.label(f"own_{column.name}") for column in overrides]
    statement = (
        select(*of_rule, *of_override)
        .join_from(AlertRule, AlertOverride, AlertOverride.rule_id == AlertRule.id)
        .where(*conditions)
        .order_by(AlertOverride.subject, AlertOverride.rule_id)
    )
    return [
        (
            AlertRule(**{column.name: row._mapping[f"rule_{column.name}"] for column in rules}),
            AlertOverride(**{column.name: row._mapping[f"own_{column.name}"] for column in overrides}),
        )
        for row in connection.execute(statement)
    ]


def list_places(connection: Connection, regency: str) -> dict[Place, list[tuple[str, str]]]:
    """Code and name of what may have overrides: the regency's funds and districts."""
    funds = select(Fund.code, Fund.name).where(Fund.regency_code == regency).order_by(Fund.name, Fund.code)
    districts = select(Region.code, Region.name).where(
        Region.parent_code == regency, Region.level == "district"
    )
    return {
        "fund": [(row.code, row.name) for row in connection.execute(funds)],
        "district": [(row.code, row.name) for row in connection.execute(districts.order_by(Region.name))],
    }


def hold_at(rule: AlertRule, own: AlertOverride | None) -> Rule:
    """The rule as it holds where ``own`` does."""
    if own is None:
        return as_rule(rule)
    return replace(as_rule(rule), fire=own.fire, clear=own.clear, enabled=own.enabled)


def rules_at(
    connection: Connection, regency: str, place: Place, subject: str
) -> list[tuple[AlertRule, AlertOverride | None]]:
    """The regency's rules of a fund or district, with the override where there is one.

    ``LookupError`` when the regency has no such fund or district.
    """
    if not _is_of(connection, regency, place, subject):
        raise LookupError(f"no {place} {subject}")
    rules = [rule for rule in read_rules(connection, regency) if KINDS[rule.kind].subject == place]
    own = read_overrides(connection, {rule.id for rule in rules}, {subject})
    return [(rule, own.get((rule.id, subject))) for rule in rules]


def save_override(
    connection: Connection,
    regency: str,
    place: Place,
    subject: str,
    name: str,
    thresholds: tuple[int, int],
    enabled: bool,
    actor: str,
    now: dt.datetime,
) -> None:
    """Let the rule ``name`` fire and clear at other ``thresholds`` there, or not at all.

    Raises ``LookupError`` for a rule, fund or district that the regency does not have, and
    ``RuleRefusedError`` for thresholds that can never be crossed or cleared, or that another rule has there.
    """
    rules = rules_at(connection, regency, place, subject)
    rule = _named(rules, name)
    fire, clear = thresholds
    check_rule(replace(terms_of(rule), fire=fire, clear=clear))
    ladder = [hold_at(other, own) for other, own in rules if other.id != rule.id]
    if any((each.kind, each.days, each.fire) == (rule.kind, rule.days, fire) for each in ladder):
        raise RuleRefusedError("rule_exists")
    values = {"fire": fire, "clear": clear, "enabled": enabled, "changed_by": actor, "changed_at": now}
    connection.execute(
        insert_or_update(AlertOverride)
        .values(rule_id=rule.id, subject=subject, **values)
        .on_conflict_do_update(index_elements=["subject", "rule_id"], set_=values)
    )
    detail: dict[str, Any] = {place: subject, "fire": fire, "clear": clear, "enabled": enabled}
    record_action(connection, actor, "override_alert_rule", f"{regency}/{name}", detail, now)


def remove_override(
    connection: Connection,
    regency: str,
    place: Place,
    subject: str,
    name: str,
    actor: str,
    now: dt.datetime,
) -> None:
    """Let the rule's own thresholds hold there again; nothing to do where they do.

    Raises ``LookupError`` as :func:`save_override` does.
    """
    rule = _named(rules_at(connection, regency, place, subject), name)
    gone = delete(AlertOverride).where(AlertOverride.rule_id == rule.id, AlertOverride.subject == subject)
    if connection.execute(gone).rowcount:
        detail: dict[str, Any] = {place: subject}
        record_action(connection, actor, "remove_alert_override", f"{regency}/{name}", detail, now)


def _named(rules: Sequence[tuple[AlertRule, AlertOverride | None]], name: str) -> AlertRule:
    rule = next((rule for rule, _ in rules if rule.name == name), None)
    if rule is None:
        raise LookupError(f"no alert rule {name} there")
    return rule


def _is_of(connection: Connection, regency: str, place: Place, subject: str) -> bool:
    statement = select(Fund.code).where(Fund.code == subject, Fund.regency_code == regency)
    if place == "district":
        statement = select(Region.code).where(
            Region.code == subject, Region.parent_code == regency, Region.level == "district"
        )
    return connection.scalar(statement) is not None
