"""Newton's method on the smooth bound: its slopes and curvature are true, and it takes the bound down."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.apportion import apportion_flows
from optimizer.cells import build_cells
from optimizer.descent import find_prices
from optimizer.limits import find_limits
from optimizer.market import Market, build_market
from optimizer.near import NearDual, gather_near
from optimizer.policy import DEFAULT_POLICY
from optimizer.prices import cell_prices, exact_bound
from optimizer.progress import Clock
from optimizer.refine import bounded_step, refine_prices
from optimizer.tiers import worker_scores


@pytest.fixture(scope="module")
def market() -> Market:
    problem = make_instance(3_000, 40, 5, SHAPES["capped"])
    cells = build_cells(problem, worker_scores(problem, DEFAULT_POLICY))
    limits = find_limits(problem, cells)
    return build_market(problem, cells, limits, limits.usable)


def never() -> bool:
    return False


def test_slope_and_curvature_are_those_of_the_smooth_bound(market: Market) -> None:
    prices = find_prices(market, Clock(60.0, None, None), 0, None, 60.0).soft
    dual = NearDual(market, gather_near(market, prices, 5.0, 0.3, 0))
    flat = dual.pack(prices)
    slope, curvature = dual.slopes(dual.shares(flat, 0.2, 1.0), 0.2)
    rng = np.random.default_rng(1)
    for _ in range(4):
        step = rng.normal(size=len(flat)) * flat * 1e-5
        above, below = dual.shares(flat + step, 0.2, 1.0), dual.shares(flat - step, 0.2, 1.0)
        slope_above, slope_below = dual.slopes(above, 0.2)[0], dual.slopes(below, 0.2)[0]
        assert (above.value - below.value) / 2 == pytest.approx(slope @ step, rel=1e-4, abs=1e-6)
        change = curvature @ step
        assert np.linalg.norm((slope_above - slope_below) / 2 - change) < 1e-3 * np.linalg.norm(change)


def test_refining_lowers_the_proven_bound_and_its_flows_fit_the_limits(market: Market) -> None:
    search = find_prices(market, Clock(60.0, None, None), 0, None, 60.0)
    before = search.bound
    fine = refine_prices(search, 1.0, 0, never)
    assert fine is not None
    assert search.bound < before
    again = exact_bound(market, search.prices, cell_prices(market, search.prices))
    assert again == pytest.approx(search.bound)
    shares = fine.dual.shares(fine.flat, fine.temperature, fine.ramp)
    spare = fine.dual.capacity - fine.dual.use(shares.share * shares.accepted[fine.dual.arcs.row])
    # At the minimiser what is scarce is used up and nothing is overdrawn.
    assert float(np.abs(spare) @ fine.flat) < 0.002 * search.bound
    assert (spare > -0.02 * np.maximum(fine.dual.capacity, 50)).all()


def test_whole_flows_miss_the_limits_by_little_and_take_nobody_twice(market: Market) -> None:
    search = find_prices(market, Clock(60.0, None, None), 0, None, 60.0)
    fine = refine_prices(search, 1.0, 0, never)
    assert fine is not None
    flows = apportion_flows(fine, np.random.default_rng(0))
    arcs = fine.dual.arcs
    assert (flows >= 0).all()
    taken = np.bincount(arcs.row, weights=flows, minlength=len(arcs.cells))
    assert (taken <= market.cells.size[arcs.cells]).all()
    accepted = fine.dual.shares(fine.flat, fine.temperature, fine.ramp).accepted
    assert np.abs(taken - accepted).max() < 3.0
    missed = np.abs(fine.dual.capacity - fine.dual.use(flows)) @ fine.flat
    assert missed < 0.15 * search.bound


def test_a_crowded_cell_keeps_its_cheapest_and_every_pool_is_kept_by_somebody(market: Market) -> None:
    prices = find_prices(market, Clock(60.0, None, None), 0, None, 60.0).soft
    wide = gather_near(market, prices, 1e9, 0.01, 0)
    reachable = set(market.lane_pool.tolist()) | set(market.pool_of_fund[market.capped_fund].tolist())
    assert set(wide.pool.tolist()) == reachable
    dual = NearDual(market, wide)
    asked = dual.asked(dual.pack(prices))
    cheapest = np.minimum.reduceat(asked, wide.start[:-1])
    assert cheapest == pytest.approx(cell_prices(market, prices)[wide.cells], abs=0.2)


def test_a_step_never_takes_a_price_below_zero_and_promises_what_it_gains() -> None:
    curvature = np.array([[2.0, 0.5], [0.5, 1.0]])
    slope = np.array([1.0, -1.0])
    step, gain, held = bounded_step(
        curvature, slope, np.array([0.1, 0.0]), np.ones(2, dtype=bool), 0.0, np.ones(2)
    )
    # The first price is stopped at zero, the second is the best given that.
    assert step == pytest.approx([-0.1, 1.05])
    assert held.tolist() == [True, False]
    assert gain == pytest.approx(-(slope @ step + 0.5 * step @ curvature @ step))
