"""Small allocation problems for tests, and the best plan found by trying them all."""

from __future__ import annotations

import math

import numpy as np

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Funds, Workers
from optimizer.rules import pair_accepted
from optimizer.tiers import MAXIMISED, tier_value
from optimizer.verify import find_violations

#: Plans that a brute-force case may have before it is made smaller.
MOST_PLANS = 60_000


def draw_problem(rng: np.random.Generator, workers: int, funds: int) -> AllocationProblem:
    """A small problem with every rule at work somewhere."""
    villages, districts, occupations, bundles, ranks = 5, 3, 3, 2, 3
    months = rng.integers(1, 5, workers).astype(np.int32)
    bundle = rng.integers(0, bundles, workers).astype(np.int32)
    monthly = np.array([[10, 12, 5], [17, 17, 9]], dtype=np.int64)
    cost = (monthly[:, None, :] * np.arange(1, 5)[None, :, None]).reshape(-1, 3)

    def maybe(share: float, low: int, high: int) -> np.ndarray:
        return np.where(rng.random(funds) < share, rng.integers(low, high, funds), NONE)

    def table(columns: int, share: float) -> np.ndarray:
        return rng.random((funds, columns)) < share

    age_from = maybe(0.3, 18, 40)
    used = np.where(rng.random((funds, districts)) < 0.15, rng.integers(0, 3, (funds, districts)), 0)
    current = np.where(rng.random(workers) < 0.4, rng.integers(0, max(1, funds), workers), NONE)
    return AllocationProblem(
        workers=Workers(
            village=rng.integers(0, villages, workers).astype(np.int32),
            occupation=rng.integers(0, occupations, workers).astype(np.int32),
            bundle=bundle,
            months=months,
            start_month=rng.integers(0, 3, workers).astype(np.int32),
            priority=rng.choice([1, 3, 10, 40, 41, 100], workers).astype(np.int32),
            sex=rng.integers(0, 3, workers).astype(np.int8),
            age=rng.choice([NONE, 17, 25, 38, 60], workers).astype(np.int16),
            cost_class=(bundle * 4 + months - 1).astype(np.int32),
            current_fund=(current if funds else np.full(workers, NONE)).astype(np.int32),
        ),
        funds=Funds(
            kind=rng.integers(0, 2, funds).astype(np.int8),
            amount_rupiah=rng.integers(0, 160, funds).astype(np.int64),
            village_allowed=table(villages, 0.8),
            occupation_allowed=table(occupations, 0.85),
            bundle_allowed=table(bundles, 0.9),
            max_months=maybe(0.3, 2, 5).astype(np.int32),
            sex_allowed=table(3, 0.9),
            age_from=age_from.astype(np.int16),
            age_to=np.where(age_from != NONE, age_from + rng.integers(0, 30, funds), NONE).astype(np.int16),
            window_from=maybe(0.2, 0, 2).astype(np.int32),
            window_to=maybe(0.3, 2, 6).astype(np.int32),
            head_count_cap=maybe(0.4, 0, 6).astype(np.int64),
            district_cap=maybe(0.3, 0, 4).astype(np.int64),
            min_workers=maybe(0.4, 1, 5).astype(np.int64),
            heads_used=used.astype(np.int64),
            expiry_rank=rng.integers(0, ranks, funds).astype(np.int32),
            cost_class=rng.integers(0, 3, funds).astype(np.int32),
        ),
        district_of_village=np.array([0, 0, 1, 1, 2], dtype=np.int32),
        districts=districts,
        cost_rupiah=cost,
    )


def count_plans(problem: AllocationProblem) -> int:
    """How many ways there are to give each worker one accepting fund or none."""
    return math.prod(int(count) + 1 for count in _accepted(problem).sum(axis=1))


def best_by_trying(problem: AllocationProblem, policy: Policy) -> list[float]:
    """Every tier's value in the lexicographic optimum, found by trying all plans."""
    workers, funds = len(problem.workers), len(problem.funds)
    choices = [np.append(np.flatnonzero(row), NONE) for row in _accepted(problem)]
    plans = np.stack([axis.reshape(-1) for axis in np.meshgrid(*choices, indexing="ij")], axis=1).astype(
        np.int32
    )
    every = np.arange(workers)
    cost = np.zeros((workers, funds + 1), dtype=np.int64)
    cost[:, :funds] = problem.cost_rupiah[
        problem.workers.cost_class[:, None], problem.funds.cost_class[None, :]
    ]
    amount = cost[every, plans]
    keep = np.ones(len(plans), dtype=np.bool_)
    district = problem.district_of_village[problem.workers.village]
    for fund in range(funds):
        by = plans == fund
        new, used = by.sum(axis=1), int(problem.funds.heads_used[fund].sum())
        keep &= (amount * by).sum(axis=1) <= problem.funds.amount_rupiah[fund]
        if (cap := problem.funds.head_count_cap[fund]) != NONE:
            keep &= (new == 0) | (new + used <= cap)
        if (least := problem.funds.min_workers[fund]) != NONE:
            keep &= (new == 0) | (new + used >= least)
        if (cap := problem.funds.district_cap[fund]) != NONE:
            for one in range(problem.districts):
                there = by[:, district == one].sum(axis=1)
                keep &= (there == 0) | (there + problem.funds.heads_used[fund, one] <= cap)
    plans, amount = plans[keep], amount[keep]
    assert not find_violations(problem, plans[0], amount[0])
    values: list[float] = []
    columns: list[np.ndarray] = []
    unit = _equity_unit(problem)
    for number, tier in enumerate(policy.tiers):
        alive = np.ones(len(plans), dtype=np.bool_)
        for earlier, reached in enumerate(values):
            name = policy.tiers[earlier].name
            scale = unit if name == "equity" else 1
            allowed = math.floor(abs(reached) * scale * policy.allowance(earlier, number) + 1e-9) / scale
            sign = 1 if name in MAXIMISED else -1
            alive &= sign * columns[earlier] >= sign * reached - allowed - 1e-12
        plans, amount, columns = plans[alive], amount[alive], [column[alive] for column in columns]
        rows = zip(plans, amount, strict=True)
        column = np.array([tier_value(tier.name, problem, policy, plan, paid) for plan, paid in rows])
        values.append(float(column.max() if tier.name in MAXIMISED else column.min()))
        columns.append(column)
    return values


def _equity_unit(problem: AllocationProblem) -> int:
    needs = np.bincount(problem.district_of_village[problem.workers.village], minlength=problem.districts)
    people = (needs + problem.funds.heads_used.sum(axis=0))[needs > 0]
    return math.lcm(*people.tolist()) if len(problem.workers) else 1


def _accepted(problem: AllocationProblem) -> np.ndarray:
    return pair_accepted(
        problem, np.arange(len(problem.workers))[:, None], np.arange(len(problem.funds))[None, :]
    )


def plain_problem(workers: int, funds: int, amount_rupiah: int = 1_000) -> AllocationProblem:
    """Workers of one village that cost 10 rupiah each, and funds without any rule."""
    none = np.full(funds, NONE)
    zeros = np.zeros(workers, dtype=np.int32)
    return AllocationProblem(
        workers=Workers(
            village=zeros,
            occupation=zeros,
            bundle=zeros,
            months=zeros + 1,
            start_month=zeros,
            priority=(np.arange(workers) % 100 + 1).astype(np.int32),
            sex=zeros.astype(np.int8),
            age=zeros.astype(np.int16) + 30,
            cost_class=zeros,
            current_fund=zeros + NONE,
        ),
        funds=Funds(
            kind=np.zeros(funds, dtype=np.int8),
            amount_rupiah=np.full(funds, amount_rupiah, dtype=np.int64),
            village_allowed=np.ones((funds, 1), dtype=np.bool_),
            occupation_allowed=np.ones((funds, 1), dtype=np.bool_),
            bundle_allowed=np.ones((funds, 1), dtype=np.bool_),
            max_months=none.astype(np.int32),
            sex_allowed=np.ones((funds, 3), dtype=np.bool_),
            age_from=none.astype(np.int16),
            age_to=none.astype(np.int16),
            window_from=none.astype(np.int32),
            window_to=none.astype(np.int32),
            head_count_cap=none.astype(np.int64),
            district_cap=none.astype(np.int64),
            min_workers=none.astype(np.int64),
            heads_used=np.zeros((funds, 1), dtype=np.int64),
            expiry_rank=np.zeros(funds, dtype=np.int32),
            cost_class=np.zeros(funds, dtype=np.int32),
        ),
        district_of_village=np.zeros(1, dtype=np.int32),
        districts=1,
        cost_rupiah=np.array([[10]], dtype=np.int64),
    )
