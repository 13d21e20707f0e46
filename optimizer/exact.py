"""Small problems solved to the proof, tier by tier, with CP-SAT.

One boolean per worker and accepting fund. Each tier is solved to optimality
under floors that the earlier tiers' values and tolerances set, so a result
that ends here with every tier proven is optimal in the policy's exact sense.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ortools.sat.python import cp_model

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, FundKind, Int32, Int64
from optimizer.progress import Clock, stopped_on_cancel
from optimizer.rules import pair_accepted, pair_cost_rupiah
from optimizer.tiers import covered_by_district, worker_scores


@dataclass(frozen=True, slots=True)
class ExactTier:
    """What one tier reached: in the tier's own unit, with the proven bound."""

    name: str
    value: float
    bound: float
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class ExactOutcome:
    """The plan (N), and the tiers solved so far in policy order."""

    fund_of_worker: Int32
    tiers: tuple[ExactTier, ...]


class _Model:
    """The worker x fund model and one linear expression per tier."""

    def __init__(self, problem: AllocationProblem, policy: Policy) -> None:
        self.problem = problem
        workers, funds = len(problem.workers), len(problem.funds)
        every_fund = np.arange(funds)
        accepted = pair_accepted(problem, np.arange(workers)[:, None], every_fund[None, :])
        self.worker, self.fund = np.nonzero(accepted)
        self.cost = pair_cost_rupiah(problem, self.worker, self.fund)
        self.district = problem.district_of_village[problem.workers.village[self.worker]]
        self.model = cp_model.CpModel()
        self.pays = [
            self.model.new_bool_var(f"w{w}f{f}") for w, f in zip(self.worker, self.fund, strict=True)
        ]
        self._require_rules()
        self.scores = worker_scores(problem, policy)

    def _sum(self, rows: Int64, factor: Int64 | None = None) -> cp_model.LinearExprT:
        if factor is None:
            return cp_model.LinearExpr.sum([self.pays[row] for row in rows])
        return cp_model.LinearExpr.weighted_sum([self.pays[row] for row in rows], [int(k) for k in factor])

    def _require_rules(self) -> None:
        funds, model = self.problem.funds, self.model
        for worker in np.unique(self.worker):
            model.add_at_most_one(self.pays[row] for row in np.flatnonzero(self.worker == worker))
        used = funds.heads_used.sum(axis=1)
        for fund in range(len(funds)):
            rows = np.flatnonzero(self.fund == fund)
            if not len(rows):
                continue
            unit = int(np.gcd.reduce(self.cost[rows]))
            model.add(self._sum(rows, self.cost[rows] // unit) <= int(funds.amount_rupiah[fund]) // unit)
            if funds.head_count_cap[fund] != NONE:
                model.add(self._sum(rows) <= max(0, int(funds.head_count_cap[fund] - used[fund])))
            if funds.district_cap[fund] != NONE:
                for district in np.unique(self.district[rows]):
                    room = int(funds.district_cap[fund] - funds.heads_used[fund, district])
                    model.add(self._sum(rows[self.district[rows] == district]) <= max(0, room))
            least = int(funds.min_workers[fund] - used[fund])
            if funds.min_workers[fund] != NONE and least > 1:
                opened = model.new_bool_var(f"open{fund}")
                model.add(self._sum(rows) >= least).only_enforce_if(opened)
                for row in rows:
                    model.add_implication(self.pays[row], opened)

    def tier(self, name: str) -> tuple[cp_model.LinearExprT, float]:
        """A tier as an integer expression to be maximised, and what one unit of it is worth."""
        problem, model = self.problem, self.model
        every = np.arange(len(self.worker))
        if name == "coverage":
            return self._sum(every, self.scores[self.worker]), 1.0
        if name == "apbd_saving":
            rows = np.flatnonzero(problem.funds.kind[self.fund] == FundKind.APBD)
            return self._sum(rows, -self.cost[rows]), -1.0
        if name == "stability":
            kept = np.flatnonzero(problem.workers.current_fund[self.worker] == self.fund)
            moved = int((problem.workers.current_fund != NONE).sum())
            return self._sum(kept) - moved, -1.0
        if name == "cohesion":
            key = problem.workers.village[self.worker].astype(np.int64) * len(problem.funds) + self.fund
            pairs = []
            for pair in np.unique(key):
                used = model.new_bool_var(f"pair{pair}")
                for row in np.flatnonzero(key == pair):
                    model.add_implication(self.pays[row], used)
                pairs.append(used)
            return -cp_model.LinearExpr.sum(pairs), -1.0
        district = problem.district_of_village[problem.workers.village]
        needs = np.bincount(district, minlength=problem.districts)
        present = np.flatnonzero(needs)
        if not len(present):
            return cp_model.LinearExpr.sum([]), 1.0
        covered = covered_by_district(problem)
        people = needs + covered
        common = math.lcm(*(int(count) for count in people[present]))
        if common > 1 << 40:
            raise OverflowError("district sizes have no small common multiple")
        share = model.new_int_var(0, common, "share")
        for one in present:
            funded = self._sum(np.flatnonzero(self.district == one))
            model.add((funded + int(covered[one])) * (common // int(people[one])) >= share)
        return share, 1.0 / common

    def hint(self, plan: Int32) -> None:
        """Start the search from a known plan."""
        self.model.clear_hints()  # type: ignore[no-untyped-call]
        for row, variable in enumerate(self.pays):
            self.model.add_hint(variable, bool(plan[self.worker[row]] == self.fund[row]))

    def plan_of(self, solver: cp_model.CpSolver) -> Int32:
        plan = np.full(len(self.problem.workers), NONE, dtype=np.int32)
        chosen = np.array([solver.boolean_value(variable) for variable in self.pays], dtype=np.bool_)
        plan[self.worker[chosen]] = self.fund[chosen]
        return plan


def solve_exactly(
    problem: AllocationProblem, policy: Policy, start: Int32, coverage_bound: float, clock: Clock, seed: int
) -> ExactOutcome | None:
    """Lexicographic optimum from a feasible ``start``; ``None`` when it cannot be modelled.

    Stops early, with the tiers proven so far, when time runs out.
    """
    built = _Model(problem, policy)
    if not built.pays:
        return None
    plan, done = start, []
    floors: list[tuple[cp_model.LinearExprT, int, str]] = []
    for number, tier in enumerate(policy.tiers):
        begin = clock.seconds
        try:
            expression, unit = built.tier(tier.name)
        except OverflowError:
            break
        if tier.name == "coverage":
            built.model.add(expression <= int(coverage_bound))
        built.model.maximize(expression)
        built.hint(plan)
        solver = _solver(clock, seed)
        with stopped_on_cancel(solver.stop_search, clock):
            status = solver.solve(built.model)
        if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
            break
        plan = built.plan_of(solver)
        value, bound = round(solver.objective_value), math.floor(solver.best_objective_bound + 1e-6)
        if tier.name == "coverage":
            bound = min(bound, int(coverage_bound))
        done.append(ExactTier(tier.name, value * unit, bound * unit, clock.seconds - begin))
        floors.append((expression, value, tier.name))
        if value < bound or clock.stopped:
            break
        if number + 1 < len(policy.tiers):
            for earlier, (floor_expression, reached, _) in enumerate(floors):
                # Integer floors: give up at most the allowance, rounded in the earlier tier's favour.
                allowed = math.floor(abs(reached) * policy.allowance(earlier, number + 1) + 1e-9)
                built.model.add(floor_expression >= reached - allowed)
    return ExactOutcome(plan, tuple(done))


def _solver(clock: Clock, seed: int) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = max(0.01, clock.left_seconds)
    solver.parameters.num_workers = 8
    solver.parameters.random_seed = seed
    return solver
