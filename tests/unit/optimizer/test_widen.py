"""Widening: a fund with money left meets those whom the arcs at hand left out, and no limit gives way."""

from __future__ import annotations

import numpy as np

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.cells import build_cells
from optimizer.descent import find_prices
from optimizer.limits import find_limits
from optimizer.market import Market, build_market
from optimizer.plan import Plan, make_arcs
from optimizer.policy import DEFAULT_POLICY
from optimizer.problem import Int64
from optimizer.progress import Clock
from optimizer.result import Prices
from optimizer.rounding import fill_leftovers
from optimizer.tiers import worker_scores
from optimizer.widen import widen_plan, worth_left


def never() -> bool:
    return False


def open_market(workers: int, funds: int) -> tuple[Market, Prices]:
    """A capped instance with its prices."""
    problem = make_instance(workers, funds, 4, SHAPES["capped"])
    cells = build_cells(problem, worker_scores(problem, DEFAULT_POLICY))
    limits = find_limits(problem, cells)
    market = build_market(problem, cells, limits, limits.usable)
    return market, find_prices(market, Clock(60.0, None, None), 0, None, 60.0).prices


def test_money_that_near_arcs_leave_unspent_finds_takers_and_limits_hold() -> None:
    market, prices = open_market(2_000, 30)
    problem, cells, limits = market.problem, market.cells, market.limits
    # Every cell starts with the first fund that accepts it, so the others have all their money left.
    has = np.flatnonzero(cells.degree[cells.group] > 0)
    first: Int64 = cells.arc_fund[cells.arc_start[cells.group[has]]].astype(np.int64)
    plan = Plan(cells, limits, market.room, make_arcs(market, has, first, prices), limits.usable)
    fill_leftovers(plan, never)
    value, left = plan.value(), worth_left(plan, market, prices).sum()

    wider = widen_plan(plan, market, prices, least=1.0, reach=1.0)

    assert wider is not None
    assert wider.value() == value, "nobody is moved by widening itself"
    assert (wider.arcs.start == np.searchsorted(wider.arcs.cell, np.arange(cells.count + 1))).all()
    pairs = wider.arcs.cell.astype(np.int64) * len(problem.funds) + wider.arcs.fund
    assert len(np.unique(pairs)) == len(pairs), "an arc stands once"
    group_of_arc = cells.group[wider.arcs.cell]
    for group, fund in set(zip(group_of_arc.tolist(), wider.arcs.fund.tolist(), strict=True)):
        assert fund in cells.arc_fund[cells.arc_start[group] : cells.arc_start[group + 1]], (
            "the rules allow it"
        )
    fill_leftovers(wider, never)
    assert wider.value() > value * 1.2
    assert worth_left(wider, market, prices).sum() < left / 2
    assert (wider.money >= 0).all()
    assert (wider.heads >= 0).all()
    assert (wider.room >= 0).all()
    spent = np.bincount(wider.arcs.fund, weights=wider.flow * wider.arcs.cost, minlength=len(problem.funds))
    assert (spent == limits.amount_rupiah - wider.money).all()


def test_a_plan_that_leaves_nothing_of_worth_stays_as_it_is() -> None:
    market, prices = open_market(500, 10)
    nobody = np.zeros(0, dtype=np.int64)
    arcs = make_arcs(market, nobody, nobody, prices)
    plan = Plan(market.cells, market.limits, market.room, arcs, market.limits.usable)
    assert widen_plan(plan, market, prices, least=1e12, reach=1.0) is None
