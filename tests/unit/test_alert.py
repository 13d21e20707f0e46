"""Crossing, not being: the state of one subject under any run of readings."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workflow.alert import Reading, Rule, Standing, judge

LADDER = (
    Rule(1, "used", 7_500, 7_000),
    Rule(2, "used", 9_000, 8_500),
    Rule(3, "used", 10_000, 9_700),
)


def play(
    values: list[tuple[int, str]], rules: tuple[Rule, ...] = LADDER
) -> list[tuple[list[int], list[Standing]]]:
    """For each reading: the rules that opened an alert people are told of, and what stands after it."""
    standing: list[Standing] = []
    steps = []
    for number, (value, period) in enumerate(values):
        crossings = judge(LADDER, [Reading("used", "csr-1", period, value)], standing)
        gone = {closing.alert_id for closing in crossings.closed}
        assert gone <= {alert.alert_id for alert in standing}, "what is closed was open"
        standing = [alert for alert in standing if alert.alert_id not in gone] + [
            Standing((number, opening.rule.id), opening.rule.id, "csr-1", period)
            for opening in crossings.opened
        ]
        steps.append(([opening.rule.id for opening in crossings.opened if not opening.quiet], standing))
    return steps


READINGS = st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(["2026", "2027"])), max_size=60)


@given(READINGS)
def test_at_most_one_alert_of_a_subject_is_open_and_it_belongs_to_the_period(
    values: list[tuple[int, str]],
) -> None:
    for (value, period), (_, standing) in zip(values, play(values), strict=True):
        assert len(standing) <= 1
        assert all(alert.period == period for alert in standing)
        assert bool(standing) >= (value >= 7_500)
        assert value >= 7_000 or not standing


@given(st.integers(7_000, 7_499), st.lists(st.booleans(), max_size=40))
def test_a_reading_that_trembles_around_the_threshold_is_told_once(low: int, ups: list[bool]) -> None:
    values = [(8_000, "2026"), *((8_000 if up else low, "2026") for up in ups)]
    assert [opened for opened, _ in play(values)] == [[1], *([] for _ in ups)]


def test_a_jump_is_told_once_at_its_highest_and_the_way_down_in_silence() -> None:
    values = [(value, "2026") for value in (5_000, 10_000, 9_800, 9_600, 8_000, 6_000, 7_600)]
    assert [opened for opened, _ in play(values)] == [[], [3], [], [], [], [], [1]]


def test_an_occurrence_is_told_once_for_ever() -> None:
    rule, reading = Rule(1, "decision", 100, 100), Reading("decision", "d", "2026", 150, once=True)
    assert len(judge([rule], [reading], []).opened) == 1
    closed = Standing("a", 1, "d", "2026", is_open=False)
    assert judge([rule], [reading], [closed]).opened == ()


def test_what_has_no_reading_is_left_alone_unless_every_subject_was_read() -> None:
    standing = [Standing("a", 1, "csr-1", "2026")]
    assert judge(LADDER, [], standing).closed == ()
    assert [closing.alert_id for closing in judge(LADDER, [], standing, ["used"]).closed] == ["a"]


def test_a_rule_that_is_switched_off_closes_its_alert() -> None:
    off = Rule(1, "used", 7_500, 7_000, enabled=False)
    closed = judge([off], [], [Standing("a", 1, "csr-1", "2026")]).closed
    assert [closing.why for closing in closed] == ["rule_off"]


def test_an_override_holds_at_its_subject_alone() -> None:
    own = {
        (1, "csr-1"): Rule(1, "used", 5_000, 4_500),
        (3, "csr-1"): Rule(3, "used", 9_900, 9_500, None, False),
    }
    readings = [Reading("used", subject, "2026", 6_000) for subject in ("csr-1", "csr-2")]
    opened = judge(LADDER, readings, [], overrides=own).opened
    assert [(each.reading.subject, each.rule.id, each.rule.fire) for each in opened] == [("csr-1", 1, 5_000)]
    full = [Reading("used", subject, "2026", 10_000) for subject in ("csr-1", "csr-2")]
    opened = judge(LADDER, full, [], overrides=own).opened
    assert [each.rule.id for each in opened] == [2, 3], "the third is switched off at csr-1"
    standing = [Standing("a", 1, "csr-1", "2026")]
    assert judge(LADDER, readings, standing, overrides=own).closed == ()
    assert [each.why for each in judge(LADDER, readings, standing).closed] == ["cleared"], "it was removed"
    off = {(1, "csr-1"): Rule(1, "used", 5_000, 4_500, None, False)}
    both = [*standing, Standing("b", 1, "csr-2", "2026")]
    closed = judge(LADDER, [], both, ["used"], off).closed
    assert {each.alert_id: each.why for each in closed} == {"a": "rule_off", "b": "cleared"}
