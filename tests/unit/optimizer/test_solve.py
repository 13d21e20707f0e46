"""What a caller may rely on: verified plans, honest bounds, odd inputs, limits, cancel, warm starts."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.policy import DEFAULT_POLICY, Policy
from optimizer.problem import NONE, AllocationProblem, FundKind
from optimizer.progress import Progress
from optimizer.result import AllocationResult, Status
from optimizer.rules import pair_accepted
from optimizer.solve import solve
from optimizer.verify import VerificationError, find_violations, verify
from tests.unit.optimizer.allocation_cases import plain_problem


def run(problem: AllocationProblem, policy: Policy = DEFAULT_POLICY, **options: Any) -> AllocationResult:
    return solve(problem, policy, **{"time_limit_seconds": 30.0, **options})


def with_funds(problem: AllocationProblem, **fields: Any) -> AllocationProblem:
    kept = {name: np.asarray(value, getattr(problem.funds, name).dtype) for name, value in fields.items()}
    return replace(problem, funds=replace(problem.funds, **kept))


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("counts", ["workers", "worker_months"])
def test_every_shape_gives_a_verified_plan_near_its_bound(shape: str, counts: str) -> None:
    problem = make_instance(3_000, 40, 5, SHAPES[shape])
    policy = Policy.from_mapping({"coverage_counts": counts})
    result = run(problem, policy)
    verify(problem, policy, result)
    assert result.tiers[0].gap < (0.03 if shape == "tight" else 0.012)


@pytest.mark.parametrize(
    ("workers", "funds"), [(0, 0), (0, 3), (5, 0)], ids=["nothing", "no workers", "no funds"]
)
def test_empty_sides_are_valid_and_optimal(workers: int, funds: int) -> None:
    result = run(plain_problem(workers, funds))
    assert result.status is Status.OPTIMAL
    assert (result.fund_of_worker == NONE).all()


@pytest.mark.parametrize(
    "fields",
    [
        {"village_allowed": [[False]]},
        {"amount_rupiah": [1]},
        {"amount_rupiah": [0]},
        {"min_workers": [51]},
        {"min_workers": [5], "head_count_cap": [4]},
        {"head_count_cap": [0]},
        {"district_cap": [0]},
    ],
    ids=lambda fields: "+".join(fields),
)
def test_a_fund_that_can_do_nothing_does_nothing(fields: dict[str, Any]) -> None:
    result = run(with_funds(plain_problem(50, 1), **fields))
    assert (result.fund_of_worker == NONE).all()
    assert result.status is Status.OPTIMAL


def test_a_million_identical_workers() -> None:
    problem = plain_problem(1_000_000, 3, amount_rupiah=1_000_005)
    problem = replace(
        problem, workers=replace(problem.workers, priority=np.full(1_000_000, 7, dtype=np.int32))
    )
    result = run(problem)
    assert int((result.fund_of_worker != NONE).sum()) == 300_000
    assert result.tiers[0].value == result.tiers[0].bound == 2_100_000


def test_months_that_count_change_who_is_covered() -> None:
    """The plain score prefers the short and cheap cover; worker-months sees through that."""
    problem = plain_problem(2, 1, amount_rupiah=120)
    workers = replace(
        problem.workers,
        months=np.array([1, 12], dtype=np.int32),
        priority=np.array([50, 40], dtype=np.int32),
        cost_class=np.array([0, 1], dtype=np.int32),
    )
    problem = replace(problem, workers=workers, cost_rupiah=np.array([[10], [120]], dtype=np.int64))
    assert list(run(problem).fund_of_worker) == [0, NONE]
    by_months = Policy.from_mapping({"coverage_counts": "worker_months"})
    assert list(run(problem, by_months).fund_of_worker) == [NONE, 0]


def test_companies_pay_before_the_regional_budget() -> None:
    problem = plain_problem(400, 2, amount_rupiah=4_000)
    problem = with_funds(problem, kind=[FundKind.APBD, FundKind.CSR])
    result = run(problem)
    assert (result.fund_of_worker == 1).all()
    assert result.tiers[2].value == 0


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_a_time_limit_still_returns_a_verified_plan_with_an_honest_gap(seconds: float) -> None:
    problem = make_instance(20_000, 60, 3, SHAPES["capped"])
    result = run(problem, time_limit_seconds=seconds)
    assert result.status is Status.FEASIBLE
    full = run(problem)
    assert result.tiers[0].value <= full.tiers[0].bound
    assert full.tiers[0].value <= result.tiers[0].bound


def test_cancel_and_progress() -> None:
    problem = make_instance(20_000, 60, 3, SHAPES["mixed"])
    seen: list[Progress] = []
    asked = 0

    def cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    result = run(problem, on_progress=seen.append, cancelled=cancelled)
    assert result.status is Status.CANCELLED
    assert not find_violations(problem, result.fund_of_worker, result.amount_rupiah)
    assert {"cells", "prices", "done"} <= {step.phase for step in seen}
    assert seen[-1].gap is not None and 0 <= seen[-1].gap <= 1


def test_a_cancel_ends_a_search_that_finds_no_better_plan() -> None:
    """The library is asked to stop from outside: it need not find a solution to notice."""
    problem = make_instance(450, 12, 3, SHAPES["capped"])
    searching = False

    def note(step: Progress) -> None:
        nonlocal searching
        searching = searching or step.phase == "exact"

    begin: list[float] = []

    def cancelled() -> bool:
        if searching and not begin:
            begin.append(time.monotonic())
        return bool(begin) and time.monotonic() > begin[0] + 1.0

    result = run(problem, time_limit_seconds=300.0, on_progress=note, cancelled=cancelled)
    if not begin:
        pytest.fail("the case never came to the exact search")
    assert result.status is Status.CANCELLED
    assert time.monotonic() - begin[0] < 60.0


def test_the_same_seed_gives_the_same_plan() -> None:
    problem = make_instance(2_000, 30, 9, SHAPES["mixed"])
    first, second = run(problem, seed=4), run(problem, seed=4)
    assert np.array_equal(first.fund_of_worker, second.fund_of_worker)


def test_a_warm_start_moves_few_proposals_and_stays_near_the_bound() -> None:
    full = make_instance(20_100, 64, 2, SHAPES["skewed"])
    names = [name for name in full.workers.__dataclass_fields__ if name != "current_fund"]

    def cut(count: int, current: np.ndarray) -> AllocationProblem:
        kept = {name: getattr(full.workers, name)[:count] for name in names}
        return replace(full, workers=replace(full.workers, **kept, current_fund=current))

    before = run(cut(20_000, np.full(20_000, NONE, dtype=np.int32)))
    current = np.concatenate([before.fund_of_worker, np.full(100, NONE, dtype=np.int32)])
    after = run(cut(20_100, current), previous=before.prices)
    assert "replan" in after.seconds and "prices" not in after.seconds
    assert after.tiers[0].gap <= before.tiers[0].gap + 0.0005
    changed = dict((tier.name, tier.value) for tier in after.tiers)["stability"]
    assert changed <= 0.02 * (current != NONE).sum()


def test_a_warm_start_respects_money_and_rules_that_were_cut() -> None:
    problem = make_instance(3_000, 20, 2, SHAPES["capped"])
    before = run(problem)
    funds = replace(
        problem.funds,
        amount_rupiah=problem.funds.amount_rupiah // 2,
        village_allowed=problem.funds.village_allowed & (np.arange(237) % 3 > 0)[None, :],
    )
    workers = replace(problem.workers, current_fund=before.fund_of_worker)
    changed = replace(problem, funds=funds, workers=workers)
    result = run(changed, previous=before.prices)
    verify(changed, DEFAULT_POLICY, result)


def test_prices_prove_the_bound_by_plain_arithmetic() -> None:
    """The bound recomputed worker by fund, with none of the solver's grouping."""
    problem = make_instance(1_500, 25, 8, SHAPES["capped"])
    result = run(problem, time_limit_seconds=3.0)
    prices, funds = result.prices, problem.funds
    every = np.arange(len(funds))
    rows = np.arange(len(problem.workers))[:, None]
    cost = problem.cost_rupiah[problem.workers.cost_class[:, None], funds.cost_class[None, :]]
    district = problem.district_of_village[problem.workers.village][:, None]
    asked = cost * prices.fund + prices.head + prices.district[every[None, :], district]
    # A fund that nobody can use may be left out; a price of zero would let it serve for nothing.
    possible = pair_accepted(problem, rows, every[None, :]) & (funds.amount_rupiah >= cost)
    asked = np.where(possible & ~_hopeless(problem), asked, np.inf)
    surplus = np.maximum(0.0, problem.workers.priority - asked.min(axis=1)).sum()
    capacity = prices.fund @ funds.amount_rupiah
    capacity += (prices.head * np.maximum(0, funds.head_count_cap)).sum()
    capacity += (prices.district * np.maximum(0, funds.district_cap)[:, None]).sum()
    assert min(prices.fund.min(), prices.head.min(), prices.district.min()) >= 0
    assert result.tiers[0].value <= capacity + surplus
    assert result.tiers[0].bound == pytest.approx(np.floor(capacity + surplus), abs=1.0)


def _hopeless(problem: AllocationProblem) -> np.ndarray:
    """Funds whose minimum lies above their cap or above what their money buys at the cheapest."""
    funds = problem.funds
    every = np.arange(len(funds))
    accepted = pair_accepted(problem, np.arange(len(problem.workers))[:, None], every[None, :])
    cost = problem.cost_rupiah[problem.workers.cost_class[:, None], funds.cost_class[None, :]]
    cheapest = np.where(accepted, cost, 1 << 40).min(axis=0)
    district = problem.district_of_village[problem.workers.village]
    most = np.zeros(len(funds), dtype=np.int64)
    for one in range(problem.districts):
        there = accepted[district == one].sum(axis=0)
        most += np.where(funds.district_cap == NONE, there, np.minimum(there, funds.district_cap))
    most = np.minimum(most, funds.amount_rupiah // cheapest)
    most = np.where(funds.head_count_cap == NONE, most, np.minimum(most, funds.head_count_cap))
    hopeless: npt.NDArray[np.bool_] = (most == 0) | (most < funds.min_workers)
    return hopeless


def test_verify_names_every_kind_of_lie() -> None:
    problem = make_instance(300, 10, 1, SHAPES["mixed"])
    result = run(problem, time_limit_seconds=1.0)
    plan, amount = result.fund_of_worker, result.amount_rupiah

    def named(**changes: Any) -> set[str]:
        with pytest.raises(VerificationError) as caught:
            verify(problem, DEFAULT_POLICY, replace(result, **changes))
        return {violation.rule for violation in caught.value.violations}

    assert named(amount_rupiah=amount + 1) == {"amount_matches_cost"}
    assert named(fund_of_worker=plan[:-1]) == {"one_line_per_worker"}
    assert named(fund_of_worker=np.full_like(plan, 10)) == {"fund_exists"}
    everyone = np.zeros_like(plan)
    assert "amount_left" in named(fund_of_worker=everyone)
    coverage = result.tiers[0]
    assert named(tiers=(replace(coverage, value=coverage.value + 1), *result.tiers[1:])) >= {
        "tier_value_recomputed"
    }
    assert named(tiers=(replace(coverage, bound=coverage.value - 1), *result.tiers[1:])) == {
        "value_within_bound"
    }
    assert named(tiers=result.tiers[:-1]) == {"tiers_follow_policy"}
