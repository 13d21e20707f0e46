"""The last word before a result is stored: a re-check with NumPy alone.

Nothing here shares code with the solver's grouping, prices or rounding; only
the named rules and the tiers' definitions. The solving library is never
imported, so a defect of the solver cannot hide itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Int32, Int64
from optimizer.result import AllocationResult
from optimizer.rules import PAIR_RULES, PLAN_RULES, pair_cost_rupiah
from optimizer.tiers import MAXIMISED, tier_value


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule: its name, how many places break it, and the first of them.

    ``index`` is a worker for pair rules and amounts, a fund for plan rules, a
    tier for values.
    """

    rule: str
    count: int
    index: int

    def __str__(self) -> str:
        return f"{self.rule}: {self.count} violation(s), first at {self.index}"


class VerificationError(Exception):
    """A result that breaks a rule; ``violations`` names all of them."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__("; ".join(str(violation) for violation in violations))
        self.violations = violations


def find_violations(
    problem: AllocationProblem, fund_of_worker: Int32, amount_rupiah: Int64
) -> tuple[Violation, ...]:
    """Every rule that a plan breaks; empty when there is none."""
    workers, funds = len(problem.workers), len(problem.funds)
    if fund_of_worker.shape != (workers,) or amount_rupiah.shape != (workers,):
        return (Violation("one_line_per_worker", 1, 0),)
    outside = np.flatnonzero((fund_of_worker < NONE) | (fund_of_worker >= funds))
    if len(outside):
        return (Violation("fund_exists", len(outside), int(outside[0])),)
    found: list[Violation] = []
    funded = np.flatnonzero(fund_of_worker >= 0)
    payers = fund_of_worker[funded]
    for pair_rule in PAIR_RULES:
        _note(found, pair_rule.__name__, funded[~pair_rule(problem, funded, payers)])
    owed = np.zeros(workers, dtype=np.int64)
    owed[funded] = pair_cost_rupiah(problem, funded, payers)
    _note(found, "amount_matches_cost", np.flatnonzero(owed != amount_rupiah))
    for plan_rule in PLAN_RULES:
        _note(found, plan_rule.__name__, np.nonzero(~plan_rule(problem, fund_of_worker))[0])
    return tuple(found)


def verify(problem: AllocationProblem, policy: Policy, result: AllocationResult) -> None:
    """Raise ``VerificationError`` unless the plan obeys every rule and the tiers tell the truth."""
    found = list(find_violations(problem, result.fund_of_worker, result.amount_rupiah))
    if not found:
        if [tier.name for tier in result.tiers] != [tier.name for tier in policy.tiers]:
            found.append(Violation("tiers_follow_policy", 1, 0))
        for number, tier in enumerate(result.tiers):
            value = tier_value(tier.name, problem, policy, result.fund_of_worker, result.amount_rupiah)
            sign = 1.0 if tier.name in MAXIMISED else -1.0
            if not np.isclose(value, tier.value, rtol=1e-9, atol=1e-9):
                found.append(Violation("tier_value_recomputed", 1, number))
            if sign * tier.value > sign * tier.bound + 1e-9 * max(1.0, abs(tier.bound)):
                found.append(Violation("value_within_bound", 1, number))
    if found:
        raise VerificationError(tuple(found))


def _note(found: list[Violation], rule: str, places: Int64) -> None:
    if len(places):
        found.append(Violation(rule, len(places), int(places[0])))
