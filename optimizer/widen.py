"""Arcs for what is left: funds that have limits unused meet everybody whom they accept.

A plan starts on the arcs near the cheapest. A fund whose money, heads or
district caps are still worth something at the end may find who takes them
among the others. Heuristic: it only adds ways to go, the limits stay.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from optimizer.limits import UNLIMITED, expand
from optimizer.market import Float, Market
from optimizer.plan import Arcs, Plan, make_arcs
from optimizer.problem import Int64
from optimizer.result import Prices

#: Funds that are widened at the most.
_MOST_FUNDS: Final = 64


def worth_left(plan: Plan, market: Market, prices: Prices) -> Float:
    """What the unused limits of every open fund are worth at the prices (F, score units)."""
    left = plan.money * prices.fund
    left += np.where(market.limits.head_room < UNLIMITED, plan.heads * prices.head, 0.0)
    fund, district = np.nonzero(market.room_slot >= 0)
    rooms = plan.room[market.room_slot[fund, district]] * prices.district[fund, district]
    left += np.bincount(fund, weights=rooms, minlength=len(left))
    return np.where(plan.open_fund, left, 0.0)


def widen_plan(plan: Plan, market: Market, prices: Prices, *, least: float, reach: float) -> Plan | None:
    """The plan with arcs from the funds that have most left to all that may come; ``None`` when none may.

    ``least`` is what a fund must have left (score units). Whoever is unfunded may come: money that nobody
    takes is worth nothing, whatever its price. Of the funded, cells that would be charged no more than
    ``reach`` above the cheapest of their arcs: they may move and make room elsewhere.
    """
    left = worth_left(plan, market, prices)
    chosen = np.argsort(-left, kind="stable")[:_MOST_FUNDS]
    chosen = chosen[left[chosen] > least]
    if not len(chosen):
        return None
    cells, old = plan.cells, plan.arcs
    cell, fund = _pairs_of(plan, chosen)
    arcs = make_arcs(market, cell, fund, prices)
    cheapest = np.full(cells.count, -np.inf)
    has = np.flatnonzero(np.diff(old.start) > 0)
    cheapest[has] = np.minimum.reduceat(old.price, old.start[has])
    wanted = (plan.next_score()[cell] > 0) | (
        (plan.funded[cell] > 0) & (arcs.price <= cheapest[cell] + reach)
    )
    funds = len(plan.money)
    among = np.isin(old.fund, chosen)
    known = old.cell[among].astype(np.int64) * funds + old.fund[among]
    new = np.flatnonzero(wanted & ~np.isin(cell * funds + fund, known))
    if not len(new):
        return None
    order = np.argsort(np.concatenate([old.cell, arcs.cell[new]]), kind="stable")
    merged = Arcs(
        start=old.start + np.searchsorted(arcs.cell[new], np.arange(cells.count + 1)),
        cell=np.concatenate([old.cell, arcs.cell[new]])[order],
        fund=np.concatenate([old.fund, arcs.fund[new]])[order],
        cost=np.concatenate([old.cost, arcs.cost[new]])[order],
        slot=np.concatenate([old.slot, arcs.slot[new]])[order],
        price=np.concatenate([old.price, arcs.price[new]])[order],
    )
    flow = np.concatenate([plan.flow, np.zeros(len(new), dtype=np.int64)])[order]
    return plan.on_arcs(merged, flow)


def _pairs_of(plan: Plan, funds: Int64) -> tuple[Int64, Int64]:
    """All pairs of a cell and one of the funds that accept it, by cell."""
    cells = plan.cells
    is_chosen = np.zeros(len(plan.money), dtype=np.bool_)
    is_chosen[funds] = True
    arc = np.flatnonzero(is_chosen[cells.arc_fund])
    group = np.searchsorted(cells.arc_start, arc, side="right") - 1
    first = np.searchsorted(cells.group, np.arange(len(cells.degree) + 1))  # cells stand by group
    owner, cell = expand(first[group], np.diff(first)[group])
    fund = cells.arc_fund[arc[owner]].astype(np.int64)
    by_cell = np.argsort(cell, kind="stable")
    return cell[by_cell], fund[by_cell]
