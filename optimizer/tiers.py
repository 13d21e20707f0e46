"""The objective tiers: what each one measures in a finished plan.

``coverage`` and ``equity`` are to be large; ``apbd_saving`` (APBD rupiah
spent), ``stability`` (changed proposals) and ``cohesion`` (village-fund pairs)
are to be small.
"""

from __future__ import annotations

import numpy as np

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, FundKind, Int32, Int64

#: Tiers whose value is to be as large as possible.
MAXIMISED = frozenset({"coverage", "equity"})


def worker_scores(problem: AllocationProblem, policy: Policy) -> Int64:
    """What funding each worker (N) adds to the coverage tier."""
    scores = problem.workers.priority.astype(np.int64)
    if policy.coverage_counts == "worker_months":
        scores = scores * problem.workers.months
    return scores


def coverage_value(problem: AllocationProblem, policy: Policy, fund_of_worker: Int32) -> int:
    """The sum of scores of funded workers."""
    return int(worker_scores(problem, policy)[fund_of_worker >= 0].sum())


def covered_by_district(problem: AllocationProblem) -> Int64:
    """People per district (D) whom approved lines cover already."""
    return np.asarray(problem.funds.heads_used.sum(axis=0), dtype=np.int64)


def equity_value(problem: AllocationProblem, fund_of_worker: Int32) -> float:
    """The smallest coverage ratio over districts with open needs; 1.0 without any.

    A district's ratio is (covered by approved lines + funded) / (covered + open needs).
    """
    district = problem.district_of_village[problem.workers.village]
    covered = covered_by_district(problem)
    needs = np.bincount(district, minlength=problem.districts)
    funded = np.bincount(district[fund_of_worker >= 0], minlength=problem.districts)
    present = needs > 0
    ratio = (funded[present] + covered[present]) / (needs[present] + covered[present])
    return float(ratio.min()) if present.any() else 1.0


def apbd_rupiah(problem: AllocationProblem, fund_of_worker: Int32, amount_rupiah: Int64) -> int:
    """Rupiah paid by regional budgets."""
    funded = fund_of_worker >= 0
    by_apbd = problem.funds.kind[fund_of_worker[funded]] == FundKind.APBD
    return int(amount_rupiah[funded][by_apbd].sum())


def changed_proposals(problem: AllocationProblem, fund_of_worker: Int32) -> int:
    """Workers with a current proposal that the plan moves to another fund or drops."""
    current = problem.workers.current_fund
    return int(((current != NONE) & (current != fund_of_worker)).sum())


def village_fund_pairs(problem: AllocationProblem, fund_of_worker: Int32) -> int:
    """Different funds at work per village, summed over villages."""
    funded = fund_of_worker >= 0
    pairs = problem.workers.village[funded] * np.int64(max(len(problem.funds), 1)) + fund_of_worker[funded]
    pairs.sort()
    return int(np.count_nonzero(np.diff(pairs, prepend=-1)))


def tier_value(
    name: str, problem: AllocationProblem, policy: Policy, fund_of_worker: Int32, amount_rupiah: Int64
) -> float:
    """The value of one tier by name."""
    match name:
        case "coverage":
            return float(coverage_value(problem, policy, fund_of_worker))
        case "equity":
            return equity_value(problem, fund_of_worker)
        case "apbd_saving":
            return float(apbd_rupiah(problem, fund_of_worker, amount_rupiah))
        case "stability":
            return float(changed_proposals(problem, fund_of_worker))
        case "cohesion":
            return float(village_fund_pairs(problem, fund_of_worker))
    raise ValueError(f"unknown tier {name!r}")


def relative_gap(name: str, value: float, bound: float) -> float:
    """How far a value may lie from the best, as a fraction of the bound (or of 1)."""
    distance = bound - value if name in MAXIMISED else value - bound
    return max(0.0, distance) / max(abs(bound), abs(value), 1e-9) if distance > 0 else 0.0
