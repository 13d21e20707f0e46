"""Branch and bound on coverage: what trying all plans finds, from the worst start and from any prices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.cells import build_cells
from optimizer.descent import PriceSearch, find_prices
from optimizer.limits import find_limits
from optimizer.market import build_market, zero_prices
from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem
from optimizer.progress import Clock
from optimizer.prove_coverage import CoverageProof, prove_coverage
from tests.unit.optimizer.allocation_cases import MOST_PLANS, best_by_trying, count_plans, draw_problem

COVERAGE = Policy.from_mapping({"tiers": ["coverage"]})


def prove(problem: AllocationProblem, good_prices: bool, most_loss: float = np.inf) -> CoverageProof:
    """From nobody funded."""
    scores = problem.workers.priority.astype(np.int64)
    cells = build_cells(problem, scores)
    limits = find_limits(problem, cells)
    market = build_market(problem, cells, limits, limits.usable)
    clock = Clock(60.0)
    search = PriceSearch(market, clock)
    search.offer(zero_prices(problem))
    if good_prices:
        search = find_prices(market, clock, 0, None, 10.0)
    nobody = np.full(len(scores), NONE, dtype=np.int32)
    return prove_coverage(
        problem, scores, limits.usable, search.prices, search.bound, nobody, clock, 30.0, 0, most_loss
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), shape=st.sampled_from([(6, 3), (9, 3), (12, 3)]), good=st.booleans())
def test_branch_and_bound_finds_and_proves_the_best_coverage(
    seed: int, shape: tuple[int, int], good: bool
) -> None:
    workers, funds = shape
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, workers, funds)
    while count_plans(problem) > MOST_PLANS:
        workers -= 1
        problem = draw_problem(rng, workers, funds)
    proof = prove(problem, good)
    assert (proof.value, proof.bound) == pytest.approx((best_by_trying(problem, COVERAGE)[0],) * 2)


@pytest.mark.parametrize("seed", range(4))
def test_left_out_pairs_never_lower_the_bound(seed: int) -> None:
    """With only the best pairs let in, what is found is a plan, and what is proven is still true."""
    problem = draw_problem(np.random.default_rng(seed), 9, 3)
    best = best_by_trying(problem, COVERAGE)[0]
    proof = prove(problem, good_prices=True, most_loss=0.0)
    assert proof.value <= best <= proof.bound
