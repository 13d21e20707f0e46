"""Solve an allocation problem: problem and policy in, verified result out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Int32
from optimizer.progress import Clock, Progress
from optimizer.result import AllocationResult, Prices, Status, TierResult
from optimizer.rules import pair_accepted, pair_cost_rupiah
from optimizer.tiers import MAXIMISED, relative_gap, tier_value, worker_scores
from optimizer.verify import verify

__all__ = ["Progress", "solve"]


def solve(
    problem: AllocationProblem,
    policy: Policy,
    *,
    previous: Prices | None = None,
    time_limit_seconds: float,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> AllocationResult:
    """Match needs to funds under ``policy``; the result has passed ``verify``."""
    clock = Clock(time_limit_seconds, on_progress, cancelled)
    funds, districts = len(problem.funds), problem.districts
    scores = worker_scores(problem, policy)
    with clock.phase("fill"):
        plan = _fill_in_score_order(problem, scores)
    amount = np.zeros(len(problem.workers), dtype=np.int64)
    funded = np.flatnonzero(plan >= 0)
    amount[funded] = pair_cost_rupiah(problem, funded, plan[funded])
    tiers = []
    for tier in policy.tiers:
        value = tier_value(tier.name, problem, policy, plan, amount)
        bound = {"coverage": float(scores.sum()), "equity": 1.0}.get(tier.name, 0.0)
        gap = relative_gap(tier.name, value, bound)
        tiers.append(TierResult(tier.name, value, bound, gap, clock.seconds, proven=value == bound))
    proven = all(tier.proven for tier in tiers) and tiers[0].name in MAXIMISED
    result = AllocationResult(
        status=Status.CANCELLED if clock.was_cancelled else Status.OPTIMAL if proven else Status.FEASIBLE,
        fund_of_worker=plan,
        amount_rupiah=amount,
        tiers=tuple(tiers),
        prices=Prices(np.zeros(funds), np.zeros(funds), np.zeros((funds, districts))),
        seconds=dict(clock.phases),
    )
    verify(problem, policy, result)
    return result


def _fill_in_score_order(problem: AllocationProblem, scores: np.ndarray) -> Int32:
    """First fit by score; funds that miss their minimum are closed and the fill repeated."""
    funds = problem.funds
    district = problem.district_of_village[problem.workers.village]
    open_fund = np.ones(len(funds), dtype=np.bool_)
    order = np.lexsort((problem.workers.months, -scores))
    all_funds = np.arange(len(funds))
    used = funds.heads_used
    room_head = np.where(funds.head_count_cap == NONE, len(order), funds.head_count_cap - used.sum(axis=1))
    room_district = np.where(
        funds.district_cap[:, None] == NONE, len(order), funds.district_cap[:, None] - used
    )
    while True:
        plan = np.full(len(problem.workers), NONE, dtype=np.int32)
        money, head, by_district = funds.amount_rupiah.copy(), room_head.copy(), room_district.copy()
        for worker in order:
            here = np.array([worker])
            cost = pair_cost_rupiah(problem, here, all_funds)
            fits = open_fund & pair_accepted(problem, here, all_funds)
            fits &= (cost <= money) & (head > 0) & (by_district[:, district[worker]] > 0)
            choice = np.flatnonzero(fits)
            if len(choice):
                fund = choice[np.lexsort((funds.expiry_rank[choice], funds.kind[choice]))[0]]
                plan[worker] = fund
                money[fund] -= cost[fund]
                head[fund] -= 1
                by_district[fund, district[worker]] -= 1
        taken = np.bincount(plan[plan >= 0], minlength=len(funds))
        short = (funds.min_workers != NONE) & (taken > 0) & (taken + used.sum(axis=1) < funds.min_workers)
        if not short.any():
            return plan
        open_fund &= ~short
