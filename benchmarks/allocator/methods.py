"""The ways of matching that the benchmark compares. Each returns a plan, a bound, and phase seconds.

Only one method runs per process: HiGHS's own package and OR-Tools cannot share
one, and peak memory is measured per process.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizer.cells import build_cells
from optimizer.limits import expand, find_limits
from optimizer.policy import DEFAULT_POLICY
from optimizer.problem import NONE, AllocationProblem, Int32
from optimizer.rules import pair_accepted, pair_cost_rupiah
from optimizer.tiers import worker_scores


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a method found: plan (N) or ``None``, score, proven bound or ``None``, seconds by phase."""

    score: float | None
    bound: float | None
    seconds: dict[str, float]
    plan: Int32 | None = None


def run_gotong(problem: AllocationProblem, limit_seconds: float) -> Outcome:
    """The allocator, all tiers of the default policy, verified."""
    from optimizer.solve import solve

    result = solve(problem, DEFAULT_POLICY, time_limit_seconds=limit_seconds)
    coverage = result.tiers[0]
    return Outcome(coverage.value, coverage.bound, dict(result.seconds), result.fund_of_worker)


def run_greedy(problem: AllocationProblem, limit_seconds: float) -> Outcome:
    """Highest priority first; the first accepting fund with room, company pledges before APBD.

    What most offices do by hand. Minimums are kept by closing short funds and starting over.
    """
    begin = time.perf_counter()
    workers, funds = problem.workers, problem.funds
    cells = build_cells(problem, worker_scores(problem, DEFAULT_POLICY))
    order = np.argsort(-workers.priority, kind="stable")
    district = problem.district_of_village[workers.village]
    by_kind = np.lexsort((funds.expiry_rank, funds.kind))
    rank = np.empty(len(funds), dtype=np.int64)
    rank[by_kind] = np.arange(len(funds))
    listed = [
        sorted(cells.arc_fund[a:b].tolist(), key=lambda fund: int(rank[fund]))
        for a, b in zip(cells.arc_start[:-1], cells.arc_start[1:], strict=True)
    ]
    group = cells.group[cells.cell_of_worker].tolist()
    cost = problem.cost_rupiah.tolist()
    worker_class, fund_class = workers.cost_class.tolist(), funds.cost_class.tolist()
    used = funds.heads_used.sum(axis=1)
    closed = np.zeros(len(funds), dtype=np.bool_)
    district_list = district.tolist()
    while True:
        plan = np.full(len(workers), NONE, dtype=np.int32)
        money = np.where(closed, 0, funds.amount_rupiah).tolist()
        heads = np.where(funds.head_count_cap == NONE, len(workers), funds.head_count_cap - used).tolist()
        room = np.where(
            funds.district_cap[:, None] == NONE, len(workers), funds.district_cap[:, None] - funds.heads_used
        ).tolist()
        for worker in order.tolist():
            for fund in listed[group[worker]]:
                price = cost[worker_class[worker]][fund_class[fund]]
                if money[fund] >= price and heads[fund] > 0 and room[fund][district_list[worker]] > 0:
                    plan[worker] = fund
                    money[fund] -= price
                    heads[fund] -= 1
                    room[fund][district_list[worker]] -= 1
                    break
            if time.perf_counter() - begin > limit_seconds:
                return Outcome(None, None, {"fill": time.perf_counter() - begin})
        taken = np.bincount(plan[plan >= 0], minlength=len(funds))
        short = (taken > 0) & (taken + used < funds.min_workers)
        if not short.any():
            break
        closed |= short
    score = float(workers.priority[plan >= 0].sum())
    return Outcome(score, None, {"fill": time.perf_counter() - begin}, plan)


def run_worker_model(problem: AllocationProblem, limit_seconds: float) -> Outcome:
    """One boolean per worker and accepting fund, CP-SAT: the textbook model."""
    from ortools.sat.python import cp_model

    begin = time.perf_counter()
    workers, funds = len(problem.workers), len(problem.funds)
    pairs_worker, pairs_fund = [], []
    every = np.arange(funds)
    for start in range(0, workers, 50_000):
        rows = np.arange(start, min(workers, start + 50_000))
        at, fund = np.nonzero(pair_accepted(problem, rows[:, None], every[None, :]))
        pairs_worker.append(rows[at])
        pairs_fund.append(fund)
    worker, fund = np.concatenate(pairs_worker), np.concatenate(pairs_fund)
    if len(worker) > 12_000_000:
        return Outcome(None, None, {"build": time.perf_counter() - begin})
    model = cp_model.CpModel()
    pays = np.array([model.new_bool_var("") for _ in range(len(worker))], dtype=object)
    ends = np.searchsorted(worker, np.arange(workers + 1))
    for one in range(workers):
        if ends[one + 1] > ends[one]:
            model.add_at_most_one(pays[ends[one] : ends[one + 1]].tolist())
    cost = pair_cost_rupiah(problem, worker, fund)
    _add_fund_rules(
        model, problem, pays, fund, cost, problem.district_of_village[problem.workers.village[worker]]
    )
    score = problem.workers.priority[worker]
    model.maximize(cp_model.LinearExpr.weighted_sum(pays.tolist(), score.tolist()))
    return _solve_model(model, begin, limit_seconds)


def run_class_model(problem: AllocationProblem, limit_seconds: float) -> Outcome:
    """One integer per cell and fund with priorities as steps, CP-SAT."""
    from ortools.sat.python import cp_model

    begin = time.perf_counter()
    cells = build_cells(problem, worker_scores(problem, DEFAULT_POLICY))
    owner, arc = expand(cells.arc_start[cells.group], cells.degree[cells.group])
    fund = cells.arc_fund[arc]
    if len(fund) > 3_000_000:
        return Outcome(None, None, {"build": time.perf_counter() - begin})
    size = cells.size
    model = cp_model.CpModel()
    flow = np.array([model.new_int_var(0, int(size[cell]), "") for cell in owner], dtype=object)
    step_cell, step_score, step_count = _steps(cells)
    taken = [model.new_int_var(0, int(count), "") for count in step_count]
    ends, step_ends = (
        np.searchsorted(owner, np.arange(cells.count + 1)),
        np.searchsorted(step_cell, np.arange(cells.count + 1)),
    )
    for cell in range(cells.count):
        model.add(
            sum(flow[ends[cell] : ends[cell + 1]].tolist())
            == sum(taken[step_ends[cell] : step_ends[cell + 1]])
        )
    cost = cells.cost[owner, problem.funds.cost_class[fund]]
    _add_fund_rules(model, problem, flow, fund, cost, cells.district[owner])
    model.maximize(cp_model.LinearExpr.weighted_sum(taken, step_score.tolist()))
    return _solve_model(model, begin, limit_seconds)


def run_class_relaxation(problem: AllocationProblem, limit_seconds: float) -> Outcome:
    """The class model's LP relaxation with HiGHS: a bound, no plan."""
    import highspy
    from scipy import sparse

    begin = time.perf_counter()
    cells = build_cells(problem, worker_scores(problem, DEFAULT_POLICY))
    limits = find_limits(problem, cells)
    owner, arc = expand(cells.arc_start[cells.group], cells.degree[cells.group])
    fund = cells.arc_fund[arc]
    usable = limits.usable[fund]
    owner, fund = owner[usable], fund[usable]
    if len(fund) > 30_000_000:
        return Outcome(None, None, {"build": time.perf_counter() - begin})
    step_cell, step_score, step_count = _steps(cells)
    arcs, steps, funds = len(fund), len(step_cell), len(problem.funds)
    slot = cells.count + 2 * funds + fund.astype(np.int64) * problem.districts + cells.district[owner]
    column = np.arange(arcs)
    entries = [
        (owner, column, np.ones(arcs)),
        (step_cell, arcs + np.arange(steps), -np.ones(steps)),
        (cells.count + fund, column, cells.cost[owner, problem.funds.cost_class[fund]] / 10_000.0),
        (cells.count + funds + fund, column, np.ones(arcs)),
        (slot, column, np.ones(arcs)),
    ]
    row, col, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    upper = np.concatenate(
        [
            np.zeros(cells.count),
            limits.amount_rupiah / 10_000.0,
            np.minimum(limits.head_room, 1e9),
            np.minimum(limits.district_room, 1e9).reshape(-1),
        ]
    )
    lower = np.full(len(upper), -np.inf)
    lower[: cells.count] = 0.0
    matrix = sparse.csc_matrix((value, (row, col)), shape=(len(upper), arcs + steps))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = arcs + steps, len(upper)
    lp.col_cost_ = np.concatenate([np.zeros(arcs), step_score.astype(np.float64)])
    lp.col_lower_ = np.zeros(arcs + steps)
    lp.col_upper_ = np.concatenate([np.full(arcs, np.inf), step_count.astype(np.float64)])
    lp.row_lower_, lp.row_upper_ = lower, upper
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    lp.sense_ = highspy.ObjSense.kMaximize
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.silent()
    solver.setOptionValue("time_limit", limit_seconds)
    solver.passModel(lp)
    built = time.perf_counter() - begin
    solver.run()
    seconds = {"build": built, "solve": time.perf_counter() - begin - built}
    done = solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return Outcome(None, float(solver.getObjectiveValue()) if done else None, seconds)


METHODS: dict[str, Callable[[AllocationProblem, float], Outcome]] = {
    "gotong": run_gotong,
    "greedy": run_greedy,
    "worker x fund CP-SAT": run_worker_model,
    "class CP-SAT": run_class_model,
    "class LP HiGHS": run_class_relaxation,
}


def _steps(cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # type: ignore[no-untyped-def]
    """Cell, score and count of every distinct score inside a cell, by cell."""
    key = np.repeat(np.arange(cells.count), cells.size) * 4096 + cells.score
    distinct, count = np.unique(key, return_counts=True)
    return distinct // 4096, distinct % 4096, count


def _add_fund_rules(model, problem, variables, fund, cost, district) -> None:  # type: ignore[no-untyped-def]
    funds = problem.funds
    used = funds.heads_used.sum(axis=1)
    order = np.argsort(fund, kind="stable")
    ends = np.searchsorted(fund[order], np.arange(len(funds) + 1))
    for one in range(len(funds)):
        rows = order[ends[one] : ends[one + 1]]
        if not len(rows):
            continue
        mine = variables[rows].tolist()
        from ortools.sat.python import cp_model

        model.add(
            cp_model.LinearExpr.weighted_sum(mine, cost[rows].tolist()) <= int(funds.amount_rupiah[one])
        )
        if funds.head_count_cap[one] != NONE:
            model.add(sum(mine) <= max(0, int(funds.head_count_cap[one] - used[one])))
        if funds.district_cap[one] != NONE:
            for place in np.unique(district[rows]):
                there = variables[rows[district[rows] == place]].tolist()
                model.add(sum(there) <= max(0, int(funds.district_cap[one] - funds.heads_used[one, place])))
        if funds.min_workers[one] != NONE:
            opened = model.new_bool_var("")
            model.add(sum(mine) >= int(funds.min_workers[one] - used[one])).only_enforce_if(opened)
            model.add(sum(mine) == 0).only_enforce_if(~opened)


def _solve_model(model, begin: float, limit_seconds: float) -> Outcome:  # type: ignore[no-untyped-def]
    from ortools.sat.python import cp_model

    built = time.perf_counter() - begin
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = limit_seconds
    solver.parameters.num_workers = 8
    status = solver.solve(model)
    seconds = {"build": built, "solve": time.perf_counter() - begin - built}
    found = status in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    bound = solver.best_objective_bound if status != cp_model.UNKNOWN or found else None
    return Outcome(solver.objective_value if found else None, bound, seconds)
