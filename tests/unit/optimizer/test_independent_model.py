"""140 workers x 12 funds: an independent CP-SAT model, written from the rules alone, agrees."""

from __future__ import annotations

import numpy as np
import pytest
from ortools.sat.python import cp_model

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem
from optimizer.rules import pair_accepted
from optimizer.solve import solve

COVERAGE_ONLY = Policy.from_mapping({"tiers": ["coverage"]})


def coverage_by_class_model(problem: AllocationProblem, seconds: float) -> tuple[float, float]:
    """Value and bound of a model with one integer per kind of worker and fund, scores as steps."""
    workers, funds = problem.workers, problem.funds
    kinds: dict[tuple[int, int, bytes], list[int]] = {}
    rows = pair_accepted(problem, np.arange(len(workers))[:, None], np.arange(len(funds))[None, :])
    district = problem.district_of_village[workers.village]
    for worker in range(len(workers)):
        kind = (int(district[worker]), int(workers.cost_class[worker]), rows[worker].tobytes())
        kinds.setdefault(kind, []).append(worker)
    model = cp_model.CpModel()
    paid: list[list[tuple[cp_model.IntVar, int, int]]] = [[] for _ in range(len(funds))]
    value = []
    for (place, cost_class, _), members in kinds.items():
        flows = []
        for fund in np.flatnonzero(rows[members[0]]).tolist():
            flow = model.new_int_var(0, len(members), "")
            cost = int(problem.cost_rupiah[cost_class, funds.cost_class[fund]])
            paid[fund].append((flow, cost, place))
            flows.append(flow)
        steps = [model.new_bool_var("") for _ in members]
        model.add(sum(flows) == sum(steps))
        value += [int(workers.priority[one]) * step for one, step in zip(members, steps, strict=True)]
    for fund, terms in enumerate(paid):
        model.add(sum(flow * cost for flow, cost, _ in terms) <= int(funds.amount_rupiah[fund]))
        heads = sum(flow for flow, _, _ in terms)
        if funds.head_count_cap[fund] != NONE:
            model.add(heads <= int(funds.head_count_cap[fund]))
        if funds.district_cap[fund] != NONE:
            for place in {place for _, _, place in terms}:
                there = sum(flow for flow, _, at in terms if at == place)
                model.add(there <= int(funds.district_cap[fund]))
        if funds.min_workers[fund] != NONE and terms:
            used = model.new_bool_var("")
            model.add(heads >= int(funds.min_workers[fund])).only_enforce_if(used)
            model.add(heads == 0).only_enforce_if(~used)
    model.maximize(sum(value))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 8
    solver.solve(model)
    return solver.objective_value, solver.best_objective_bound


def check(seed: int, shape: str, seconds: float) -> None:
    problem = make_instance(140, 12, seed, SHAPES[shape])
    result = solve(problem, COVERAGE_ONLY, time_limit_seconds=seconds)
    coverage = result.tiers[0]
    value, bound = coverage_by_class_model(problem, seconds)
    assert coverage.value <= bound + 1e-6, "our plan beats what the other model calls possible"
    assert value <= coverage.bound + 1e-6, "the other plan beats what we call possible"
    assert coverage.gap <= 0.002
    if coverage.proven:
        assert value <= coverage.value


@pytest.mark.parametrize(("seed", "shape"), [(0, "capped"), (1, "capped"), (2, "capped")])
def test_capped_problems_agree_with_an_independent_model(seed: int, shape: str) -> None:
    check(seed, shape, 15.0)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", range(10))
def test_skewed_problems_agree_with_an_independent_model(seed: int) -> None:
    check(seed, "skewed", 60.0)
