"""Minimum numbers of workers: reach them, or leave the fund unused.

Choosing which funds to open is the hard, combinatorial side of the problem.
Small problems get it exact; here a fund that came out short is either topped
up with workers of other funds that can spare them, or emptied and refilled with
unfunded ones, or closed and its workers offered to the others, whichever scores most.
Heuristic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optimizer.plan import Plan, accept_requests
from optimizer.problem import Int64
from optimizer.rounding import fill_leftovers


def short_funds(plan: Plan) -> Int64:
    """Funds that have taken workers, but fewer than their minimum."""
    taken = plan.taken()
    return np.flatnonzero((taken > 0) & (taken < plan.least))


def meet_minimums(plan: Plan, stopped: Callable[[], bool]) -> None:
    """Leave no fund short: afterwards every fund meets its minimum, or is unused and closed.

    Closed, because later steps place single workers, and one worker in an unused fund is too few.
    """
    while True:
        short = short_funds(plan)
        if not len(short):
            plan.open_fund &= plan.taken() >= plan.least
            return
        missing = (plan.least[short] - plan.taken()[short]) / plan.least[short]
        fund = int(short[np.argmin(missing)])
        before = plan.snapshot()
        _close(plan, fund)
        if stopped():
            continue
        fill_leftovers(plan, stopped)
        closed, value_closed = plan.snapshot(), plan.value()
        best, best_value = closed, value_closed
        for attempt in (_draw_in, _top_up):
            plan.restore(before)
            if attempt(plan, fund) and plan.value() > best_value:
                best, best_value = plan.snapshot(), plan.value()
        plan.restore(best)


def _close(plan: Plan, fund: int) -> None:
    rows = np.flatnonzero((plan.arcs.fund == fund) & (plan.flow > 0))
    plan.add(rows, -plan.flow[rows])
    plan.open_fund[fund] = False


def _draw_in(plan: Plan, fund: int) -> bool:
    """Lift one fund to its minimum with workers of other funds that can spare them; those then refill."""
    arcs = plan.arcs
    mine = np.flatnonzero(arcs.fund == fund)
    missing = int(plan.least[fund] - plan.flow[mine].sum())
    own = np.full(plan.cells.count, -1, dtype=np.int64)
    own[arcs.cell[mine]] = mine
    spare = plan.taken() - plan.least
    spare[plan.least <= 0] = np.iinfo(np.int64).max
    donors = np.flatnonzero((plan.flow > 0) & (own[arcs.cell] >= 0) & (arcs.fund != fund))
    donors = donors[spare[arcs.fund[donors]] > 0]
    # The least score lost per move first: what the fund asks more than the donor.
    dearer = arcs.price[own[arcs.cell[donors]]] - arcs.price[donors]
    for donor in donors[np.argsort(dearer, kind="stable")]:
        into = own[arcs.cell[donor]]
        for _ in range(min(missing, int(plan.flow[donor]), int(spare[arcs.fund[donor]]))):
            if not plan.fits_at(into):
                break
            plan.add_at(donor, -1)
            plan.add_at(into, 1)
            spare[arcs.fund[donor]] -= 1
            missing -= 1
        if missing == 0:
            fill_leftovers(plan, lambda: False)
            return True
    return False


def _top_up(plan: Plan, fund: int) -> bool:
    """Refill one fund to its minimum, from its own, unfunded and other funds' workers."""
    arcs, cells = plan.arcs, plan.cells
    mine = np.flatnonzero(arcs.fund == fund)
    plan.add(mine, -plan.flow[mine])
    need = int(plan.least[fund])
    size = np.minimum(cells.size[arcs.cell[mine]], 4 * need)
    arc = np.repeat(mine, size)
    rank = np.arange(len(arc)) - np.repeat(np.cumsum(size) - size, size)
    cell = arcs.cell[arc]
    # The next unfunded bring their score; further down the cell others' workers would have to move.
    position = cells.start[cell] + plan.funded[cell] + rank
    unfunded = position < cells.start[cell + 1]
    arc, cell, position = arc[unfunded], cell[unfunded], position[unfunded]
    score = cells.score[position].astype(np.float64)
    cost = arcs.cost[arc].astype(np.float64)
    chosen = np.zeros(0, dtype=np.int64)
    low, high = 0.0, float((score / np.maximum(cost, 1)).max(initial=0.0)) + 1e-12
    for _ in range(30):
        price = (low + high) / 2
        order = np.argsort(-(score - price * cost), kind="stable")[: max(need, 1)]
        if len(order) >= need and cost[order].sum() <= plan.money[fund]:
            chosen, high = order, price
        else:
            low = price
    if len(chosen) == 0:
        order = np.argsort(cost, kind="stable")[:need]
        if len(order) >= need and cost[order].sum() <= plan.money[fund]:
            chosen = order
    if len(chosen):
        taken = accept_requests(plan, arc[chosen], cost[chosen])
        plan.add(arc[chosen][taken], 1)
        fill_leftovers(plan, lambda: False)
    return int(plan.flow[mine].sum()) >= need
