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

from optimizer.cells import Cells, unique_rows
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
    demand, cheapest, unit = _read_arcs(problem, cells)
    # Money below the unit of all acceptable costs buys nothing; without it the bound is tighter.
    amount_rupiah = funds.amount_rupiah // unit * unit
    capped = np.flatnonzero(funds.district_cap != NONE)
    by_district = _demand_by_district(problem, cells, capped)
    district_room[capped] = np.where(district_room[capped] >= by_district, UNLIMITED, district_room[capped])
    reachable = demand
    reachable[capped] = np.minimum(district_room[capped], by_district).sum(axis=1)
    reachable = np.minimum(reachable, funds.amount_rupiah // cheapest)
    usable = (reachable > 0) & (head_room > 0) & (np.minimum(reachable, head_room) >= least)
    head_room = np.where(head_room >= reachable, UNLIMITED, head_room)
    return Limits(amount_rupiah, head_room, district_room, least, usable)


def _read_arcs(problem: AllocationProblem, cells: Cells) -> tuple[Int64, Int64, Int64]:
    """Per fund the acceptable needs, the cheapest of them and the common unit of their costs (F, rupiah)."""
    count, groups = len(problem.funds), len(cells.degree)
    fund_class, classes = problem.funds.cost_class, cells.cost.shape[1]
    size_of_group = np.bincount(cells.group, weights=cells.size, minlength=groups)
    # Per group: its cheapest need and the unit of its costs, by fund cost class. Few groups differ in
    # these, so what a fund sees of the distinct ones says as much as all of its arcs.
    priced = np.concatenate(
        [np.full((groups, classes), UNLIMITED, dtype=np.int64), np.zeros((groups, classes), dtype=np.int64)],
        axis=1,
    )
    first = np.flatnonzero(np.diff(cells.group, prepend=-1))
    if len(first):
        priced[cells.group[first], :classes] = np.minimum.reduceat(cells.cost, first, axis=0)
        priced[cells.group[first], classes:] = np.gcd.reduceat(cells.cost, first, axis=0)
    kind, kept = unique_rows(priced.view(np.uint8))
    kinds = priced[kept]
    demand = np.zeros(count)
    flat = np.zeros(count * len(kinds), dtype=np.bool_)
    for begin, end in _spans(cells.degree):
        fund = cells.arc_fund[cells.arc_start[begin] : cells.arc_start[end]]
        degree = cells.degree[begin:end]
        demand += np.bincount(fund, weights=np.repeat(size_of_group[begin:end], degree), minlength=count)
        flat[fund * len(kinds) + np.repeat(kind[begin:end], degree)] = True
    seen = flat.reshape(count, len(kinds))
    cheapest = np.where(seen, kinds[:, fund_class].T, UNLIMITED).min(axis=1, initial=UNLIMITED)
    unit = np.gcd.reduce(np.where(seen, kinds[:, classes + fund_class].T, 0), axis=1)
    return demand.astype(np.int64), cheapest, np.maximum(unit, 1)


def _demand_by_district(problem: AllocationProblem, cells: Cells, capped: Int64) -> Int64:
    """Acceptable needs by district for the funds with a district cap (their number x D)."""
    number = np.full(len(problem.funds), -1, dtype=np.int64)
    number[capped] = np.arange(len(capped))
    demand = np.zeros(len(capped) * problem.districts)
    if not len(capped):
        return demand.reshape(0, problem.districts).astype(np.int64)
    size = cells.size
    # A byte per arc: age and window rules can make a hundred million of them.
    chosen = np.flatnonzero((number >= 0)[cells.arc_fund])
    place = np.searchsorted(chosen, cells.arc_start)
    first, degree = place[cells.group], np.diff(place)[cells.group]
    for begin, end in _spans(degree):
        cell, arc = expand(first[begin:end], degree[begin:end])
        target = number[cells.arc_fund[chosen[arc]]] * problem.districts + cells.district[begin:end][cell]
        demand += np.bincount(target, weights=size[begin:end][cell], minlength=len(demand))
    return demand.reshape(len(capped), problem.districts).astype(np.int64)


def _spans(length: Int64) -> list[tuple[int, int]]:
    """Cut rows into spans of about ``_CHUNK`` members."""
    ends, spans, begin = np.cumsum(length), [], 0
    while begin < len(length):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        spans.append((begin, end))
        begin = end
    return spans


def expand(start: Int64, length: Int64) -> tuple[Int64, Int64]:
    """List the members of ragged rows: for each, its row number and its flat position."""
    owner = np.repeat(np.arange(len(length)), length)
    before = np.cumsum(length) - length
    return owner, np.arange(len(owner)) + (start - before)[owner]
