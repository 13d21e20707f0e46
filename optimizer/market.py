"""Cells on one side, funds on the other: what prices are evaluated over.

Uncapped funds that accept the same groups at the same cost are one **pool**
with one price. Pools charge rupiah only, so within a group and a fund cost
class the cheapest pool is the same for every cell: such pools share a
**lane**. Funds with a cap also charge per head and stay single arcs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizer.cells import Cells
from optimizer.limits import UNLIMITED, Limits
from optimizer.problem import AllocationProblem, Bool, Int32, Int64
from optimizer.result import Prices

Float = npt.NDArray[np.float64]

#: Arcs that are summed up at once, to bound memory.
_CHUNK = 4_000_000

#: Prices (pools, heads, district caps) beyond which a search takes fewer steps, or other ones.
_MANY_LIMITS = 1_200


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """The static side of a solve.

    ``pool_of_fund`` (F) numbers pools; capped and closed funds are pools of one.
    ``lane_of`` (G x C) is a lane or -1; lane ``l`` lists its pools in
    ``lane_pool[lane_start[l]:lane_start[l + 1]]``. ``capped_fund`` lists capped
    funds by group through ``capped_start`` (G + 1). ``room_slot`` (F x D)
    numbers the district caps that can bind, -1 elsewhere; ``room`` has one
    entry per slot.
    """

    problem: AllocationProblem
    cells: Cells
    limits: Limits
    fund_class: Int32
    pool_of_fund: Int32
    pool_rupiah: Float
    pool_start: Int64
    pool_fund: Int64
    lane_of: Int32
    lane_start: Int64
    lane_pool: Int32
    capped_start: Int64
    capped_fund: Int32
    room_slot: Int32
    room: Int64
    capped: Bool


def build_market(problem: AllocationProblem, cells: Cells, limits: Limits, open_fund: Bool) -> Market:
    """Arrange the open funds (F) of a problem into lanes and capped arcs."""
    groups, classes = len(cells.degree), cells.cost.shape[1]
    fund_class = problem.funds.cost_class.astype(np.int32)
    slotted = (limits.district_room < UNLIMITED) & open_fund[:, None]
    capped = open_fund & ((limits.head_room < UNLIMITED) | slotted.any(axis=1))
    room_slot = np.full(limits.district_room.shape, -1, dtype=np.int32)
    room_slot[slotted] = np.arange(int(slotted.sum()), dtype=np.int32)
    arc_group = np.repeat(np.arange(groups, dtype=np.int32), cells.degree)
    free = open_fund & ~capped
    pool_of_fund = _find_pools(cells, arc_group, fund_class, free)
    by_pool = np.argsort(pool_of_fund, kind="stable")
    first_of_pool = np.zeros(len(open_fund), dtype=np.bool_)
    first_of_pool[by_pool[np.flatnonzero(np.diff(pool_of_fund[by_pool], prepend=-1))]] = True
    free &= first_of_pool
    lane_of = np.full((groups, classes), -1, dtype=np.int32)
    funds_of_lanes, sizes, lanes = [], [], 0
    for fund_cost_class in range(classes):
        chosen = (free & (fund_class == fund_cost_class))[cells.arc_fund]
        if not chosen.any():
            continue
        members = np.bincount(arc_group[chosen], minlength=groups)
        present = members > 0
        lane_of[present, fund_cost_class] = np.arange(lanes, lanes + int(present.sum()), dtype=np.int32)
        lanes += int(present.sum())
        funds_of_lanes.append(pool_of_fund[cells.arc_fund[chosen]])
        sizes.append(members[present])
    chosen = capped[cells.arc_fund]
    return Market(
        problem=problem,
        cells=cells,
        limits=limits,
        fund_class=fund_class,
        pool_of_fund=pool_of_fund,
        pool_rupiah=np.bincount(pool_of_fund, weights=np.where(open_fund, limits.amount_rupiah, 0.0)).astype(
            np.float64
        ),
        pool_start=_running(np.bincount(pool_of_fund)),
        pool_fund=by_pool,
        lane_of=lane_of,
        lane_start=_running(np.concatenate(sizes) if sizes else np.zeros(0, dtype=np.int64)),
        lane_pool=np.concatenate(funds_of_lanes) if funds_of_lanes else np.zeros(0, dtype=np.int32),
        capped_start=_running(np.bincount(arc_group[chosen], minlength=groups)),
        capped_fund=cells.arc_fund[chosen],
        room_slot=room_slot,
        room=limits.district_room[slotted],
        capped=capped,
    )


def _find_pools(cells: Cells, arc_group: Int32, fund_class: Int32, free: Bool) -> Int32:
    """Number funds so that free funds with equal groups and cost class share a number."""
    count = len(fund_class)
    rng = np.random.default_rng(11)
    key = [np.where(free, -1, np.arange(count)), fund_class.astype(np.int64)]
    for _ in range(3):
        # Sums of random marks tell sets of groups apart; three of 26 bits leave no room for chance.
        mark = rng.integers(1, 1 << 26, len(cells.degree)).astype(np.float64)
        total = np.zeros(count)
        for begin in range(0, len(arc_group), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            total += np.bincount(cells.arc_fund[part], weights=mark[arc_group[part]], minlength=count)
        key.append(total.astype(np.int64))
    _, number = np.unique(np.stack(key, axis=1), axis=0, return_inverse=True)
    return number.reshape(-1).astype(np.int32)


def pool_prices(market: Market, fund_price: Float) -> Float:
    """One price per pool: the mean of its funds' prices."""
    members = np.bincount(market.pool_of_fund)
    return np.asarray(np.bincount(market.pool_of_fund, weights=fund_price) / members)


def score_unit(market: Market) -> float:
    """The mean score over 50: temperatures and margins scale with it."""
    score = market.cells.score
    return max(0.02, float(score.mean()) / 50.0) if len(score) else 1.0


def has_many_limits(market: Market) -> bool:
    """Whether prices are so many that a step over all of them takes a good part of a second."""
    return len(market.pool_rupiah) + len(market.problem.funds) + len(market.room) > _MANY_LIMITS


def zero_prices(problem: AllocationProblem) -> Prices:
    """Prices that charge nothing."""
    funds = len(problem.funds)
    return Prices(np.zeros(funds), np.zeros(funds), np.zeros((funds, problem.districts)))


def _running(values: Int64) -> Int64:
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total
