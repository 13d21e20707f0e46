"""Solve an allocation problem: problem and policy in, verified result out.

The steps, in order: gather cells, close hopeless funds, find prices (the
bound), round to whole workers, improve, look after minimums and later tiers,
name the workers, verify. Small problems go on to an exact search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from optimizer.apportion import apportion_flows, name_funds, near_pairs, place_flows
from optimizer.assignment import assign_workers
from optimizer.cells import build_cells
from optimizer.descent import PriceSearch, find_prices, soft_weights
from optimizer.exchange import exchange_workers
from optimizer.later_tiers import (
    apbd_bound,
    cohesion_bound,
    equity_bound,
    floor_for,
    forced_changes,
    raise_poorest_district,
    shift_to_companies,
)
from optimizer.limits import find_limits
from optimizer.market import Market, build_market, score_unit
from optimizer.minimums import meet_minimums
from optimizer.plan import Plan, make_arcs, open_arcs
from optimizer.policy import Policy
from optimizer.prices import gather_options
from optimizer.problem import NONE, AllocationProblem, Int32, Int64
from optimizer.progress import Clock, Progress
from optimizer.refine import Refined, refine_prices
from optimizer.replan import resume_plan
from optimizer.result import AllocationResult, Prices, Status, TierResult
from optimizer.rounding import fill_leftovers, round_flows
from optimizer.rules import pair_accepted, pair_cost_rupiah
from optimizer.tiers import covered_by_district, relative_gap, tier_value, worker_scores
from optimizer.verify import verify
from optimizer.widen import widen_plan

if TYPE_CHECKING:
    from optimizer.exact import ExactOutcome

__all__ = ["Progress", "solve"]

#: Up to so many arcs (cell x fund) rounding has all of them at hand.
_FEW_ARCS = 400_000

#: Else those within so many units (mean score / 50) of the cheapest; without soft flows, so many a lane.
_NEAR, _MOST_PER_LANE = 0.5, 32

#: Plans made for so many workers in all, and at most so many.
_PLANNED_WORKERS, _MOST_PLANS = 24_000, 16

#: Up to how many units above the cheapest funded cells are looked at for what funds have left.
_REACH = 3.0

#: How much worse than the last full solve a warm plan's gap may be.
_WARM_LOSS = 0.0005

#: Largest number of worker-fund pairs that is tried exactly.
EXACT_PAIRS = 6_000

#: Pairs from which coverage goes to branch and bound first (below, CP-SAT closes it at once), and the
#: share of the time that is left which it may take.
_BRANCHED, _BRANCHED_SHARE = 200, 0.7

#: Rounds of exchanges after a warm start: the first few bring nearly all.
_WARM_ROUNDS = 6


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
    """Match needs to funds under ``policy``; the result has passed ``verify``.

    ``previous`` are the prices of an earlier run over the same funds: a warm
    start. A time limit or a cancel returns the best verified plan so far with
    its honest gap. Raises ``VerificationError`` only on a defect.
    """
    clock = Clock(time_limit_seconds, on_progress, cancelled)
    scores = worker_scores(problem, policy)
    with clock.phase("cells"):
        cells = build_cells(problem, scores)
        limits = find_limits(problem, cells)
        market = build_market(problem, cells, limits, limits.usable)
    warm = _replan(problem, policy, market, previous, clock, seed)
    if warm is not None:
        search, plan = warm
    else:
        # On a full machine threads of linear algebra wait for each other many times longer than they work.
        with threadpool_limits(1, user_api="blas"):
            with clock.phase("prices"):
                search = find_prices(market, clock, seed, previous, 0.3 * time_limit_seconds)
                fine = refine_prices(search, score_unit(market), seed, _until(clock, 0.5))
            with clock.phase("rounding"):
                plan = _best_plan(market, search, fine, clock, seed)
        with clock.phase("tiers"):
            _serve_later_tiers(problem, policy, plan, clock)
    with clock.phase("naming"):
        fund_of_worker = assign_workers(problem, plan)
    coverage_bound = _floored(min(search.bound, float(scores.sum())))
    exact = None
    pairs = int(cells.degree[cells.group] @ cells.size)
    if not clock.stopped and 0 < pairs <= EXACT_PAIRS:
        with clock.phase("exact"):
            fund_of_worker, coverage_bound, exact = _solve_small(
                problem, policy, scores, search, coverage_bound, fund_of_worker, pairs, clock, seed
            )
    with clock.phase("bounds"):
        amount = np.zeros(len(problem.workers), dtype=np.int64)
        funded = np.flatnonzero(fund_of_worker >= 0)
        amount[funded] = pair_cost_rupiah(problem, funded, fund_of_worker[funded])
        tiers = _measure(
            problem, policy, market, search, coverage_bound, fund_of_worker, amount, scores, exact, clock
        )
    proven = all(tier.proven for tier in tiers)
    result = AllocationResult(
        status=Status.CANCELLED if clock.was_cancelled else Status.OPTIMAL if proven else Status.FEASIBLE,
        fund_of_worker=fund_of_worker,
        amount_rupiah=amount,
        tiers=tiers,
        prices=replace(search.prices, gap=tiers[0].gap if warm is None or previous is None else previous.gap),
        seconds=clock.phases,
    )
    with clock.phase("verify"):
        verify(problem, policy, result)
    clock.report("done", value=tiers[0].value, bound=tiers[0].bound)
    return result


def _solve_small(
    problem: AllocationProblem,
    policy: Policy,
    scores: Int64,
    search: PriceSearch,
    coverage_bound: int,
    fund_of_worker: Int32,
    pairs: int,
    clock: Clock,
    seed: int,
) -> tuple[Int32, int, ExactOutcome | None]:
    """A small problem to the proof: plan, bound of coverage, tiers. Many ``pairs`` are branched on first."""
    # Importing OR-Tools takes a second, so only matches that use it pay for it.
    from optimizer.exact import solve_exactly
    from optimizer.prove_coverage import prove_coverage

    if pairs >= _BRANCHED and policy.tiers[0].name == "coverage":
        proof = prove_coverage(
            problem, scores, search.market.limits.usable, search.prices, search.bound, fund_of_worker, clock,
            _BRANCHED_SHARE * clock.left_seconds, seed,
        )  # fmt: skip
        fund_of_worker, coverage_bound = proof.fund_of_worker, min(coverage_bound, proof.bound)
        clock.report("exact", value=float(proof.value), bound=float(coverage_bound))
    exact = solve_exactly(problem, policy, fund_of_worker, coverage_bound, clock, seed)
    return fund_of_worker if exact is None else exact.fund_of_worker, coverage_bound, exact


def _replan(
    problem: AllocationProblem,
    policy: Policy,
    market: Market,
    previous: Prices | None,
    clock: Clock,
    seed: int,
) -> tuple[PriceSearch, Plan] | None:
    """The warm path: standing prices and proposals; ``None`` when it does not come near enough."""
    if previous is None or previous.fund.shape != (len(problem.funds),) or not len(problem.workers):
        return None
    if not (problem.workers.current_fund != NONE).any():
        return None
    with clock.phase("replan"):
        search = PriceSearch(market, clock)
        search.offer(previous)
        unit = score_unit(market)
        plan = resume_plan(problem, market, search, 3.0 * unit)
        weight = soft_weights(plan.arcs.price, plan.arcs.cell, market.cells.count, 0.2 * unit)
        stopped = _until(clock, 0.5)
        round_flows(plan, search.asked, weight, np.random.default_rng(seed), stopped)
        fill_leftovers(plan, _never)
        exchange_workers(plan, stopped, rounds=_WARM_ROUNDS)
        meet_minimums(plan, stopped)
        fill_leftovers(plan, _never)
        # What later tiers may take of coverage they took in the full solve: not again in every run.
        _serve_later_tiers(problem, policy, plan, clock, int(search.bound * (1.0 - previous.gap)))
    gap = (search.bound - plan.value()) / max(1.0, search.bound)
    usual = 0.0004 + 0.12 * len(problem.funds) / len(problem.workers)
    return (search, plan) if gap <= max(usual, previous.gap) + _WARM_LOSS else None


def _best_plan(market: Market, search: PriceSearch, fine: Refined | None, clock: Clock, seed: int) -> Plan:
    """The best of several plans where that is cheap: in a small match rounding's luck weighs most."""
    tries = min(_MOST_PLANS, _PLANNED_WORKERS // max(1, len(market.cells.score)))
    stopped = _until(clock, 0.6)
    best = _make_plan(market, search, fine, clock, seed)
    for number in range(1, tries):
        if stopped():
            break
        other = _make_plan(market, search, fine, clock, seed + number)
        if other.value() > best.value():
            best = other
    return best


def _make_plan(market: Market, search: PriceSearch, fine: Refined | None, clock: Clock, seed: int) -> Plan:
    """Whole workers on arcs: made whole from the soft flows, filled, exchanged, minimums kept."""
    cells, unit = market.cells, score_unit(market)
    rng = np.random.default_rng(seed)
    every = int((np.diff(cells.arc_start)[cells.group]).sum()) <= _FEW_ARCS
    if fine is None or every:
        margin = np.inf if every else unit
        options = gather_options(market, np.arange(cells.count), None if every else search.soft, margin)
        arcs = open_arcs(market, options, search.prices, 1 << 30 if every else _MOST_PER_LANE)
    if fine is not None:
        cell, fund = name_funds(market, fine, apportion_flows(fine, rng), rng)
        if not every:
            arcs = make_arcs(market, *near_pairs(market, fine, cell, fund, _NEAR * unit, rng), search.prices)
    plan = Plan(cells, market.limits, market.room, arcs, market.limits.usable)
    if not len(arcs.fund):
        return plan
    if fine is not None:
        place_flows(plan, cell, fund, rng)
    stopped = _until(clock, 0.85)
    temperature = fine.temperature if fine is not None else search.temperature
    weight = soft_weights(arcs.price, arcs.cell, cells.count, temperature)
    round_flows(plan, search.asked, weight, rng, stopped)
    clock.report("fill", value=plan.value())
    fill_leftovers(plan, _never)
    least_gain = 3e-6 if len(cells.score) > 20_000 else 0.0
    exchange_workers(plan, stopped, least_gain=least_gain)
    meet_minimums(plan, stopped)
    clock.report("exchange", value=plan.value())
    wider = None if every else widen_plan(plan, market, search.prices, least=unit, reach=_REACH * unit)
    if wider is not None:
        plan = wider
        fill_leftovers(plan, _never)
    exchange_workers(plan, stopped, least_gain=least_gain)
    fill_leftovers(plan, _never)
    return plan


def _serve_later_tiers(
    problem: AllocationProblem, policy: Policy, plan: Plan, clock: Clock, least: int = 0
) -> None:
    """Improve the tiers after coverage within their allowances; coverage stays at ``least`` or above."""
    stopped = _until(clock, 0.9)
    value = plan.value()
    for number, tier in enumerate(policy.tiers):
        if tier.name == "equity":
            floor = min(value, max(least, floor_for(policy, value, 0, number)))
            raise_poorest_district(plan, covered_by_district(problem), floor, stopped)
        if tier.name == "apbd_saving":
            shift_to_companies(plan, problem.funds.kind, problem.funds.expiry_rank, stopped)


def _measure(
    problem: AllocationProblem,
    policy: Policy,
    market: Market,
    search: PriceSearch,
    coverage_bound: int,
    fund_of_worker: Int32,
    amount: Int64,
    scores: Int64,
    exact: ExactOutcome | None,
    clock: Clock,
) -> tuple[TierResult, ...]:
    """Value, bound and gap of every tier; exact bounds where the exact search got to."""
    solved = {tier.name: tier for tier in exact.tiers} if exact is not None else {}
    tiers: list[TierResult] = []
    coverage = 0.0
    for number, tier in enumerate(policy.tiers):
        begin = clock.seconds
        value = tier_value(tier.name, problem, policy, fund_of_worker, amount)
        floor = floor_for(policy, coverage, 0, number)
        seconds = 0.0
        if tier.name in solved:
            bound, seconds = solved[tier.name].bound, solved[tier.name].seconds
        elif tier.name == "coverage":
            bound, seconds = float(coverage_bound), sum(clock.phases.values())
        elif tier.name == "equity":
            bound = max(value, equity_bound(market, search.asked, search.bound, floor))
        elif tier.name == "apbd_saving":
            bound = min(value, float(apbd_bound(market, search.prices, floor, value)))
        elif tier.name == "stability":
            bound = min(value, float(forced_changes(problem, _still_accepted(problem, market))))
        else:
            bound = min(value, float(cohesion_bound(problem, scores, floor)))
        coverage = value if tier.name == "coverage" else coverage
        gap = relative_gap(tier.name, value, bound)
        proven = abs(value - bound) <= 1e-9 * max(1.0, abs(bound))
        if tier.name in solved:
            # Solved to the proof; a distance that remains is what later tiers were allowed to take.
            proven = solved[tier.name].value == solved[tier.name].bound
        tiers.append(TierResult(tier.name, value, bound, gap, seconds + clock.seconds - begin, proven))
    return tuple(tiers)


def _still_accepted(problem: AllocationProblem, market: Market) -> Int64:
    """Per worker (N) whether its current fund can still carry it at all."""
    current = problem.workers.current_fund
    answer = np.zeros(len(current), dtype=np.int64)
    held = np.flatnonzero(current != NONE)
    funds = current[held]
    answer[held] = pair_accepted(problem, held, funds) & market.limits.usable[funds]
    return answer


def _floored(bound: float) -> int:
    """An integer bound for an integer value, safe against rounding of the floating sum."""
    return int(np.floor(bound * (1 + 1e-12) + 1e-6))


def _until(clock: Clock, share: float) -> Callable[[], bool]:
    """A question that says stop once a share of the time limit has passed."""
    limit = share * (clock.seconds + clock.left_seconds)
    return lambda: clock.was_cancelled or clock.seconds > limit


def _never() -> bool:
    return False
