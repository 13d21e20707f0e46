"""Why a plan is as it is: reasons, marginal values, and the alternatives that lost.

Everything is read from the problem, the finished plan and its prices; nothing
is solved again. A price is score per rupiah (or per head): what one more of it
would add to coverage in the relaxed problem that proves the bound, so marginal
values are exact for the relaxation and good estimates for whole workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from optimizer.cells import Cells, build_cells
from optimizer.limits import UNLIMITED, Limits, expand, find_limits
from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Funds, Int32, Int64
from optimizer.result import AllocationResult, Prices
from optimizer.rules import PAIR_RULES, heads_by_district, spent_rupiah
from optimizer.tiers import worker_scores

Float = npt.NDArray[np.float64]

#: Arcs expanded at once.
_CHUNK = 3_000_000

_ONE_MILLION = 1_000_000


class Reason(StrEnum):
    """Why a need is not funded."""

    NO_FUND_ACCEPTS = "no_fund_accepts"
    NO_FUND_CAN_OPEN = "no_fund_can_open"
    OUTBID = "outbid"
    NO_ROOM_LEFT = "no_room_left"


@dataclass(frozen=True, slots=True, eq=False)
class UnfundedNeeds:
    """One row per unfunded need, U in all.

    ``reason`` indexes ``REASONS``. ``best_fund`` is the accepting fund that
    asks least, or ``NONE``. ``score_short`` is how much more score the need
    would have had to bring (0 unless outbid). ``refusals`` (U x rules, in the
    order of ``rules.PAIR_RULES``) counts the funds that each rule refuses.
    ``binding`` is the limit of ``best_fund`` that leaves no room, as an index
    into ``LIMITS``, or ``NONE``.
    """

    worker: Int64
    reason: npt.NDArray[np.int8]
    best_fund: Int32
    score_short: Float
    refusals: Int32
    binding: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.worker)


@dataclass(frozen=True, slots=True, eq=False)
class FundValues:
    """One row per fund: what it did, what binds it, what more money would add.

    ``score_per_million`` and ``workers_per_million`` are what a further
    Rp 1,000,000 would add. ``binding`` indexes ``LIMITS`` or is ``NONE``.
    """

    spent_rupiah: Int64
    left_rupiah: Int64
    workers: Int64
    score_per_million: Float
    workers_per_million: Float
    binding: npt.NDArray[np.int8]


@dataclass(frozen=True, slots=True, eq=False)
class Alternatives:
    """One row per funded need: the best other fund, and by how much score it lost.

    ``fund`` is ``NONE`` when no other fund accepts the worker. ``score_lost`` is
    the score that the plan would expect to lose by moving the worker there; near
    0 means that the two are as good as each other.
    """

    worker: Int64
    fund: Int32
    score_lost: Float


REASONS: tuple[Reason, ...] = tuple(Reason)

#: Limits that can bind a fund; ``nobody_left`` means that no acceptable need is unfunded.
LIMITS: tuple[str, ...] = ("amount_left", "head_count_cap", "district_cap", "min_workers", "nobody_left")
_AMOUNT, _HEADS, _DISTRICT, _MINIMUM, _NOBODY = range(5)


class Explainer:
    """Answers about one result; what is common to the answers is computed once."""

    def __init__(self, problem: AllocationProblem, policy: Policy, result: AllocationResult) -> None:
        self._problem, self._result = problem, result
        self._scores = worker_scores(problem, policy)
        self._cells: Cells = build_cells(problem, self._scores)
        self._limits: Limits = find_limits(problem, self._cells)
        self._heads = heads_by_district(problem, result.fund_of_worker)
        self._left = problem.funds.amount_rupiah - spent_rupiah(problem, result.fund_of_worker)
        self._cheapest = _two_cheapest(problem, self._cells, self._limits, result.prices)

    def unfunded_needs(self) -> UnfundedNeeds:
        """A reason for every need that the plan leaves unfunded."""
        problem, cells = self._problem, self._cells
        worker = np.flatnonzero(self._result.fund_of_worker == NONE)
        cell = cells.cell_of_worker[worker]
        degree = cells.degree[cells.group[cell]]
        best, asked = self._cheapest[0][cell], self._cheapest[2][cell]
        short = np.where(np.isfinite(asked), asked - self._scores[worker], 0.0)
        reason = np.full(len(worker), REASONS.index(Reason.NO_ROOM_LEFT), dtype=np.int8)
        reason[short > 0] = REASONS.index(Reason.OUTBID)
        reason[best == NONE] = REASONS.index(Reason.NO_FUND_CAN_OPEN)
        reason[degree == 0] = REASONS.index(Reason.NO_FUND_ACCEPTS)
        binding = np.full(len(worker), NONE, dtype=np.int8)
        has = best != NONE
        binding[has] = self._binding(worker[has], best[has])
        return UnfundedNeeds(
            worker=worker,
            reason=reason,
            best_fund=best,
            score_short=np.where((degree > 0) & (best != NONE), np.maximum(0.0, short), 0.0),
            refusals=_count_refusals(problem, worker),
            binding=binding,
        )

    def fund_values(self) -> FundValues:
        """What every fund did and what more money in it would add."""
        problem, cells, plan = self._problem, self._cells, self._result.fund_of_worker
        funds = len(problem.funds)
        workers = self._heads.sum(axis=1)
        price = self._result.prices.fund
        asked = self._cheapest[2]
        unfunded = np.bincount(cells.cell_of_worker[plan == NONE], minlength=cells.count)
        # What a marginal worker scores, by fund: the mean price of cells where somebody waits.
        waiting = (unfunded > 0) & np.isfinite(asked)
        groups = len(cells.degree)
        total = np.bincount(cells.group[waiting], weights=asked[waiting], minlength=groups)
        count = np.bincount(cells.group[waiting], minlength=groups)
        owner, arc = expand(cells.arc_start[:-1], cells.degree)
        fund = cells.arc_fund[arc]
        waits = np.bincount(fund, weights=count[owner], minlength=funds)
        marginal = np.bincount(fund, weights=total[owner], minlength=funds) / np.maximum(waits, 1)
        per_million = price * _ONE_MILLION
        binding = np.full(funds, _AMOUNT, dtype=np.int8)
        binding[waits == 0] = _NOBODY
        head_full = workers >= self._limits.head_room
        room = self._limits.district_room
        binding[(price <= 0) & ((room < UNLIMITED) & (self._heads >= room)).any(axis=1)] = _DISTRICT
        binding[head_full & (waits > 0)] = _HEADS
        closed = (workers == 0) & (self._limits.least > 0) & (waits > 0)
        binding[closed] = _MINIMUM
        return FundValues(
            spent_rupiah=problem.funds.amount_rupiah - self._left,
            left_rupiah=self._left,
            workers=workers,
            score_per_million=per_million,
            workers_per_million=np.where(marginal > 0, per_million / np.maximum(marginal, 1e-9), 0.0),
            binding=binding,
        )

    def alternatives(self) -> Alternatives:
        """For every funded need the best other fund it could have had."""
        plan = self._result.fund_of_worker
        worker = np.flatnonzero(plan != NONE)
        cell = self._cells.cell_of_worker[worker]
        cheapest = self._cheapest
        first, second = cheapest[0][cell], cheapest[1][cell]
        asked, next_asked = cheapest[2][cell], cheapest[3][cell]
        chosen = plan[worker]
        other = np.where(first == chosen, second, first)
        paid = _asked_of(self._problem, self._result.prices, worker, chosen)
        price = np.where(first == chosen, next_asked, asked)
        lost = np.where(other != NONE, np.maximum(0.0, price - paid), 0.0)
        return Alternatives(worker, other.astype(np.int32), lost)

    def _binding(self, worker: Int64, fund: Int32) -> npt.NDArray[np.int8]:
        """Which limit of a fund leaves no room for a worker; ``NONE`` when it would fit."""
        problem, limits = self._problem, self._limits
        district = problem.district_of_village[problem.workers.village[worker]]
        cost = problem.cost_rupiah[problem.workers.cost_class[worker], problem.funds.cost_class[fund]]
        taken = self._heads.sum(axis=1)[fund]
        answer = np.full(len(worker), NONE, dtype=np.int8)
        answer[(taken == 0) & (limits.least[fund] > 0)] = _MINIMUM
        answer[self._heads[fund, district] >= limits.district_room[fund, district]] = _DISTRICT
        answer[taken >= limits.head_room[fund]] = _HEADS
        answer[cost > self._left[fund]] = _AMOUNT
        return answer


def detail_texts(needs: UnfundedNeeds, fund_names: Sequence[str]) -> list[str]:
    """One short text per unfunded need, in words an officer reads; rule names stand for themselves.

    Needs with equal facts share a text, so a million rows make few texts.
    """
    rules = [rule.__name__ for rule in PAIR_RULES]
    short = np.ceil(needs.score_short).astype(np.int64)
    facts = np.column_stack([needs.reason, needs.best_fund, short, needs.binding, needs.refusals]).astype(
        np.int64
    )
    distinct, row = np.unique(facts, axis=0, return_inverse=True)
    texts = []
    for reason, fund, missing, limit, *refused in distinct.tolist():
        name = fund_names[fund] if fund != NONE else ""
        match REASONS[reason]:
            case Reason.NO_FUND_ACCEPTS | Reason.NO_FUND_CAN_OPEN:
                texts.append(
                    ", ".join(f"{rule}: {count}" for rule, count in zip(rules, refused, strict=True) if count)
                )
            case Reason.OUTBID:
                texts.append(f"{name}: {missing} more score needed")
            case Reason.NO_ROOM_LEFT:
                texts.append(f"{name}: {LIMITS[limit]}" if limit != NONE else name)
    return [texts[index] for index in row.reshape(-1).tolist()]


def _count_refusals(problem: AllocationProblem, worker: Int64) -> Int32:
    """Funds refused per worker and pair rule (U x rules), each rule taken alone."""
    workers, funds = problem.workers, np.arange(len(problem.funds))
    span = workers.start_month.astype(np.int64) * 64 + workers.months
    read = (
        workers.village,
        workers.occupation,
        workers.bundle,
        workers.sex,
        workers.age,
        workers.months,
        span,
    )
    counts = np.zeros((len(worker), len(PAIR_RULES)), dtype=np.int32)
    if not len(worker) or not len(funds):
        return counts
    for column, (rule, attribute) in enumerate(zip(PAIR_RULES, read, strict=True)):
        _, first, kind = np.unique(attribute[worker], return_index=True, return_inverse=True)
        step = max(1, _CHUNK // len(funds))
        refused = [
            (~rule(problem, worker[first[begin : begin + step], None], funds[None, :])).sum(axis=1)
            for begin in range(0, len(first), step)
        ]
        counts[:, column] = np.concatenate(refused)[kind.reshape(-1)]
    return counts


def _two_cheapest(
    problem: AllocationProblem, cells: Cells, limits: Limits, prices: Prices
) -> tuple[Int32, Int32, Float, Float]:
    """Per cell (K): the cheapest and second cheapest usable fund and what they ask in score."""
    count = cells.count
    first, second = np.full(count, NONE, dtype=np.int32), np.full(count, NONE, dtype=np.int32)
    asked, next_asked = np.full(count, np.inf), np.full(count, np.inf)
    degree = cells.degree[cells.group]
    ends = np.cumsum(degree)
    begin = 0
    while begin < count:
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        owner, arc = expand(cells.arc_start[cells.group[begin:end]], degree[begin:end])
        if len(owner):
            cell, fund = owner + begin, cells.arc_fund[arc]
            price = _price(
                problem.funds,
                prices,
                cells.cost[cell, problem.funds.cost_class[fund]],
                fund,
                cells.district[cell],
            )
            price[~limits.usable[fund]] = np.inf
            _keep_cheapest(cell, fund, price, first, asked)
            price[first[cell] == fund] = np.inf
            _keep_cheapest(cell, fund, price, second, next_asked)
        begin = end
    return first, second, asked, next_asked


def _keep_cheapest(cell: Int64, fund: Int32, price: Float, best: Int32, asked: Float) -> None:
    rows = np.flatnonzero(np.diff(cell, prepend=-1))
    low = np.minimum.reduceat(price, rows)
    at_best = np.flatnonzero(
        (price == np.repeat(low, np.diff(np.append(rows, len(cell))))) & np.isfinite(price)
    )
    best[cell[at_best[::-1]]] = fund[at_best[::-1]]
    asked[cell[rows]] = low


def _asked_of(problem: AllocationProblem, prices: Prices, worker: Int64, fund: Int32) -> Float:
    cost = problem.cost_rupiah[problem.workers.cost_class[worker], problem.funds.cost_class[fund]]
    district = problem.district_of_village[problem.workers.village[worker]]
    return _price(problem.funds, prices, cost, fund, district)


def _price(funds: Funds, prices: Prices, cost: Int64, fund: Int32, district: Int32) -> Float:
    capped = funds.district_cap[fund] != NONE
    asked = cost * prices.fund[fund] + prices.head[fund]
    return np.asarray(asked + np.where(capped, prices.district[fund, district], 0.0))
