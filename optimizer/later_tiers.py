"""What the tiers after coverage do to a finished plan, within the floors of the earlier ones.

Moves are taken only when they keep every limit and every floor. Heuristic; the
bounds beside them are proven.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from optimizer.market import Float, Market
from optimizer.plan import Plan, accept_requests
from optimizer.policy import Policy
from optimizer.prices import cell_prices, exact_bound
from optimizer.problem import NONE, AllocationProblem, FundKind, Int8, Int32, Int64
from optimizer.result import Prices
from optimizer.rounding import wanted_workers
from optimizer.tiers import covered_by_district


def raise_poorest_district(plan: Plan, covered: Int64, floor: int, stopped: Callable[[], bool]) -> int:
    """Swap workers into the district with the smallest ratio while coverage stays at ``floor`` or above.

    ``covered`` (D) are people whom approved lines cover already.
    """
    districts = len(covered)
    if not districts:
        return 0
    cells, arcs = plan.cells, plan.arcs
    needs = np.bincount(cells.district, weights=cells.size, minlength=districts)
    heads = np.bincount(cells.district, weights=plan.funded, minlength=districts) + covered
    present, most = needs > 0, np.maximum(needs + covered, 1)
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
            plan.add_at(arc, by)
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


def equity_bound(market: Market, asked: Float, coverage_bound: float, floor: int) -> float:
    """No plan with coverage of at least ``floor`` lifts the poorest district above this.

    ``asked`` (K) and ``coverage_bound`` belong to the same prices. A bonus for every funded worker of a
    district raises the bound by what the bonus adds to that district's surplus: so many may be funded
    there. The smallest ratio is at most any district's.
    """
    cells, limits, problem = market.cells, market.limits, market.problem
    covered = covered_by_district(problem)
    open_arc = np.concatenate([[0], np.cumsum(limits.usable[cells.arc_fund])])
    open_group = open_arc[cells.arc_start[1:]] > open_arc[cells.arc_start[:-1]]
    needs = np.bincount(cells.district, weights=cells.size, minlength=problem.districts)
    present = needs > 0
    if not present.any():
        return 1.0
    able = np.where(open_group[cells.group], cells.size, 0)
    reach = np.bincount(cells.district, weights=able, minlength=problem.districts)
    unit = max(0.02, float(cells.score.mean()) / 50.0)
    spare = coverage_bound * (1 + 1e-9) + 1e-6 - floor
    before = _surplus_by_district(market, asked)
    for bonus in (3.0 * unit, 10.0 * unit, 100.0 * unit):
        gained = _surplus_by_district(market, asked - bonus) - before
        reach = np.minimum(reach, (spare + gained * (1 + 1e-9)) / bonus)
    people = needs + covered
    return float(min(1.0, max(0.0, ((reach + covered)[present] / people[present]).min())))


def _surplus_by_district(market: Market, asked: Float) -> Float:
    """Per district (D) what scores exceed the cells' prices by."""
    cells = market.cells
    taken = wanted_workers(cells, asked)
    first = cells.start[:-1]
    surplus = (
        cells.score_sum[first + taken] - cells.score_sum[first] - np.where(taken > 0, asked, 0.0) * taken
    )
    total = np.bincount(cells.district, weights=surplus, minlength=market.problem.districts)
    return np.asarray(total, dtype=np.float64)


def apbd_bound(market: Market, prices: Prices, floor: int, spent: float) -> int:
    """APBD rupiah that every plan with coverage of at least ``floor`` must spend.

    ``spent`` is what the plan at hand spends: rates are tried until the bound is near it.
    """
    apbd = market.problem.funds.kind == FundKind.APBD
    if not apbd.any() or spent <= 0:
        return 0
    positive = prices.fund[apbd & (prices.fund > 0)]
    cost = float(market.cells.cost.mean()) if market.cells.count else 1.0
    score = float(market.cells.score.mean()) if len(market.cells.score) else 1.0
    # Where APBD money is scarce its price is the rate; where it is not, next to nothing.
    low = 1e-3 * score / max(cost, 1.0)
    trials = [float(positive.min())] if len(positive) == apbd.sum() else [low]
    trials += [30 * low, float(positive.mean()) if len(positive) else 300 * low]
    best = 0.0
    for rate in trials:
        # Coverage less rate x APBD rupiah is at most this, whatever the plan.
        money = np.where(apbd, np.maximum(0.0, prices.fund - rate), prices.fund)
        surcharge = np.where(apbd, rate, 0.0)
        relieved = Prices(money, prices.head, prices.district)
        limit = exact_bound(market, relieved, cell_prices(market, relieved, surcharge))
        best = max(best, (floor - limit) / rate)
        if best >= 0.95 * spent:
            break
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
