"""Branch and bound on the coverage tier alone: small problems to the proof, larger ones nearer to it.

The prices say what every choice loses against the bound D (docs/MODEL.md, section 7): a plan that beats
the one at hand by a point can only hold pairs that lose less than what lies between. Workers that are
alike but for being cheaper, choosier or less urgent go in order, so the search meets each plan once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ortools.linear_solver import pywraplp

from optimizer.problem import NONE, AllocationProblem, Bool, Int32, Int64
from optimizer.progress import Clock, stopped_on_cancel
from optimizer.result import Prices
from optimizer.rules import pair_accepted, pair_cost_rupiah
from optimizer.verify import find_violations

#: The solver's bound is a floating sum; coverage is an integer, so this much is far more than its error.
_SLACK = 0.01

#: Comparisons of workers (pairs x funds) done at once, to bound memory.
_CHUNK = 8_000_000


@dataclass(frozen=True, slots=True, eq=False)
class CoverageProof:
    """A plan (N), its coverage, and what no plan can exceed."""

    fund_of_worker: Int32
    value: int
    bound: int


def prove_coverage(
    problem: AllocationProblem,
    scores: Int64,
    usable: Bool,
    prices: Prices,
    price_bound: float,
    start: Int32,
    clock: Clock,
    seconds: float,
    seed: int,
    most_loss: float = math.inf,
) -> CoverageProof:
    """The best coverage found within ``seconds`` from the feasible plan ``start`` (N), never less than its.

    ``usable`` (F) leaves out funds that no plan can use. ``price_bound`` is what ``prices`` prove.
    With ``most_loss`` only pairs that lose no more score than this take part: faster, but then the
    bound stays at ``price_bound``.
    """
    reached = int(scores[start != NONE].sum())
    ceiling = min(math.floor(price_bound * (1 + 1e-12) + 1e-6), int(scores.sum()))
    known = CoverageProof(start, reached, ceiling)
    if reached >= ceiling or seconds <= 0:
        return known
    accepted = (
        pair_accepted(problem, np.arange(len(scores))[:, None], np.arange(len(usable))[None, :]) & usable
    )
    worker, fund = np.nonzero(accepted)
    lost, unfunded_lost = _losses(problem, scores, prices, worker, fund)
    # What may lie between: a plan one better than ours loses no more than this, all its choices together.
    between = price_bound * (1 + 1e-12) - (reached + 1) + 1e-6
    limit = min(between, most_loss)
    held = start[worker] == fund
    kept = (lost <= limit) | ((most_loss < between) & held)
    search = _Search(problem, scores, accepted, worker[kept], fund[kept])
    search.require(np.flatnonzero(unfunded_lost > between))
    plan, bound = search.run(start, clock, seconds, seed)
    proof = known.bound if most_loss < between else max(reached, min(bound, known.bound))
    if plan is None:
        return CoverageProof(start, reached, proof)
    value = int(scores[plan != NONE].sum())
    amount = np.zeros(len(plan), dtype=np.int64)
    funded = np.flatnonzero(plan != NONE)
    amount[funded] = pair_cost_rupiah(problem, funded, plan[funded])
    # The solver works to a tolerance; the rules do not.
    if value <= reached or find_violations(problem, plan, amount):
        return CoverageProof(start, reached, proof)
    return CoverageProof(plan, value, max(value, proof))


def _losses(
    problem: AllocationProblem, scores: Int64, prices: Prices, worker: Int64, fund: Int64
) -> tuple[np.ndarray, np.ndarray]:
    """Per pair what it loses against the bound, and per worker (N) what going unfunded loses."""
    district = problem.district_of_village[problem.workers.village[worker]]
    asked = (
        pair_cost_rupiah(problem, worker, fund) * prices.fund[fund]
        + prices.head[fund]
        + prices.district[fund, district]
    )
    cheapest = np.full(len(scores), np.inf)
    np.minimum.at(cheapest, worker, asked)
    surplus = np.maximum(0.0, scores - cheapest)
    return surplus[worker] - (scores[worker] - asked), surplus


class _Search:
    """The model: a worker's cover is paid by one of its funds or by none."""

    def __init__(
        self, problem: AllocationProblem, scores: Int64, accepted: Bool, worker: Int64, fund: Int64
    ) -> None:
        self.problem, self.scores, self.worker, self.fund = problem, scores, worker, fund
        self.solver = pywraplp.Solver.CreateSolver("SCIP")
        self.pays = [self.solver.BoolVar("") for _ in worker]
        self.funded = {int(one): self.solver.BoolVar("") for one in np.unique(worker)}
        ends = np.searchsorted(worker, np.arange(len(scores) + 1))
        goal = self.solver.Objective()
        goal.SetMaximization()
        for one, funded in self.funded.items():
            row = self._row(0, 0, self.pays[ends[one] : ends[one + 1]])
            row.SetCoefficient(funded, -1)
            goal.SetCoefficient(funded, int(scores[one]))
        self._require_rules()
        self._require_order(accepted)
        self.impossible = False

    def require(self, workers: Int64) -> None:
        """These are funded in every better plan."""
        for one in workers.tolist():
            if one in self.funded:
                self.funded[one].SetLb(1)
            else:
                self.impossible = True

    def _row(
        self, low: float, high: float, variables: list[pywraplp.Variable], factors: list[int] | None = None
    ) -> pywraplp.Constraint:
        row = self.solver.Constraint(low, high)
        for variable, factor in zip(variables, factors or [1] * len(variables), strict=True):
            row.SetCoefficient(variable, factor)
        return row

    def _require_rules(self) -> None:
        problem, funds = self.problem, self.problem.funds
        cost = pair_cost_rupiah(problem, self.worker, self.fund)
        district = problem.district_of_village[problem.workers.village[self.worker]]
        used = funds.heads_used.sum(axis=1)
        for fund in np.unique(self.fund).tolist():
            rows = np.flatnonzero(self.fund == fund)
            mine = [self.pays[row] for row in rows]
            unit = int(np.gcd.reduce(cost[rows]))
            self._row(0, int(funds.amount_rupiah[fund]) // unit, mine, (cost[rows] // unit).tolist())
            if funds.head_count_cap[fund] != NONE:
                self._row(0, max(0, int(funds.head_count_cap[fund] - used[fund])), mine)
            if funds.district_cap[fund] != NONE:
                for place in np.unique(district[rows]).tolist():
                    there = [self.pays[row] for row in rows[district[rows] == place]]
                    self._row(0, max(0, int(funds.district_cap[fund] - funds.heads_used[fund, place])), there)
            least = int(funds.min_workers[fund] - used[fund])
            if funds.min_workers[fund] != NONE and least > 1:
                opened = self.solver.BoolVar("")
                self._row(0, len(mine), mine).SetCoefficient(opened, -least)
                for pays in mine:
                    self._row(-1, 0, [pays, opened], [1, -1])

    def _require_order(self, accepted: Bool) -> None:
        """Who scores as much, costs no more and is taken by the same funds at least, goes first.

        In a plan where the other is funded and this one is not, the two change places: no score is
        lost, no limit broken. With a district cap among the funds both must live in one district.
        """
        problem = self.problem
        present = np.array(sorted(self.funded), dtype=np.int64)
        kinds = accepted[present]
        cost = problem.cost_rupiah[problem.workers.cost_class[present]][:, problem.funds.cost_class]
        score = self.scores[present]
        district = problem.district_of_village[problem.workers.village[present]]
        tied = kinds & (problem.funds.district_cap != NONE)
        count = len(present)
        first = np.zeros((count, count), dtype=np.bool_)
        for begin in range(0, count, max(1, _CHUNK // max(1, kinds.size))):
            rows = slice(begin, begin + max(1, _CHUNK // max(1, kinds.size)))
            mine, price = kinds[rows, None, :], cost[rows, None, :]
            worse = kinds & (~mine | (price > cost))
            may = ~worse.any(axis=2) & (score[rows, None] >= score)
            may &= (district[rows, None] == district) | ~tied.any(axis=1)
            # One is first: by score, by funds, by cost, and among equals by number.
            equal = (score[rows, None] == score) & (mine == kinds).all(axis=2)
            equal &= (~kinds | (price == cost)).all(axis=2)
            first[rows] = may & (~equal | (np.arange(count)[rows, None] < np.arange(count)))
        np.fill_diagonal(first, False)
        steps = first.astype(np.float32)
        needed = first & ~((steps @ steps) > 0)
        variables = [self.funded[int(one)] for one in present]
        for earlier, later in zip(*np.nonzero(needed), strict=True):
            self._row(-1, 0, [variables[later], variables[earlier]], [1, -1])

    def run(self, start: Int32, clock: Clock, seconds: float, seed: int) -> tuple[Int32 | None, int]:
        """A plan or ``None``, and the bound."""
        nothing_better = int(self.scores[start != NONE].sum())
        if self.impossible or not len(self.worker):
            return None, nothing_better
        chosen = start[self.worker] == self.fund
        solver = self.solver
        solver.SetHint(
            [*self.pays, *self.funded.values()],
            [*chosen.astype(float).tolist(), *(float(start[one] != NONE) for one in self.funded)],
        )
        solver.SetTimeLimit(max(10, int(1000 * seconds)))
        solver.SetSolverSpecificParametersAsString(f"randomization/randomseedshift = {seed % (1 << 30)}")
        with stopped_on_cancel(solver.InterruptSolve, clock):
            status = solver.Solve()
        if status == pywraplp.Solver.INFEASIBLE:
            return None, nothing_better
        if status not in (pywraplp.Solver.OPTIMAL, pywraplp.Solver.FEASIBLE):
            return None, int(self.scores.sum())
        bound = solver.Objective().BestBound()
        values = np.array([pays.solution_value() for pays in self.pays]) > 0.5
        plan = np.full(len(self.scores), NONE, dtype=np.int32)
        plan[self.worker[values]] = self.fund[values]
        return plan, math.floor(bound + _SLACK)
