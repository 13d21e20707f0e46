"""What if a fund had more or less money, other rules, there were another fund, or another policy?

The question is answered by solving again in memory, warm from the last run's prices. Nothing is
ever stored. Like :mod:`workflow.explain_match` this works on (problem, names, result), so it
serves a run directory and the database alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, FundKind, Int64
from optimizer.progress import Progress
from optimizer.result import AllocationResult
from workflow.carry_prices import carry_prices
from workflow.match_problem import FundTerms, MatchNames, replace_funds
from workflow.match_solve import solve_any_cost


class WhatIfError(ValueError):
    """The question cannot be asked; the message says why."""


@dataclass(frozen=True, slots=True)
class Totals:
    """One side of the comparison. ``gap`` is the first tier's proven relative distance."""

    workers: int
    score: int
    worker_months: int
    spent_rupiah: int
    apbd_rupiah: int
    available_rupiah: int
    gap: float
    status: str


@dataclass(frozen=True, slots=True)
class DistrictChange:
    """Workers gained and lost in one district; ``now`` are funded under the question's terms."""

    district: str
    workers: int
    before: int
    now: int
    gained: int
    lost: int


@dataclass(frozen=True, slots=True)
class WhatIfAnswer:
    """Before and after. ``moved`` workers stay funded but by another fund."""

    before: Totals
    after: Totals
    gained: int
    lost: int
    moved: int
    districts: tuple[DistrictChange, ...]
    seconds: float

    @property
    def extra_rupiah(self) -> int:
        """How much more money there is to spend (negative after a cut)."""
        return self.after.available_rupiah - self.before.available_rupiah

    def per_million(self, gained: int) -> float | None:
        """``gained`` per Rp 1,000,000 more or less; None when the money is the same."""
        return None if self.extra_rupiah == 0 else gained / (self.extra_rupiah / 1_000_000)


def add_money(funds: Sequence[FundTerms], fund_id: str, rupiah: int) -> tuple[FundTerms, ...]:
    """The funds with ``rupiah`` more (or less) at one of them; raises :class:`WhatIfError` below 0."""
    fund = find_fund(funds, fund_id)
    if fund.amount_rupiah + rupiah < 0:
        raise WhatIfError(f"fund {fund_id} has Rp {fund.amount_rupiah:,}; it cannot be cut by Rp {-rupiah:,}")
    return change_fund(funds, replace(fund, amount_rupiah=fund.amount_rupiah + rupiah))


def change_fund(funds: Sequence[FundTerms], changed: FundTerms) -> tuple[FundTerms, ...]:
    """The funds with one of them, found by its id, under other terms."""
    find_fund(funds, changed.fund_id)
    return tuple(changed if fund.fund_id == changed.fund_id else fund for fund in funds)


def remove_fund(funds: Sequence[FundTerms], fund_id: str) -> tuple[FundTerms, ...]:
    """The funds without one of them."""
    find_fund(funds, fund_id)
    return tuple(fund for fund in funds if fund.fund_id != fund_id)


def add_funds(funds: Sequence[FundTerms], added: Sequence[FundTerms]) -> tuple[FundTerms, ...]:
    """The funds and some new ones at the end; raises :class:`WhatIfError` for an id that is taken."""
    taken = {fund.fund_id for fund in funds}
    for fund in added:
        if fund.fund_id in taken:
            raise WhatIfError(f"there is already a fund {fund.fund_id}; change it instead of adding it")
    return (*funds, *added)


def find_fund(funds: Sequence[FundTerms], fund_id: str) -> FundTerms:
    """The fund with this id; raises :class:`WhatIfError` when there is none."""
    for fund in funds:
        if fund.fund_id == fund_id:
            return fund
    raise WhatIfError(f"there is no fund {fund_id}")


def ask_what_if(
    problem: AllocationProblem,
    names: MatchNames,
    result: AllocationResult,
    funds: Sequence[FundTerms],
    policy: Policy,
    *,
    time_limit_seconds: float,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> WhatIfAnswer:
    """Solve again with other ``funds`` or another ``policy`` and compare with ``result``.

    The plan of ``result`` counts as current, so that the stability tier keeps whatever need not
    change. Differences within the two gaps may come from the search and not from the question.
    """
    asked, asked_names = replace_funds(problem, names, funds)
    index = {fund.fund_id: position for position, fund in enumerate(funds)}
    before_fund = np.array([index.get(fund.fund_id, NONE) for fund in names.funds] + [NONE], dtype=np.int32)[
        result.fund_of_worker
    ]
    asked = replace(asked, workers=replace(asked.workers, current_fund=before_fund))
    answer = solve_any_cost(
        asked,
        policy,
        previous=carry_prices(result.prices, names.places, asked_names.places),
        time_limit_seconds=time_limit_seconds,
        on_progress=on_progress,
        cancelled=cancelled,
    )
    was, now = result.fund_of_worker != NONE, answer.fund_of_worker != NONE
    district = problem.district_of_village[problem.workers.village]

    def by_district(which: np.ndarray) -> Int64:
        return np.bincount(district[which], minlength=problem.districts).astype(np.int64)

    everyone = np.ones(len(problem.workers), dtype=np.bool_)
    counts = zip(
        asked_names.districts,
        by_district(everyone),
        by_district(was),
        by_district(now),
        by_district(now & ~was),
        by_district(was & ~now),
        strict=True,
    )
    return WhatIfAnswer(
        before=_totals(problem, result),
        after=_totals(asked, answer),
        gained=int((now & ~was).sum()),
        lost=int((was & ~now).sum()),
        moved=int((now & was & (answer.fund_of_worker != before_fund)).sum()),
        districts=tuple(DistrictChange(code, *(int(count) for count in rest)) for code, *rest in counts),
        seconds=sum(answer.seconds.values()),
    )


def _totals(problem: AllocationProblem, result: AllocationResult) -> Totals:
    funded = np.flatnonzero(result.fund_of_worker != NONE)
    by_apbd = problem.funds.kind[result.fund_of_worker[funded]] == FundKind.APBD
    return Totals(
        workers=len(funded),
        score=int(problem.workers.priority[funded].sum(dtype=np.int64)),
        worker_months=int(problem.workers.months[funded].sum(dtype=np.int64)),
        spent_rupiah=int(result.amount_rupiah[funded].sum()),
        apbd_rupiah=int(result.amount_rupiah[funded][by_apbd].sum()),
        available_rupiah=sum(problem.funds.amount_rupiah.tolist()),
        gap=result.tiers[0].gap,
        status=result.status.value,
    )
