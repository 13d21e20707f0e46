"""No step after the minimums puts a few workers into a fund that needs many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import optimizer.solve
from optimizer.policy import DEFAULT_POLICY
from optimizer.problem import NONE, FundKind
from tests.unit.optimizer.allocation_cases import draw_problem


@pytest.mark.parametrize("seed", [3, 7, 21, 26])
def test_plans_found_without_the_exact_search_keep_every_minimum(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regional money, and company pledges that want more workers than the last few an exchange leaves over.

    ``solve`` raises ``VerificationError`` for a plan that breaks a rule.
    """
    monkeypatch.setattr(optimizer.solve, "EXACT_PAIRS", 0)
    rng = np.random.default_rng(seed)
    problem = draw_problem(rng, 120, 8)
    funds = replace(
        problem.funds,
        kind=np.array([FundKind.APBD] * 3 + [FundKind.CSR] * 5, dtype=np.int8),
        amount_rupiah=rng.integers(200, 2_000, 8).astype(np.int64),
        min_workers=np.array([NONE] * 3 + rng.integers(10, 40, 5).tolist(), dtype=np.int64),
        head_count_cap=np.full(8, NONE, dtype=np.int64),
        heads_used=np.zeros_like(problem.funds.heads_used),
    )
    problem = replace(problem, funds=funds)
    cold = optimizer.solve.solve(problem, DEFAULT_POLICY, time_limit_seconds=10)
    standing = replace(problem.workers, current_fund=cold.fund_of_worker.copy())
    standing.current_fund[:5] = NONE
    warm = optimizer.solve.solve(
        replace(problem, workers=standing), DEFAULT_POLICY, previous=cold.prices, time_limit_seconds=10
    )
    for result in (cold, warm):
        heads = np.bincount(result.fund_of_worker[result.fund_of_worker >= 0], minlength=8)
        assert ((heads == 0) | (heads >= funds.min_workers)).all()
