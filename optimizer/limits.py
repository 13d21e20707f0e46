"""What each fund can still do, and which funds can do nothing at all.

Limits that can never bind are dropped here, so they cost no price later:
a head cap above what the money buys, a district cap above the district's
needs. Funds that no plan can use (a minimum above a cap, an amount below the
cheapest acceptable cover) are closed; both steps keep every feasible plan, so
bounds stay valid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.cells import Cells
from optimizer.problem import NONE, AllocationProblem, Bool, Int64

#: Room that no plan can use up.
UNLIMITED = int(np.iinfo(np.int64).max // 4)

#: How many arcs are handled at once, to bound memory.
_CHUNK = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Per fund, what a run may still use; approved workers are already taken off.

    ``head_room`` (F) and ``district_room`` (F x D) are ``UNLIMITED`` where no
    cap can bind. ``least`` (F) is how many new workers an open fund must take
    (0 = no minimum). ``usable`` (F) is false for funds that no plan can use.
    """

    amount_rupiah: Int64
    head_room: Int64
    district_room: Int64
    least: Int64
    usable: Bool


def find_limits(problem: AllocationProblem, cells: Cells) -> Limits:
    """Derive the limits of every fund and close what cannot be used."""
    funds = problem.funds
    used = funds.heads_used.sum(axis=1)
    head_room = np.where(funds.head_count_cap == NONE, UNLIMITED, np.maximum(0, funds.head_count_cap - used))
    district_room = np.where(
        funds.district_cap[:, None] == NONE,
        UNLIMITED,
        np.maximum(0, funds.district_cap[:, None] - funds.heads_used),
    )
    least = np.where(funds.min_workers == NONE, 0, np.maximum(0, funds.min_workers - used))
    demand, cheapest, unit = _demand_of_funds(problem, cells)
    # Money below the unit of all acceptable costs buys nothing; without it the bound is tighter.
    amount_rupiah = funds.amount_rupiah // unit * unit
    district_room = np.where(district_room >= demand, UNLIMITED, district_room)
    reachable = np.minimum(np.minimum(district_room, demand).sum(axis=1), funds.amount_rupiah // cheapest)
    usable = (reachable > 0) & (head_room > 0) & (np.minimum(reachable, head_room) >= least)
    head_room = np.where(head_room >= reachable, UNLIMITED, head_room)
    return Limits(amount_rupiah, head_room, district_room, least, usable)


def _demand_of_funds(problem: AllocationProblem, cells: Cells) -> tuple[Int64, Int64, Int64]:
    """Acceptable needs (F x D), and per fund the cheapest need and the common unit of costs (F, rupiah)."""
    count, districts, groups = len(problem.funds), problem.districts, len(cells.degree)
    cheapest_of_group = np.full((groups, cells.cost.shape[1]), UNLIMITED, dtype=np.int64)
    np.minimum.at(cheapest_of_group, cells.group, cells.cost)
    unit_of_group = np.zeros_like(cheapest_of_group)
    np.gcd.at(unit_of_group, cells.group, cells.cost)
    place = cells.group.astype(np.int64) * districts + cells.district
    filled, slot = np.unique(place, return_inverse=True)
    needs = np.bincount(slot, weights=cells.size, minlength=len(filled))
    group_of_place, district_of_place = filled // districts, filled % districts
    demand = np.zeros(count * districts)
    cheapest = np.full(count, UNLIMITED, dtype=np.int64)
    unit = np.zeros(count, dtype=np.int64)
    degree = cells.degree[group_of_place]
    ends = np.cumsum(degree)
    begin = 0
    while begin < len(filled):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        owner, arc = expand(cells.arc_start[group_of_place[begin:end]], degree[begin:end])
        fund = cells.arc_fund[arc]
        target = fund.astype(np.int64) * districts + district_of_place[begin:end][owner]
        demand += np.bincount(target, weights=needs[begin:end][owner], minlength=count * districts)
        cost = cheapest_of_group[group_of_place[begin:end][owner], problem.funds.cost_class[fund]]
        np.minimum.at(cheapest, fund, cost)
        np.gcd.at(unit, fund, unit_of_group[group_of_place[begin:end][owner], problem.funds.cost_class[fund]])
        begin = end
    return demand.reshape(count, districts).astype(np.int64), cheapest, np.maximum(unit, 1)


def expand(start: Int64, length: Int64) -> tuple[Int64, Int64]:
    """List the members of ragged rows: for each, its row number and its flat position."""
    owner = np.repeat(np.arange(len(length)), length)
    before = np.cumsum(length) - length
    return owner, np.arange(len(owner)) + (start - before)[owner]
