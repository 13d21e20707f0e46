"""Reasons an officer can check: who was refused by what, who was outbid, what more money buys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.explain import LIMITS, REASONS, Explainer, Reason, detail_texts
from optimizer.policy import DEFAULT_POLICY
from optimizer.problem import NONE, AllocationProblem
from optimizer.rules import PAIR_RULES, pair_accepted
from optimizer.solve import solve
from tests.unit.optimizer.allocation_cases import plain_problem


def explain(problem: AllocationProblem) -> Explainer:
    return Explainer(problem, DEFAULT_POLICY, solve(problem, DEFAULT_POLICY, time_limit_seconds=10))


def test_a_need_that_no_fund_accepts_names_the_rules_that_refuse() -> None:
    problem = plain_problem(1, 3)
    funds = replace(
        problem.funds,
        village_allowed=np.array([[False], [False], [True]]),
        max_months=np.array([NONE, 0, 0], dtype=np.int32),
    )
    needs = explain(replace(problem, funds=funds)).unfunded_needs()
    assert REASONS[needs.reason[0]] is Reason.NO_FUND_ACCEPTS
    assert detail_texts(needs, ["A", "B", "C"]) == ["region_accepted: 2, months_within_limit: 2"]


def test_a_fund_that_cannot_reach_its_minimum_is_the_reason() -> None:
    problem = plain_problem(2, 1)
    funds = replace(problem.funds, min_workers=np.array([5], dtype=np.int64))
    needs = explain(replace(problem, funds=funds)).unfunded_needs()
    assert {REASONS[code] for code in needs.reason} == {Reason.NO_FUND_CAN_OPEN}


def test_an_outbid_need_is_told_how_much_score_it_lacks() -> None:
    """Ten workers of scores 1 to 10, money for three: the fourth lacks what the marginal one brings."""
    answer = explain(plain_problem(10, 1, amount_rupiah=30))
    needs = answer.unfunded_needs()
    assert {REASONS[code] for code in needs.reason} == {Reason.OUTBID}
    lowest = int(np.flatnonzero(needs.worker == 0)[0])
    assert needs.score_short[lowest] == pytest.approx(7, abs=1.01)
    assert "more score needed" in detail_texts(needs, ["A"])[lowest]


def test_marginal_value_is_what_one_more_worker_would_bring() -> None:
    values = explain(plain_problem(10, 1, amount_rupiah=30)).fund_values()
    # Rp 10 buys a worker of score 7 or 8, so a million rupiah is worth about 100,000 times that.
    assert 7e5 - 1 <= values.score_per_million[0] <= 8e5 + 1
    assert values.workers_per_million[0] == pytest.approx(1e5, rel=0.2)
    assert LIMITS[values.binding[0]] == "amount_left"
    assert (values.spent_rupiah[0], values.left_rupiah[0], values.workers[0]) == (30, 0, 3)


def test_money_that_nobody_needs_is_worth_nothing() -> None:
    values = explain(plain_problem(3, 1)).fund_values()
    assert values.score_per_million[0] == 0
    assert LIMITS[values.binding[0]] == "nobody_left"


def test_a_binding_cap_is_named() -> None:
    problem = plain_problem(10, 1)
    funds = replace(problem.funds, head_count_cap=np.array([4], dtype=np.int64))
    answer = explain(replace(problem, funds=funds))
    assert LIMITS[answer.fund_values().binding[0]] == "head_count_cap"
    needs = answer.unfunded_needs()
    assert {LIMITS[code] for code in needs.binding} == {"head_count_cap"}


def test_every_row_of_a_larger_plan_is_explained_truthfully() -> None:
    problem = make_instance(2_000, 30, 4, SHAPES["mixed"])
    result = solve(problem, DEFAULT_POLICY, time_limit_seconds=10)
    answer = Explainer(problem, DEFAULT_POLICY, result)
    needs, others = answer.unfunded_needs(), answer.alternatives()
    assert len(needs) + len(others.worker) == len(problem.workers)
    accepted = pair_accepted(problem, np.arange(2_000)[:, None], np.arange(30)[None, :])
    refused = {REASONS[code] for code in needs.reason[accepted[needs.worker].sum(axis=1) == 0]}
    assert refused <= {Reason.NO_FUND_ACCEPTS}
    for column, rule in enumerate(PAIR_RULES):
        expected = (~rule(problem, needs.worker[:, None], np.arange(30)[None, :])).sum(axis=1)
        assert np.array_equal(needs.refusals[:, column], expected)
    has = others.fund != NONE
    assert accepted[others.worker[has], others.fund[has]].all()
    assert (others.fund != result.fund_of_worker[others.worker]).all()
    assert (others.score_lost >= 0).all() and others.score_lost.max() > 0
