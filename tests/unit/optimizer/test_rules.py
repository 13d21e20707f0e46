"""Every hard rule allows what it should and refuses what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optimizer import rules
from optimizer.problem import NONE, AllocationProblem, Sex
from tests.unit.optimizer.allocation_cases import plain_problem

ONE = np.array([0])


def with_fund(problem: AllocationProblem, **fields: Any) -> AllocationProblem:
    changed = {}
    for name, value in fields.items():
        old = getattr(problem.funds, name)
        changed[name] = np.broadcast_to(np.asarray(value), old.shape).astype(old.dtype)
    return replace(problem, funds=replace(problem.funds, **changed))


def with_worker(problem: AllocationProblem, **fields: int) -> AllocationProblem:
    changed = {name: np.full_like(getattr(problem.workers, name), value) for name, value in fields.items()}
    return replace(problem, workers=replace(problem.workers, **changed))


PAIR_CASES = [
    (rules.region_accepted, {"village_allowed": True}, {"village_allowed": False}, {}),
    (rules.occupation_accepted, {"occupation_allowed": True}, {"occupation_allowed": False}, {}),
    (rules.programmes_accepted, {"bundle_allowed": True}, {"bundle_allowed": False}, {}),
    (
        rules.sex_accepted,
        {"sex_allowed": [False, False, True]},
        {"sex_allowed": [True, True, False]},
        {"sex": Sex.P},
    ),
    (rules.age_accepted, {"age_from": 18, "age_to": 40}, {"age_from": 41}, {"age": 40}),
    (rules.age_accepted, {"age_from": NONE, "age_to": NONE}, {"age_to": 60}, {"age": NONE}),
    (rules.months_within_limit, {"max_months": 6}, {"max_months": 5}, {"months": 6}),
    (rules.window_covers_months, {"window_to": 6}, {"window_to": 5}, {"start_month": 4, "months": 3}),
    (rules.window_covers_months, {"window_from": 4}, {"window_from": 5}, {"start_month": 4, "months": 3}),
]


@pytest.mark.parametrize(("rule", "allowing", "refusing", "worker"), PAIR_CASES)
def test_pair_rule_allows_and_refuses(rule: Any, allowing: Any, refusing: Any, worker: Any) -> None:
    problem = with_worker(plain_problem(1, 1), **worker)
    allowed, refused = with_fund(problem, **allowing), with_fund(problem, **refusing)
    assert rule(allowed, ONE, ONE).all() and rules.pair_accepted(allowed, ONE, ONE).all()
    assert not rule(refused, ONE, ONE).any() and not rules.pair_accepted(refused, ONE, ONE).any()


PLAN_CASES = [
    (rules.amount_left, {"amount_rupiah": 20}, {"amount_rupiah": 19}),
    (rules.head_count_cap, {"head_count_cap": 2}, {"head_count_cap": 1}),
    (rules.head_count_cap, {"head_count_cap": 5, "heads_used": 3}, {"head_count_cap": 4, "heads_used": 3}),
    (rules.district_cap, {"district_cap": 2}, {"district_cap": 1}),
    (rules.district_cap, {"district_cap": 3, "heads_used": 1}, {"district_cap": 2, "heads_used": 1}),
    (rules.min_workers, {"min_workers": 2}, {"min_workers": 3}),
    (rules.min_workers, {"min_workers": 3, "heads_used": 1}, {"min_workers": 4, "heads_used": 1}),
]


@pytest.mark.parametrize(("rule", "allowing", "refusing"), PLAN_CASES)
def test_plan_rule_allows_and_refuses(rule: Any, allowing: Any, refusing: Any) -> None:
    problem = plain_problem(2, 1)
    plan = np.zeros(2, dtype=np.int32)
    assert rule(with_fund(problem, **allowing), plan).all()
    assert not rule(with_fund(problem, **refusing), plan).all()


@pytest.mark.parametrize("rule", [rules.head_count_cap, rules.district_cap, rules.min_workers])
def test_a_fund_without_new_workers_breaks_no_cap_or_minimum(rule: Any) -> None:
    """Approved lines above a lowered cap are history, not a fault of the new plan."""
    full = with_fund(plain_problem(2, 1), head_count_cap=1, district_cap=1, heads_used=4, min_workers=9)
    assert rule(full, np.full(2, NONE, dtype=np.int32)).all()
