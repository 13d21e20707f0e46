"""The reason of every need and the bottleneck of every fund of a whole match, in arrays.

:mod:`workflow.explain_match` says the same for one worker and turns all of it into words. Here
needs are taken by the optimiser's cells, so a million of them cost as much as their few ten
thousand cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizer.cells import Cells, build_cells
from optimizer.limits import expand
from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Bool, Int32, Int64
from optimizer.result import AllocationResult
from optimizer.rules import PAIR_RULES
from optimizer.tiers import worker_scores
from workflow.explain_match import (
    FUNDED,
    NO_FUNDS,
    NOT_REACHED,
    OUTBID,
    Occupancy,
    find_places_left,
    measure_occupancy,
)

Float = npt.NDArray[np.float64]

#: Every reason; ``MatchReasons.reason`` holds positions in it.
REASONS = (
    FUNDED,
    NO_FUNDS,
    *(rule.__name__ for rule in PAIR_RULES),
    "head_count_cap",
    "district_cap",
    "amount_left",
    "min_workers",
    OUTBID,
    NOT_REACHED,
)
#: What may bind a fund; ``MatchReasons.binds`` holds positions in it.
BINDING = ("", "eligibility", "head_count_cap", "district_cap", "min_workers", "amount_left")

_CODE = {name: code for code, name in enumerate(REASONS)}
#: How many pairs of cell and fund are looked at together, to bound memory.
_CHUNK = 2_000_000


@dataclass(frozen=True, slots=True, eq=False)
class MatchReasons:
    """Per need (N) and per fund (F), why the plan is as it is.

    ``reason`` (N) indexes ``REASONS``. ``fund`` (N) is the fund that the reason speaks of, or
    ``NONE``; ``points`` (N) how many priority points an outbid need lacked. ``alternative`` (N) is
    the best other fund that accepts the need (``NONE`` without any), ``alternative_asks`` (N) its
    price in points and ``asks`` (N) that of the fund that pays. ``binds`` (F) indexes ``BINDING``;
    ``score_per_million_rupiah`` (F) is the score that a further Rp 1,000,000 is worth, and
    ``workers_per_million_rupiah`` (F) about how many workers that is, at the mean price of the
    needs that wait for the fund.
    """

    reason: npt.NDArray[np.int8]
    fund: Int32
    points: Float
    alternative: Int32
    alternative_asks: Float
    asks: Float
    binds: npt.NDArray[np.int8]
    score_per_million_rupiah: Float
    workers_per_million_rupiah: Float
    occupancy: Occupancy


@dataclass(slots=True, eq=False)
class _CellBest:
    """Per cell (K): the cheapest and second cheapest accepting fund, the cheapest that was not
    shut, one that still has room, and the rule that shuts the cheapest."""

    first: Int32
    first_asks: Float
    second: Int32
    second_asks: Float
    rival: Int32
    rival_asks: Float
    open_fund: Int32
    shut_code: npt.NDArray[np.int8]


def find_reasons(problem: AllocationProblem, policy: Policy, result: AllocationResult) -> MatchReasons:
    """Explain every need and every fund of a result at once."""
    scores = worker_scores(problem, policy)
    cells = build_cells(problem, scores)
    occupancy = measure_occupancy(problem, result)
    count = len(problem.workers)
    unfunded = result.fund_of_worker == NONE
    best, binds, waiting_asks = _compare_funds(problem, cells, result, occupancy, unfunded)
    cell = cells.cell_of_worker

    reason = np.zeros(count, dtype=np.int8)
    fund = result.fund_of_worker.copy()
    points = np.zeros(count)
    lost = np.flatnonzero(unfunded)
    of = cell[lost]
    rival, shut, still_open = best.rival[of], best.shut_code[of], best.open_fund[of]
    reason[lost] = np.where(rival != NONE, _CODE[OUTBID], shut)
    reason[lost[still_open != NONE]] = _CODE[NOT_REACHED]
    fund[lost] = np.where(still_open != NONE, still_open, np.where(rival != NONE, rival, best.first[of]))
    outbid = lost[reason[lost] == _CODE[OUTBID]]
    points[outbid] = np.maximum(0.0, best.rival_asks[cell[outbid]] - scores[outbid])
    nobody = lost[best.first[of] == NONE]
    reason[nobody] = _find_emptying_rules(problem, nobody)

    chosen_is_first = result.fund_of_worker == best.first[cell]
    alternative = np.where(chosen_is_first, best.second[cell], best.first[cell]).astype(np.int32)
    alternative_asks = np.where(chosen_is_first, best.second_asks[cell], best.first_asks[cell])
    asks = np.zeros(count)
    funded = np.flatnonzero(~unfunded)
    payer = result.fund_of_worker[funded]
    prices = result.prices
    asks[funded] = (
        prices.fund[payer] * result.amount_rupiah[funded]
        + prices.head[payer]
        + prices.district[payer, cells.district[cell[funded]]]
    )
    return MatchReasons(
        reason=reason,
        fund=fund,
        points=points,
        alternative=alternative,
        alternative_asks=alternative_asks,
        asks=asks,
        binds=binds,
        score_per_million_rupiah=prices.fund * 1_000_000,
        workers_per_million_rupiah=np.divide(
            prices.fund * 1_000_000, waiting_asks, out=np.zeros(len(prices.fund)), where=waiting_asks > 0
        ),
        occupancy=occupancy,
    )


def _compare_funds(
    problem: AllocationProblem,
    cells: Cells,
    result: AllocationResult,
    occupancy: Occupancy,
    unfunded: Bool,
) -> tuple[_CellBest, npt.NDArray[np.int8], Float]:
    """Look once at every pair of cell and accepting fund.

    Also what binds each fund, and the mean price (points) of the cells that wait for it.
    """
    funds, prices, many = problem.funds, result.prices, cells.count
    used = funds.heads_used.sum(axis=1)
    head_left, district_left = find_places_left(problem, occupancy)
    missing = (occupancy.heads == 0) & (funds.min_workers > used + 1)
    full_cap = (funds.head_count_cap != NONE) & (funds.head_count_cap <= used)
    full_district = (funds.district_cap[:, None] != NONE) & (funds.district_cap[:, None] <= funds.heads_used)
    waiting = np.bincount(cells.cell_of_worker[unfunded], minlength=many)

    none = np.full(many, NONE, dtype=np.int32)
    best = _CellBest(
        first=none.copy(),
        first_asks=np.full(many, np.inf),
        second=none.copy(),
        second_asks=np.full(many, np.inf),
        rival=none.copy(),
        rival_asks=np.full(many, np.inf),
        open_fund=none.copy(),
        shut_code=np.zeros(many, dtype=np.int8),
    )
    wanted = np.zeros(len(funds), dtype=np.int64)  # waiting cells that a fund accepts
    placed = np.zeros(len(funds), dtype=np.int64)  # … of those, in districts with room
    asked = np.zeros(len(funds))  # … their prices added up
    cheapest = np.full(len(funds), np.iinfo(np.int64).max)
    degree = cells.degree[cells.group]
    ends = np.cumsum(degree)
    begin = 0
    while begin < many:
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        part = np.arange(begin, end)
        begin = end
        owner, arc = expand(cells.arc_start[cells.group[part]], degree[part])
        if not len(arc):
            continue
        cell, fund = part[owner], cells.arc_fund[arc]
        district = cells.district[cell]
        cost = cells.cost[cell, funds.cost_class[fund]]
        asks = prices.fund[fund] * cost + prices.head[fund] + prices.district[fund, district]
        shut = np.select(
            [full_cap[fund], full_district[fund, district], funds.amount_rupiah[fund] < cost, missing[fund]],
            [_CODE["head_count_cap"], _CODE["district_cap"], _CODE["amount_left"], _CODE["min_workers"]],
            0,
        )
        room = (head_left[fund] > 0) & (district_left[fund, district] > 0)
        payable = (shut == 0) & room & (occupancy.left_rupiah[fund] >= cost)
        at = _lowest(owner, asks)
        here = cell[at]
        best.first[here], best.first_asks[here] = fund[at], asks[at]
        best.shut_code[here] = shut[at]
        again = asks.copy()
        again[at] = np.inf
        at = _lowest(owner, again)
        at = at[np.isfinite(again[at])]
        best.second[cell[at]], best.second_asks[cell[at]] = fund[at], asks[at]
        for allowed, which in ((shut == 0, "rival"), (payable, "open_fund")):
            some = np.flatnonzero(allowed)
            at = some[_lowest(owner[some], asks[some])]
            getattr(best, which)[cell[at]] = fund[at]
            if which == "rival":
                best.rival_asks[cell[at]] = asks[at]
        waits = waiting[cell] > 0
        wanted += np.bincount(fund[waits], minlength=len(funds))
        asked += np.bincount(fund[waits], weights=best.first_asks[cell[waits]], minlength=len(funds))
        placed += np.bincount(fund[waits & (district_left[fund, district] > 0)], minlength=len(funds))
        np.minimum.at(cheapest, fund[waits], cost[waits])
    best.open_fund[waiting == 0] = NONE
    code = {name: position for position, name in enumerate(BINDING)}
    binds = np.select(
        [wanted == 0, head_left <= 0, placed == 0, missing, occupancy.left_rupiah < cheapest],
        [
            code[name]
            for name in ("eligibility", "head_count_cap", "district_cap", "min_workers", "amount_left")
        ],
        code[""],
    )
    return best, binds.astype(np.int8), asked / np.maximum(wanted, 1)


def _lowest(owner: Int64, values: Float) -> Int64:
    """The position of the first lowest value of every run of equal ``owner``."""
    if not len(owner):
        return np.zeros(0, dtype=np.int64)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    lowest = np.minimum.reduceat(values, starts)
    runs = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(owner))))
    hits = np.flatnonzero(values == lowest[runs])
    return hits[np.flatnonzero(np.diff(runs[hits], prepend=-1))]


def _find_emptying_rules(problem: AllocationProblem, needs: Int64) -> npt.NDArray[np.int8]:
    """For needs that no fund accepts: the first rule after which no fund is left, as a reason code."""
    funds = np.arange(len(problem.funds))
    found = np.full(len(needs), _CODE[NO_FUNDS], dtype=np.int8)
    if not len(funds) or not len(needs):
        return found
    workers = problem.workers
    # What each rule reads of a worker; the window rule's months are in the key by then.
    read_by_rule: tuple[npt.NDArray[np.integer[Any]], ...] = (
        workers.village,
        workers.occupation,
        workers.bundle,
        workers.sex,
        workers.age,
        workers.months,
        workers.start_month,
    )
    key = np.zeros(len(needs), dtype=np.int64)
    remaining = np.arange(len(needs))
    for step, (rule, column) in enumerate(zip(PAIR_RULES, read_by_rule, strict=True)):
        key = key * (int(column.max()) + 2) + column[needs[remaining]] + 1
        _, first, key = np.unique(key, return_index=True, return_inverse=True)
        survives = np.zeros(len(first), dtype=np.bool_)
        width = max(1, _CHUNK // len(funds))
        for begin in range(0, len(first), width):
            sample = needs[remaining[first[begin : begin + width]]][:, None]
            accepted = PAIR_RULES[0](problem, sample, funds[None, :])
            for earlier in PAIR_RULES[1 : step + 1]:
                accepted = accepted & earlier(problem, sample, funds[None, :])
            survives[begin : begin + width] = accepted.any(axis=1)
        gone = ~survives[key]
        found[remaining[gone]] = _CODE[rule.__name__]
        remaining, key = remaining[~gone], key[~gone]
    return found
