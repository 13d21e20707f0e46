"""Alert: rules and readings in, crossings out. Pure: no clock, no database.

An alert is about crossing a threshold, not about being beyond it. It opens when a reading comes to
``fire`` or above and closes when one falls below ``clear``, which lies lower, so that a reading that
trembles around one of them says nothing new. At most one alert of a key (rule, subject, period) is open.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: Why an alert closed by itself.
CLEARED: Final = "cleared"  # the reading fell below the threshold
OVERTAKEN: Final = "overtaken"  # a higher threshold of the same kind was crossed
PERIOD_OVER: Final = "period_over"  # its window or fiscal year has ended
RULE_OFF: Final = "rule_off"  # somebody switched the rule off


@dataclass(frozen=True, slots=True)
class Rule:
    """``fire`` and ``clear`` (1 <= clear <= fire) are in the unit of the kind; higher is worse.

    ``days`` is how far the reading looks back or ahead, where the kind has such a span.
    """

    id: int
    kind: str
    fire: int
    clear: int
    days: int | None = None
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured at ``subject`` (a fund, district, decision ...) in ``period``.

    ``once`` marks an occurrence, such as a decision: it never ceases, and is told once for ever.
    ``facts`` go into the words; they hold no personal data.
    """

    kind: str
    subject: str
    period: str
    value: int
    facts: dict[str, Any] = field(default_factory=dict)
    days: int | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """An alert as it stands; of occurrences also the closed ones."""

    alert_id: Any
    rule_id: int
    subject: str
    period: str
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Opening:
    """Open an alert. ``quiet``: the reading came down from a higher threshold, so nobody is told again."""

    rule: Rule
    reading: Reading
    quiet: bool = False


@dataclass(frozen=True, slots=True)
class Closing:
    """Close an alert; ``why`` is one of the constants above."""

    alert_id: Any
    why: str


@dataclass(frozen=True, slots=True)
class Crossings:
    """What changes; closings come before openings."""

    opened: tuple[Opening, ...]
    closed: tuple[Closing, ...]


def judge(
    rules: Collection[Rule],
    readings: Iterable[Reading],
    standing: Sequence[Standing],
    whole_kinds: Collection[str] = (),
    overrides: Mapping[tuple[int, str], Rule] | None = None,
) -> Crossings:
    """Compare readings with rules and with what stands.

    ``overrides``: by rule's id and subject, the rule as it holds there; elsewhere the rule itself holds.
    What stands of a kind or subject without a reading is left alone, except that of ``whole_kinds``
    every subject was read: one that is missing reads zero.
    """
    by_id = {rule.id: rule for rule in rules}
    at_subject = overrides or {}
    of_kind: dict[tuple[str, int | None], list[Rule]] = defaultdict(list)
    for rule in rules:
        of_kind[rule.kind, rule.days].append(rule)

    def holding(rule: Rule, subject: str) -> Rule:
        return at_subject.get((rule.id, subject), rule)

    of_subject: dict[tuple[str, str], list[Standing]] = defaultdict(list)
    for alert in standing:
        if alert.rule_id in by_id:
            of_subject[by_id[alert.rule_id].kind, alert.subject].append(alert)

    opened: list[Opening] = []
    closed: list[Closing] = [
        Closing(alert.alert_id, RULE_OFF)
        for alert in standing
        if alert.is_open
        and alert.rule_id in by_id
        and not holding(by_id[alert.rule_id], alert.subject).enabled
    ]
    read: set[tuple[str, str]] = set()
    for reading in readings:
        read.add((reading.kind, reading.subject))
        held = (holding(rule, reading.subject) for rule in of_kind[reading.kind, reading.days])
        ladder = sorted((rule for rule in held if rule.enabled), key=lambda rule: (rule.fire, rule.id))
        known = [
            alert
            for alert in of_subject[reading.kind, reading.subject]
            if any(alert.rule_id == rule.id for rule in ladder)
        ]
        if reading.once:
            opened += _occur(ladder, reading, known)
        else:
            _climb(ladder, reading, [alert for alert in known if alert.is_open], opened, closed)
    for (kind, subject), alerts in of_subject.items():
        if kind in whole_kinds and (kind, subject) not in read:
            closed += [
                Closing(alert.alert_id, CLEARED)
                for alert in alerts
                if alert.is_open and holding(by_id[alert.rule_id], subject).enabled
            ]
    return Crossings(tuple(opened), tuple(closed))


def _occur(ladder: Sequence[Rule], reading: Reading, known: Sequence[Standing]) -> list[Opening]:
    """The highest rule an occurrence reaches, unless it was told before."""
    reached = [rule for rule in ladder if reading.value >= rule.fire]
    if not reached or any(alert.period == reading.period for alert in known):
        return []
    return [Opening(reached[-1], reading)]


def _climb(
    ladder: Sequence[Rule],
    reading: Reading,
    is_open: Sequence[Standing],
    opened: list[Opening],
    closed: list[Closing],
) -> None:
    """Of one kind's thresholds only the highest that stands has an open alert: 100 % says 75 % as well."""
    current = {alert.rule_id: alert for alert in is_open if alert.period == reading.period}
    closed += [Closing(alert.alert_id, PERIOD_OVER) for alert in is_open if alert.period != reading.period]
    standing = [
        rule
        for place, rule in enumerate(ladder)
        if reading.value >= rule.fire
        or (reading.value >= rule.clear and any(above.id in current for above in ladder[place:]))
    ]
    top = standing[-1] if standing else None
    for rule in ladder:
        if rule is not top and rule.id in current:
            closed.append(Closing(current[rule.id].alert_id, OVERTAKEN if rule in standing else CLEARED))
    if top is not None and top.id not in current:
        came_down = any(rule.fire > top.fire and rule.id in current for rule in ladder)
        opened.append(Opening(top, reading, quiet=came_down))
