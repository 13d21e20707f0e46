"""Start from the plan that stands: the warm path.

Proposals that the rules still allow stay where they are; only cells with
somebody left to place look for funds. What that costs in score is measured
against the same proven bound as any plan, so a warm plan that is not near
enough is noticed and solved anew.
"""

from __future__ import annotations

import numpy as np

from optimizer.descent import PriceSearch
from optimizer.market import Market
from optimizer.plan import Plan, accept_requests, make_arcs, open_arcs
from optimizer.prices import gather_options
from optimizer.problem import NONE, AllocationProblem, Int64
from optimizer.rounding import wanted_workers
from optimizer.rules import pair_accepted

#: With so few arcs every cell may look around, not only those with somebody to place.
_FEW_ARCS = 600_000


def resume_plan(problem: AllocationProblem, market: Market, search: PriceSearch, margin: float) -> Plan:
    """A plan that holds every standing proposal it can, with arcs for whoever is still to be placed.

    ``margin`` in score units says how much dearer than the cheapest a fund may
    be to be looked at.
    """
    cells, funds = market.cells, max(1, len(problem.funds))
    held = np.flatnonzero(problem.workers.current_fund != NONE)
    fund = problem.workers.current_fund[held]
    stands = market.limits.usable[fund] & pair_accepted(problem, held, fund)
    held, fund = held[stands], fund[stands]
    key, count = _count_keys(cells.cell_of_worker[held].astype(np.int64) * funds + fund)
    funded = np.bincount(cells.cell_of_worker[held], minlength=cells.count)
    few = int(cells.degree[cells.group].sum()) <= _FEW_ARCS
    seeking = np.arange(cells.count) if few else np.flatnonzero(wanted_workers(cells, search.asked) > funded)
    options = gather_options(market, seeking, search.prices, margin)
    near = open_arcs(market, options, search.prices)
    every, _ = _count_keys(np.concatenate([key, near.cell.astype(np.int64) * funds + near.fund]))
    arcs = make_arcs(market, every // funds, every % funds, search.prices)
    plan = Plan(cells, market.limits, market.room, arcs, market.limits.usable)
    plan.add(np.atleast_1d(np.searchsorted(every, key)), count)
    _drop_what_no_longer_fits(plan)
    return plan


def _count_keys(key: Int64) -> tuple[Int64, Int64]:
    """Distinct keys, ascending, and how often each occurs; sorting beats hashing here by far."""
    ordered = np.sort(key)
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[first], np.diff(np.append(first, len(ordered)))


def _drop_what_no_longer_fits(plan: Plan) -> None:
    """Empty funds whose money or caps were cut below what they hold, and refill them as far as it goes."""
    over = (plan.money < 0) | (plan.heads < 0)
    crowded = np.flatnonzero(plan.room < 0)
    arcs = plan.arcs
    rows = np.flatnonzero((plan.flow > 0) & (over[arcs.fund] | np.isin(arcs.slot, crowded)))
    if not len(rows):
        return
    flow = plan.flow[rows]
    plan.add(rows, -flow)
    request = np.repeat(rows, flow)
    taken = accept_requests(plan, request, -(plan.next_score()[arcs.cell[request]] - arcs.price[request]))
    plan.add(request[taken], 1)
