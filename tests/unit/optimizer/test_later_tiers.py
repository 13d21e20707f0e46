"""Bounds of the later tiers: never beyond what trying all plans finds; who is covered already counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from optimizer.cells import build_cells
from optimizer.descent import PriceSearch, find_prices
from optimizer.later_tiers import apbd_bound, equity_bound
from optimizer.limits import find_limits
from optimizer.market import Market, build_market
from optimizer.policy import DEFAULT_POLICY, Policy
from optimizer.problem import AllocationProblem, FundKind
from optimizer.progress import Clock
from optimizer.solve import solve
from tests.unit.optimizer.allocation_cases import (
    MOST_PLANS,
    best_by_trying,
    count_plans,
    draw_problem,
    plain_problem,
)


def priced(problem: AllocationProblem) -> tuple[Market, PriceSearch]:
    cells = build_cells(problem, problem.workers.priority.astype(np.int64))
    limits = find_limits(problem, cells)
    market = build_market(problem, cells, limits, limits.usable)
    return market, find_prices(market, Clock(60.0), 0, None, 10.0)


def some_problem(seed: int) -> AllocationProblem:
    rng, workers = np.random.default_rng(seed), 10
    problem = draw_problem(rng, workers, 3)
    while count_plans(problem) > MOST_PLANS:
        workers -= 1
        problem = draw_problem(rng, workers, 3)
    return problem


@pytest.mark.parametrize("seed", range(25))
def test_no_plan_goes_beyond_the_bounds_of_equity_and_apbd(seed: int) -> None:
    problem = some_problem(seed)
    market, search = priced(problem)
    coverage, equity = best_by_trying(problem, Policy.from_mapping({"tiers": ["coverage", "equity"]}))
    assert equity <= equity_bound(market, search.asked, search.bound, int(coverage)) + 1e-9
    saving = Policy.from_mapping({"tiers": ["coverage", "apbd_saving"]})
    _, rupiah = best_by_trying(problem, saving)
    assert rupiah >= apbd_bound(market, search.prices, int(coverage), rupiah)


def test_more_money_than_64_bits_hold_bounds_equity_at_everybody() -> None:
    problem = plain_problem(50, 1_100, amount_rupiah=2**53)
    market, search = priced(problem)
    assert equity_bound(market, search.asked, search.bound, 0) == 1.0


def test_a_district_with_people_covered_already_waits_for_the_one_without() -> None:
    """Money for two of four alike needs, two in each district; one district has eight covered already."""
    problem = plain_problem(4, 1, amount_rupiah=20)
    workers = replace(problem.workers, village=np.array([0, 0, 1, 1], dtype=np.int32))
    used = np.array([[8, 0]], dtype=np.int64)
    funds = replace(
        problem.funds,
        heads_used=used,
        kind=np.array([FundKind.CSR], dtype=np.int8),
        village_allowed=np.ones((1, 2), dtype=np.bool_),
    )
    problem = replace(
        problem,
        workers=workers,
        funds=funds,
        district_of_village=np.array([0, 1], dtype=np.int32),
        districts=2,
    )
    result = solve(problem, DEFAULT_POLICY, time_limit_seconds=20)
    assert (result.fund_of_worker >= 0).tolist() == [False, False, True, True]
    assert result.tiers[1].value == pytest.approx(0.8)
