"""A simulated year of a regency: funds that fill up by arrivals, campaigns and renewals."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from workflow.forecast import FundHistory, Term

DAYS = 365
MONTH_RUPIAH = 16_800  # JKK + JKM
FUNDS = 36
TERMS = (3, 6, 12)
WORKERS = 50_000


@dataclass
class FundYear:
    """One fund's year, day by day. Demand goes on after the money is gone, but is not served."""

    pledged_rupiah: int
    window_days: int
    arrivals_rupiah: np.ndarray = field(default_factory=lambda: np.zeros(DAYS, dtype=np.int64))
    renewed_rupiah: np.ndarray = field(default_factory=lambda: np.zeros(DAYS, dtype=np.int64))
    #: (day begun, months, amount, day of the renewal that followed or -1)
    lines: list[tuple[int, int, int, int]] = field(default_factory=list)
    exhausted_on: int | None = None

    def spent_until(self, day: int) -> int:
        return int(self.arrivals_rupiah[:day].sum() + self.renewed_rupiah[:day].sum())

    def history(self, day: int) -> FundHistory:
        """What is known on the morning of ``day``."""
        ending = {months: np.zeros(DAYS, dtype=np.int64) for months in TERMS}
        taken = dict.fromkeys(TERMS, 0)
        ended = renewed = 0
        for begun, months, amount, followed in self.lines:
            if begun >= day:
                continue
            taken[months] += amount
            ends = begun + months * 30
            if ends >= day:
                if ends - day < DAYS:
                    ending[months][ends - day] += amount
            else:
                ended += 1
                renewed += followed >= 0
        return FundHistory(
            self.pledged_rupiah - self.spent_until(day),
            self.window_days - day,
            self.arrivals_rupiah[:day],
            [
                Term(months * 30, taken[months] / max(1, sum(taken.values())), ending[months])
                for months in TERMS
            ],
            ended,
            renewed,
        )


def simulate_year(seed: int) -> list[FundYear]:
    """36 funds; about 50,000 workers among them. Terms of 3, 6 and 12 months; campaigns; retention of its
    own for each fund; pledges from scarce to ample; a few funds are topped up by nobody, as in life."""
    random = np.random.default_rng(seed)
    size = random.dirichlet(np.full(FUNDS, 2.0)) * WORKERS
    return [_simulate_fund(random, max(60, int(each))) for each in size]


def _simulate_fund(random: np.random.Generator, workers: int) -> FundYear:
    window = int(random.choice((365, 365, 365, 300, 270)))
    retention = float(random.uniform(0.6, 0.97))
    months_mix = random.dirichlet((3.0, 2.0, 1.0))
    # Arrivals: a daily level that drifts over the year, and two to five campaigns of a week or two.
    level = np.exp(np.cumsum(random.normal(0, 0.03, DAYS)))
    for _ in range(int(random.integers(2, 6))):
        begins, lasts = int(random.integers(0, DAYS - 14)), int(random.integers(5, 15))
        level[begins : begins + lasts] *= random.uniform(2, 6)
    level[np.arange(DAYS) % 7 >= 5] *= 0.1
    expected = level / level.sum() * workers
    arriving = random.poisson(expected)
    demand = int(workers * MONTH_RUPIAH * (months_mix @ np.array((3, 6, 12))) * random.uniform(1.0, 1.6))
    fund = FundYear(int(demand * random.uniform(0.55, 1.35)), window)
    due: list[list[int]] = [[] for _ in range(DAYS + 1)]
    money = fund.pledged_rupiah
    for day in range(window):
        renewing = due[day]
        asks = [(months, True) for months in renewing]
        asks += [(int(m), False) for m in random.choice((3, 6, 12), size=arriving[day], p=months_mix)]
        for months, is_renewal in asks:
            amount = months * MONTH_RUPIAH
            if amount > money:
                fund.exhausted_on = day
                return fund
            money -= amount
            (fund.renewed_rupiah if is_renewal else fund.arrivals_rupiah)[day] += amount
            ends = day + months * 30
            follows = ends < DAYS and random.random() < retention
            if follows:
                due[ends].append(months)
            fund.lines.append((day, months, amount, ends if follows else -1))
    return fund
