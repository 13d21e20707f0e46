"""Solve one match of files: build, solve warm or cold, verify."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem
from optimizer.progress import Progress
from optimizer.result import AllocationResult, Prices, Status, TierResult
from optimizer.rules import pair_cost_rupiah
from optimizer.solve import solve
from optimizer.tiers import relative_gap, tier_value, worker_scores
from optimizer.verify import verify
from workflow.match_problem import MatchNames
from workflow.match_run import MatchInput, MatchRun

#: Scaled money must stay well inside 64 bits.
_HIGHEST_SCALED = 2**61


def solve_match(
    given: MatchInput,
    *,
    time_limit_seconds: float,
    warm: Callable[[MatchNames], Prices] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[MatchRun, dict[str, float]]:
    """Build and solve; the result has passed ``optimizer.verify``. Also the seconds of building.

    ``warm`` gives starting prices once the names are known. Raises ``VerificationError`` when the
    solver's result breaks a rule, ``models.tariff.TariffError`` when a month has no price.
    """
    begin = time.perf_counter()
    problem, names = given.build()
    seconds = {"build": time.perf_counter() - begin}
    result = solve_any_cost(
        problem,
        given.policy,
        previous=None if warm is None else warm(names),
        time_limit_seconds=time_limit_seconds,
        on_progress=on_progress,
        cancelled=cancelled,
    )
    return MatchRun(given, problem, names, result), seconds


def solve_any_cost(
    problem: AllocationProblem,
    policy: Policy,
    *,
    previous: Prices | None = None,
    time_limit_seconds: float,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> AllocationResult:
    """Solve a problem with funds of any size and cover that may cost nothing; the result is verified.

    The optimiser adds up amounts in 64 bits, so no fund is shown to it with more than all cover
    together costs. It wants positive costs, so where some cover is free (a discount of 1 on JKK and
    JKM) money is counted in parts of a rupiah, so small that one part for every free cover together
    stays below a rupiah. Neither changes what is affordable. (Where needs x money leave 64 bits too
    few parts, free cover may cost a fund a rupiah or more, and no bound is claimed.)
    """
    whole, problem = problem, _cap_amounts(problem)
    if not problem.cost_rupiah.size or int(problem.cost_rupiah.min()) > 0:
        result = solve(
            problem,
            policy,
            previous=previous,
            time_limit_seconds=time_limit_seconds,
            on_progress=on_progress,
            cancelled=cancelled,
        )
    else:
        scaled, parts = _count_in_parts(problem)
        result = _count_in_rupiah(
            problem,
            policy,
            parts,
            solve(
                scaled,
                policy,
                previous=None if previous is None else replace(previous, fund=previous.fund / parts),
                time_limit_seconds=time_limit_seconds,
                on_progress=on_progress,
                cancelled=cancelled,
            ),
        )
    verify(whole, policy, result)
    return result


def _cap_amounts(problem: AllocationProblem) -> AllocationProblem:
    amounts = problem.funds.amount_rupiah
    enough = _all_cover_rupiah(problem) + 1
    return replace(problem, funds=replace(problem.funds, amount_rupiah=np.minimum(amounts, enough)))


def _all_cover_rupiah(problem: AllocationProblem) -> int:
    """What all needs cost together when the dearest fund pays each."""
    if not problem.cost_rupiah.size:
        return 0
    return int(problem.cost_rupiah.max(axis=1)[problem.workers.cost_class].sum())


def _count_in_parts(problem: AllocationProblem) -> tuple[AllocationProblem, int]:
    """The problem with every rupiah as ``parts`` parts, free cover costing one part."""
    workers = len(problem.workers)
    # The solver adds up all funds, and may add up all costs, so both sums have to fit.
    largest = max(sum(problem.funds.amount_rupiah.tolist()), _all_cover_rupiah(problem)) + 1
    parts = max(2, min(workers + 1, _HIGHEST_SCALED // largest))
    amount = problem.funds.amount_rupiah * parts + min(workers, parts - 1)
    return (
        replace(
            problem,
            funds=replace(problem.funds, amount_rupiah=amount),
            cost_rupiah=np.maximum(problem.cost_rupiah * parts, 1),
        ),
        parts,
    )


def _count_in_rupiah(
    problem: AllocationProblem, policy: Policy, parts: int, scaled: AllocationResult
) -> AllocationResult:
    """The result of a problem in parts, said in rupiah of the real one."""
    funded = np.flatnonzero(scaled.fund_of_worker != NONE)
    amount = np.zeros(len(scaled.fund_of_worker), dtype=np.int64)
    amount[funded] = pair_cost_rupiah(problem, funded, scaled.fund_of_worker[funded])
    exact = parts > len(problem.workers)
    everyone = float(worker_scores(problem, policy).sum())
    tiers = []
    for tier in scaled.tiers:
        value = tier_value(tier.name, problem, policy, scaled.fund_of_worker, amount)
        bound = tier.bound
        if tier.name == "apbd_saving":
            # Free cover adds less than a rupiah to the scaled sum, so the floor stays a bound.
            bound = min(value, float(tier.bound // parts))
        if not exact:
            bound = {"coverage": everyone, "equity": 1.0}.get(tier.name, 0.0)
        gap = relative_gap(tier.name, value, bound)
        tiers.append(
            TierResult(
                tier.name, value, bound, gap, tier.seconds, proven=exact and (tier.proven or gap == 0.0)
            )
        )
    status = scaled.status
    if status is Status.OPTIMAL and not all(tier.proven for tier in tiers):
        status = Status.FEASIBLE
    return replace(
        scaled,
        status=status,
        amount_rupiah=amount,
        tiers=tuple(tiers),
        prices=replace(scaled.prices, fund=scaled.prices.fund * parts),
    )


def peak_memory_bytes() -> int:
    """The most memory this process has held at once; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
