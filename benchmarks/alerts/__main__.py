"""Backtest of the exhaustion forecast: ``python -m benchmarks.alerts [years]`` prints the table of
docs/BENCHMARKS.md. Every fund of every simulated year is looked at once a week with what was known then.

An alert counts as early when it opened at least 14 days before the money was gone, and as right when the
money was gone before the fund's window ended.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.alerts.year import DAYS, FundYear, simulate_year
from workflow.alert import Reading, Rule, Standing, judge
from workflow.alert_rules import SHIPPED, WHOLE
from workflow.forecast import forecast_fund

EARLY_DAYS = 14
FIRST_DAY = 35
#: The day of the money's end, counted from the day of asking, and the chance that it comes in time.
Method = Callable[[FundYear, int], tuple[float, int | None]]


def by_forecast(fund: FundYear, day: int) -> tuple[float, int | None]:
    answer = forecast_fund(fund.history(day), seed=day)
    return answer.exhaustion_chance, answer.likely_days


def by_last_month(fund: FundYear, day: int) -> tuple[float, int | None]:
    return _at_rate(fund, day, (fund.spent_until(day) - fund.spent_until(day - 30)) / 30)


def by_straight_line(fund: FundYear, day: int) -> tuple[float, int | None]:
    return _at_rate(fund, day, fund.spent_until(day) / day)


def _at_rate(fund: FundYear, day: int, daily_rupiah: float) -> tuple[float, int | None]:
    left = fund.pledged_rupiah - fund.spent_until(day)
    ends = int(left / daily_rupiah) if daily_rupiah else DAYS * 10
    return (1.0, ends) if ends < fund.window_days - day else (0.0, None)


METHODS: dict[str, Method] = {
    "forecast": by_forecast,
    "last month's burn": by_last_month,
    "straight line": by_straight_line,
}


@dataclass
class Score:
    exhausted: int = 0
    early: int = 0
    funds_alerted: int = 0
    funds_right: int = 0
    alerts: int = 0
    false_alerts: int = 0
    errors_days: list[int] = field(default_factory=list)

    def line(self, name: str) -> str:
        recall = self.early / self.exhausted
        precision = self.funds_right / max(1, self.funds_alerted)
        error = statistics.median(self.errors_days)
        false_rate = self.false_alerts / max(1, self.alerts)
        return (
            f"| {name} | {recall:.0%} | {precision:.0%} | {false_rate:.0%} | {self.alerts} "
            f"| {error:.0f} days |"
        )


def judge_year(funds: list[FundYear], method: Method, score: Score) -> None:
    """The shipped rule, with its hysteresis, on every fund of a year."""
    terms = SHIPPED["fund_exhaustion"]
    rule = Rule(1, "fund_exhaustion", terms.fire, terms.clear)
    for fund in funds:
        last = fund.exhausted_on if fund.exhausted_on is not None else fund.window_days
        opened: list[int] = []
        standing: list[Standing] = []
        for day in range(FIRST_DAY, last, 7):
            chance, days = method(fund, day)
            if fund.exhausted_on is not None and days is not None and fund.exhausted_on - day <= 90:
                score.errors_days.append(abs(day + days - fund.exhausted_on))
            reading = Reading("fund_exhaustion", "fund", "year", int(chance * WHOLE))
            crossings = judge([rule], [reading], standing)
            if crossings.closed:
                standing = []
            if crossings.opened:
                standing = [Standing(day, 1, "fund", "year")]
                opened.append(day)
        score.alerts += len(opened)
        if opened:
            score.funds_alerted += 1
            score.funds_right += fund.exhausted_on is not None
        if fund.exhausted_on is None:
            score.false_alerts += len(opened)
        elif fund.exhausted_on >= FIRST_DAY + EARLY_DAYS:
            score.exhausted += 1
            # Open without a break until the end, and since at least 14 days.
            score.early += bool(standing) and fund.exhausted_on - opened[-1] >= EARLY_DAYS


def main(years: int) -> None:
    started = time.perf_counter()
    scores = {name: Score() for name in METHODS}
    for seed in range(years):
        funds = simulate_year(seed)
        for name, method in METHODS.items():
            judge_year(funds, method, scores[name])
    exhausted = next(iter(scores.values())).exhausted
    print(
        f"{years} years of 36 funds and 50,000 workers; {exhausted} funds ran out before their window ended."
    )
    print()
    print("| method | recall ≥ 14 days ahead | precision | false alarms | alerts | date error (median) |")
    print("|---|---|---|---|---|---|")
    for name, score in scores.items():
        print(score.line(name))
    print(f"\n{time.perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
