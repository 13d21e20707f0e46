"""Rounding keeps every worker in its own cell, however small the weights are."""

from __future__ import annotations

import numpy as np

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.cells import build_cells
from optimizer.limits import find_limits
from optimizer.market import build_market, zero_prices
from optimizer.plan import Plan, open_arcs
from optimizer.prices import gather_options
from optimizer.rounding import fill_leftovers, round_flows


def test_tiny_weights_never_push_a_draw_into_the_next_cell() -> None:
    problem = make_instance(4_000, 30, 3, SHAPES["mixed"])
    cells = build_cells(problem, problem.workers.priority.astype(np.int64))
    limits = find_limits(problem, cells)
    market = build_market(problem, cells, limits, limits.usable)
    prices = zero_prices(problem)
    arcs = open_arcs(market, gather_options(market, np.arange(cells.count), None, np.inf), prices)
    plan = Plan(cells, limits, market.room, arcs, limits.usable)
    rng = np.random.default_rng(5)
    weight = 10.0 ** -(200 * rng.random(cells.count))[arcs.cell]
    round_flows(plan, np.zeros(cells.count), weight, rng, lambda: False)
    fill_leftovers(plan, lambda: False)
    assert (plan.funded <= cells.size).all()
    assert np.array_equal(np.bincount(arcs.cell, weights=plan.flow, minlength=cells.count), plan.funded)
    assert plan.money.min() >= 0 and plan.heads.min() >= 0 and plan.room.min() >= 0
