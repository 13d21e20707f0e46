"""What the tiers after coverage do to a finished plan, within the floors of the earlier ones.

Moves are taken only when they keep every limit and every floor. Heuristic; the
bounds beside them are proven.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from optimizer.limits import UNLIMITED, expand
from optimizer.market import Market
from optimizer.plan import Plan, accept_requests
from optimizer.policy import Policy
from optimizer.prices import cell_prices, exact_bound
from optimizer.problem import NONE, AllocationProblem, FundKind, Int8, Int32, Int64
from optimizer.result import Prices


def raise_poorest_district(plan: Plan, districts: int, floor: int, stopped: Callable[[], bool]) -> int:
    """Swap workers into the district with the smallest ratio while coverage stays at ``floor`` or above."""
    if not districts:
        return 0
    cells, arcs = plan.cells, plan.arcs
    needs = np.bincount(cells.district, weights=cells.size, minlength=districts)
    heads = np.bincount(cells.district, weights=plan.funded, minlength=districts)
    present, most = needs > 0, np.maximum(needs, 1)
    value, swaps = plan.value(), 0
    district_of_arc = cells.district[arcs.cell]
    by_district = np.argsort(district_of_arc, kind="stable")
    district_start = np.searchsorted(district_of_arc[by_district], np.arange(districts + 1))
    by_fund = np.argsort(arcs.fund, kind="stable")
    fund_start = np.searchsorted(arcs.fund[by_fund], np.arange(len(plan.money) + 1))
    next_score, last_score = plan.next_score(), plan.last_score()
    while not stopped() and swaps < 20_000:
        ratio = np.where(present, heads / most, np.inf)
        poorest = int(ratio.argmin())
        donors = np.where(present, (heads - 1) / most, -np.inf) > ratio[poorest]
        into = by_district[district_start[poorest] : district_start[poorest + 1]]
        gained = next_score[arcs.cell[into]]
        may = (gained > 0) & plan.open_fund[arcs.fund[into]] & (plan.room[arcs.slot[into]] > 0)
        into, gained = into[may], gained[may]
        swap = None
        for arc in into[np.argsort(-gained, kind="stable")[:40]]:
            fund = arcs.fund[arc]
            rows = by_fund[fund_start[fund] : fund_start[fund + 1]]
            rows = rows[(plan.flow[rows] > 0) & donors[district_of_arc[rows]]]
            rows = rows[arcs.cost[rows] + plan.money[fund] >= arcs.cost[arc]]
            if not len(rows):
                continue
            out = rows[last_score[arcs.cell[rows]].argmin()]
            change = int(next_score[arcs.cell[arc]] - last_score[arcs.cell[out]])
            if value + change >= floor:
                swap = (out, arc)
                break
        if swap is None:
            return swaps
        for arc, by in zip(swap, (-1, 1), strict=True):
            plan.add(np.array([arc]), by)
            cell = arcs.cell[arc]
            heads[cells.district[cell]] += by
            next_score[cell], last_score[cell] = plan.scores_around(int(cell))
        value += change
        swaps += 1
    return swaps


def shift_to_companies(plan: Plan, kind: Int8, expiry_rank: Int32, stopped: Callable[[], bool]) -> int:
    """Move workers from APBD to company pledges with room, soonest to expire first; coverage stays."""
    arcs, moved = plan.arcs, 0
    apbd = kind[arcs.fund] == FundKind.APBD
    for _ in range(50):
        if stopped():
            break
        source = np.flatnonzero(apbd & (plan.flow > 0))
        slack = plan.taken() - np.where(plan.least > 0, plan.least, 0)
        source = source[slack[arcs.fund[source]] > 0]
        target = np.flatnonzero(~apbd & plan.fits(np.arange(len(arcs.fund))))
        if not len(source) or not len(target):
            break
        best = target[np.lexsort((expiry_rank[arcs.fund[target]], arcs.cell[target]))]
        cell, first = np.unique(arcs.cell[best], return_index=True)
        goal = np.full(plan.cells.count, -1, dtype=np.int64)
        goal[cell] = best[first]
        source = source[goal[arcs.cell[source]] >= 0]
        _, first = np.unique(arcs.cell[source], return_index=True)
        source = source[first]
        # Several sources of one fund at its minimum could undercut it together: one each round.
        guarded = plan.least[arcs.fund[source]] > 0
        _, once = np.unique(arcs.fund[source], return_index=True)
        keep = ~guarded
        keep[once] = True
        source = source[keep]
        request = goal[arcs.cell[source]]
        taken = accept_requests(plan, request, -arcs.cost[source].astype(np.float64))
        if not taken.any():
            break
        plan.add(source[taken], -1)
        plan.add(request[taken], 1)
        moved += int(taken.sum())
    return moved


def equity_bound(market: Market) -> float:
    """No plan funds a larger share of some district's needs than this."""
    cells, limits, problem = market.cells, market.limits, market.problem
    degree = cells.degree
    owner, arc = expand(cells.arc_start[:-1], degree)
    usable = limits.usable[cells.arc_fund[arc]]
    open_group = np.bincount(owner, weights=usable, minlength=len(degree)) > 0
    needs = np.bincount(cells.district, weights=cells.size, minlength=problem.districts)
    able = np.where(open_group[cells.group], cells.size, 0)
    reach = np.bincount(cells.district, weights=able, minlength=problem.districts)
    present = needs > 0
    if not present.any():
        return 1.0
    # All money together buys at most so many of a district's cheapest needs.
    # Summed in Python: a thousand of the largest amounts exceed 64 bits.
    money = min(sum(limits.amount_rupiah[limits.usable].tolist()), UNLIMITED)
    cheapest = cells.cost.min(axis=1, initial=np.iinfo(np.int64).max)
    by_cost = np.lexsort((cheapest, cells.district))
    for district in np.flatnonzero(present):
        rows = by_cost[np.searchsorted(cells.district[by_cost], district) :]
        rows = rows[: np.searchsorted(cells.district[rows], district, side="right")]
        rows = rows[able[rows] > 0]
        paid = np.cumsum(able[rows] * cheapest[rows])
        full = int(np.searchsorted(paid, money, side="right"))
        if full < len(rows):
            left = money - (int(paid[full - 1]) if full else 0)
            count = int(able[rows[:full]].sum()) + int(left // cheapest[rows[full]])
            reach[district] = min(reach[district], count)
    return float((reach[present] / needs[present]).min())


def apbd_bound(market: Market, prices: Prices, floor: int) -> int:
    """APBD rupiah that every plan with coverage of at least ``floor`` must spend."""
    apbd = market.problem.funds.kind == FundKind.APBD
    if not apbd.any():
        return 0
    positive = prices.fund[apbd & (prices.fund > 0)]
    cost = float(market.cells.cost.mean()) if market.cells.count else 1.0
    score = float(market.cells.score.mean()) if len(market.cells.score) else 1.0
    # One rate where APBD money is scarce (its price), another where it is not (next to nothing).
    trials = [float(positive.min())] if len(positive) == apbd.sum() else [1e-3 * score / max(cost, 1.0)]
    best = 0.0
    for rate in trials:
        # Coverage less rate x APBD rupiah is at most this, whatever the plan.
        money = np.where(apbd, np.maximum(0.0, prices.fund - rate), prices.fund)
        surcharge = np.where(apbd, rate, 0.0)
        relieved = Prices(money, prices.head, prices.district)
        limit = exact_bound(market, relieved, cell_prices(market, relieved, surcharge))
        best = max(best, (floor - limit) / rate)
    return max(0, math.floor(best * (1 - 1e-9)))


def forced_changes(problem: AllocationProblem, accepted_now: Int64) -> int:
    """Proposals that no plan can keep: their fund accepts the worker no longer (``accepted_now``: N)."""
    return int(((problem.workers.current_fund != NONE) & ~accepted_now.astype(np.bool_)).sum())


def cohesion_bound(problem: AllocationProblem, scores: Int64, floor: int) -> int:
    """Villages that must have a funded worker for coverage to reach ``floor``."""
    by_village = np.bincount(problem.workers.village, weights=scores) if len(scores) else np.zeros(0)
    ordered = np.concatenate([[0.0], np.cumsum(np.sort(by_village)[::-1])])
    return int(np.searchsorted(ordered, floor - 1e-6))


def floor_for(policy: Policy, value: float, earlier: int, later: int) -> int:
    """The coverage that tier ``later`` must leave, in integers rounded in coverage's favour."""
    return int(value) - math.floor(abs(value) * policy.allowance(earlier, later) + 1e-9)
