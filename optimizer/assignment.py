"""From counts per arc to named workers.

Workers of one cell are alike to every fund, so who of the funded goes to
which fund costs nothing: proposals that stand are kept first (stability),
the rest is dealt out village by village (cohesion).
"""

from __future__ import annotations

import numpy as np

from optimizer.limits import expand
from optimizer.plan import Plan
from optimizer.problem import NONE, AllocationProblem, Int32, Int64


def assign_workers(problem: AllocationProblem, plan: Plan) -> Int32:
    """The fund of every worker (N) that the plan's counts say."""
    cells, arcs = plan.cells, plan.arcs
    result = np.full(len(problem.workers), NONE, dtype=np.int32)
    cell, place = expand(cells.start[:-1], plan.funded)
    worker = cells.order[place]
    used = np.flatnonzero(plan.flow > 0)
    flow = plan.flow[used].copy()
    funds = max(1, len(problem.funds))
    arc_key = arcs.cell[used].astype(np.int64) * funds + arcs.fund[used]
    by_key = np.argsort(arc_key, kind="stable")
    used, flow, arc_key = used[by_key], flow[by_key], arc_key[by_key]
    current = problem.workers.current_fund[worker]
    free = np.ones(len(worker), dtype=np.bool_)
    held = np.flatnonzero(current != NONE)
    if len(held) and len(used):
        key = cell[held].astype(np.int64) * funds + current[held]
        at = np.minimum(np.searchsorted(arc_key, key), len(arc_key) - 1)
        exists = arc_key[at] == key
        held, at = held[exists], at[exists]
        by_arc = np.argsort(at, kind="stable")
        held, at = held[by_arc], at[by_arc]
        rank = _rank_in_runs(at)
        keep = rank < flow[at]
        result[worker[held[keep]]] = arcs.fund[used[at[keep]]]
        flow -= np.bincount(at[keep], minlength=len(flow))
        free[held[keep]] = False
    rest = np.flatnonzero(free)
    village = problem.workers.village[worker[rest]]
    rest = rest[np.lexsort((village, cell[rest]))]
    owner, _ = expand(np.zeros(len(flow), dtype=np.int64), flow)
    result[worker[rest]] = arcs.fund[used[owner]]
    return result


def _rank_in_runs(values: Int64) -> Int64:
    first = np.flatnonzero(np.diff(values, prepend=-1))
    return np.arange(len(values)) - np.repeat(first, np.diff(np.append(first, len(values))))
