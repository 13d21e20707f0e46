"""The hard rules, one named function each.

The name of a rule is what an officer reads as the reason. Rules about one
worker and one fund take index arrays ``workers`` and ``funds`` that broadcast
against each other and answer with a boolean array of the broadcast shape
(``True`` = allowed). Rules about a whole plan take ``fund_of_worker`` (length
N, ``NONE`` = unfunded) and answer per fund, or per fund and district.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizer.problem import NONE, AllocationProblem, Bool, Int64

Index = npt.NDArray[np.integer[Any]]
PairRule = Callable[[AllocationProblem, Index, Index], Bool]
PlanRule = Callable[[AllocationProblem, Index], Bool]


def region_accepted(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """The fund serves the worker's village."""
    return problem.funds.village_allowed[funds, problem.workers.village[workers]]


def occupation_accepted(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """The fund serves the worker's occupation."""
    return problem.funds.occupation_allowed[funds, problem.workers.occupation[workers]]


def programmes_accepted(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """The fund pays every programme of the worker's bundle."""
    return problem.funds.bundle_allowed[funds, problem.workers.bundle[workers]]


def sex_accepted(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """The fund serves the worker's sex; an unknown sex is a value of its own."""
    return problem.funds.sex_allowed[funds, problem.workers.sex[workers]]


def age_accepted(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """The worker's age is within the fund's limits; an unknown age meets no limit."""
    age = problem.workers.age[workers]
    low, high = problem.funds.age_from[funds], problem.funds.age_to[funds]
    known = age != NONE
    above = (low == NONE) | (known & (age >= low))
    below = (high == NONE) | (known & (age <= high))
    return np.asarray(above & below, dtype=np.bool_)


def months_within_limit(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """The need has no more months than the fund pays; a fund pays all of them or none."""
    limit = problem.funds.max_months[funds]
    return np.asarray((limit == NONE) | (problem.workers.months[workers] <= limit), dtype=np.bool_)


def window_covers_months(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """Every month of the need lies within the fund's window."""
    first = problem.workers.start_month[workers]
    last = first + problem.workers.months[workers] - 1
    opens, closes = problem.funds.window_from[funds], problem.funds.window_to[funds]
    return np.asarray(
        ((opens == NONE) | (opens <= first)) & ((closes == NONE) | (last <= closes)), dtype=np.bool_
    )


#: Rules about one worker and one fund, in the order in which reasons are told.
PAIR_RULES: tuple[PairRule, ...] = (
    region_accepted,
    occupation_accepted,
    programmes_accepted,
    sex_accepted,
    age_accepted,
    months_within_limit,
    window_covers_months,
)


def pair_accepted(problem: AllocationProblem, workers: Index, funds: Index) -> Bool:
    """Every pair rule allows it."""
    allowed = region_accepted(problem, workers, funds)
    for rule in PAIR_RULES[1:]:
        allowed = allowed & rule(problem, workers, funds)
    return allowed


def pair_cost_rupiah(problem: AllocationProblem, workers: Index, funds: Index) -> Int64:
    """What the fund would pay for all months of the need."""
    return problem.cost_rupiah[problem.workers.cost_class[workers], problem.funds.cost_class[funds]]


def amount_left(problem: AllocationProblem, fund_of_worker: Index) -> Bool:
    """Per fund: what it pays is within its amount."""
    return spent_rupiah(problem, fund_of_worker) <= problem.funds.amount_rupiah


def head_count_cap(problem: AllocationProblem, fund_of_worker: Index) -> Bool:
    """Per fund: its workers, approved ones included, are within its head-count cap.

    A cap that approved lines alone already exceed forbids further workers; it
    does not make the plan wrong.
    """
    new = heads_by_district(problem, fund_of_worker).sum(axis=1)
    cap = problem.funds.head_count_cap
    return np.asarray(
        (cap == NONE) | (new == 0) | (new + problem.funds.heads_used.sum(axis=1) <= cap), dtype=np.bool_
    )


def district_cap(problem: AllocationProblem, fund_of_worker: Index) -> Bool:
    """Per fund and district (F x D): its workers there are within its district cap."""
    new = heads_by_district(problem, fund_of_worker)
    cap = problem.funds.district_cap[:, None]
    return np.asarray((cap == NONE) | (new == 0) | (new + problem.funds.heads_used <= cap), dtype=np.bool_)


def min_workers(problem: AllocationProblem, fund_of_worker: Index) -> Bool:
    """Per fund: it takes no new worker, or reaches its minimum with approved ones counted."""
    new = heads_by_district(problem, fund_of_worker).sum(axis=1)
    least = problem.funds.min_workers
    return np.asarray(
        (least == NONE) | (new == 0) | (new + problem.funds.heads_used.sum(axis=1) >= least), dtype=np.bool_
    )


#: Rules about a whole plan.
PLAN_RULES: tuple[PlanRule, ...] = (amount_left, head_count_cap, district_cap, min_workers)


def spent_rupiah(problem: AllocationProblem, fund_of_worker: Index) -> Int64:
    """Rupiah per fund (F) that a plan spends, summed in integers."""
    funded = np.flatnonzero(fund_of_worker >= 0)
    funds = fund_of_worker[funded]
    spent = np.zeros(len(problem.funds), dtype=np.int64)
    np.add.at(spent, funds, pair_cost_rupiah(problem, funded, funds))
    return spent


def heads_by_district(problem: AllocationProblem, fund_of_worker: Index) -> Int64:
    """New workers per fund and district (F x D) of a plan."""
    funded = np.flatnonzero(fund_of_worker >= 0)
    district = problem.district_of_village[problem.workers.village[funded]]
    slot = fund_of_worker[funded].astype(np.int64) * problem.districts + district
    counts = np.bincount(slot, minlength=len(problem.funds) * problem.districts)
    return counts.reshape(len(problem.funds), problem.districts).astype(np.int64)
