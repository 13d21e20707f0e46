"""Tiny problems: the solver's every tier equals what trying all plans finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from optimizer.policy import Policy, Tier
from optimizer.result import Status
from optimizer.solve import solve
from tests.unit.optimizer.allocation_cases import MOST_PLANS, best_by_trying, count_plans, draw_problem

SHAPES = st.sampled_from([(1, 1), (3, 2), (5, 3), (6, 4), (8, 2), (9, 3), (12, 2), (12, 4)])
POLICIES = st.sampled_from(
    [
        Policy.from_mapping({}),
        Policy.from_mapping({"coverage_counts": "worker_months"}),
        Policy.from_mapping({"tiers": ["coverage", "apbd_saving", "stability"]}),
        Policy(
            (Tier("coverage", 0.1), Tier("equity", 0.2, 2.0), Tier("stability", 0.3), Tier("apbd_saving"))
        ),
    ]
)


def check_against_all_plans(seed: int, shape: tuple[int, int], policy: Policy) -> None:
    rng = np.random.default_rng(seed)
    workers, funds = shape
    problem = draw_problem(rng, workers, funds)
    while count_plans(problem) > MOST_PLANS:
        workers -= 1
        problem = draw_problem(rng, workers, funds)
    best = best_by_trying(problem, policy)
    result = solve(problem, policy, time_limit_seconds=30)
    assert [tier.bound for tier in result.tiers] == pytest.approx(best)
    last = len(policy.tiers) - 1
    for number, tier in enumerate(result.tiers):
        assert abs(tier.value - tier.bound) <= abs(best[number]) * policy.allowance(number, last) + 1e-9
    assert result.status is Status.OPTIMAL


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), shape=SHAPES, policy=POLICIES)
def test_tiny_problems_equal_brute_force(seed: int, shape: tuple[int, int], policy: Policy) -> None:
    check_against_all_plans(seed, shape, policy)


@pytest.mark.long
@settings(max_examples=4000, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), shape=SHAPES, policy=POLICIES)
def test_thousands_of_tiny_problems_equal_brute_force(
    seed: int, shape: tuple[int, int], policy: Policy
) -> None:
    check_against_all_plans(seed, shape, policy)
