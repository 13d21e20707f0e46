"""Find prices that are near the best: from nothing, over a sample of the workers.

The minimisers of the smooth bound move almost linearly with the temperature,
so two of them predict the minimiser at zero: that extrapolation is worth more
than many cold steps (docs/MODEL.md, "Prices").
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optimizer.market import Float, Market, has_many_limits, pool_prices, score_unit, zero_prices
from optimizer.prices import SmoothDual, capacity_value, cell_prices, exact_bound, gather_options
from optimizer.problem import Bool, Int32, Int64
from optimizer.progress import Clock
from optimizer.result import Prices

#: Workers in the coarse sample, at least so many per fund; problems up to twice its size skip it.
_SAMPLE, _SAMPLE_PER_FUND = 32_000, 32

#: Temperatures in units of the mean score / 50; ``optimizer.refine`` goes on from the last.
_COARSE = (1.5, 0.5, 0.2)

#: Evaluations per temperature, and with more than so many limits.
_STEPS = 50
_MORE_STEPS = 100


class PriceSearch:
    """The best prices so far and the bound that they prove."""

    def __init__(self, market: Market, clock: Clock) -> None:
        self.market, self.clock = market, clock
        self.prices = zero_prices(market.problem)
        self.asked = np.zeros(0)
        self.bound = np.inf
        self.soft = self.prices
        self.temperature = 0.2

    def offer(self, prices: Prices) -> float:
        """Evaluate prices exactly; keep them when they prove a better bound."""
        prices = unify(self.market, prices)
        asked = cell_prices(self.market, prices)
        bound = exact_bound(self.market, prices, asked)
        if bound < self.bound:
            self.prices, self.asked, self.bound = prices, asked, bound
            self.clock.report("prices", bound=bound)
        return bound

    def rescale(self) -> None:
        """Multiply all prices by the best common factor: an exact line search.

        With every price scaled alike each cell keeps its cheapest fund, so the
        bound is piecewise linear in the factor with kinks at score / price.
        """
        cells = self.market.cells
        asked = np.repeat(self.asked, cells.size)
        buys = np.flatnonzero(np.isfinite(asked) & (asked > 0))
        worth = capacity_value(self.market, self.prices)
        if worth <= 0 or not len(buys):
            return
        factor = cells.score[buys] / asked[buys]
        order = np.argsort(-factor, kind="stable")
        spent = np.cumsum(asked[buys][order])
        at = min(int(np.searchsorted(spent, worth * (1 - 1e-12))), len(order) - 1)
        best = float(factor[order[at]]) if spent[-1] >= worth * (1 - 1e-12) else 0.0
        old = self.prices
        self.offer(Prices(old.fund * best, old.head * best, old.district * best))


def find_prices(
    market: Market,
    clock: Clock,
    seed: int,
    previous: Prices | None,
    deadline_seconds: float,
) -> PriceSearch:
    """Search for prices until they have settled or ``deadline_seconds`` on the clock."""
    search = PriceSearch(market, clock)
    search.offer(zero_prices(market.problem))
    cells = market.cells
    unit = score_unit(market)

    def stopped() -> bool:
        return clock.was_cancelled or clock.seconds > deadline_seconds

    if not len(market.lane_pool) and not len(market.capped_fund):
        return search
    warm = previous is not None and previous.fund.shape == search.prices.fund.shape
    if warm and previous is not None:
        search.offer(previous)
    else:
        search.offer(_even_prices(market))
        search.rescale()
    start = search.prices
    workers = len(cells.score)
    sampled = max(_SAMPLE, _SAMPLE_PER_FUND * len(market.problem.funds))
    if warm:
        search.soft = start
    elif workers > 2 * sampled:
        rng = np.random.default_rng(seed)
        sample = np.zeros(workers, dtype=np.bool_)
        sample[rng.choice(workers, sampled, replace=False)] = True
        chosen = np.unique(np.repeat(np.arange(cells.count), cells.size)[sample])
        _anneal(search, chosen, workers / sampled, sample, start, unit, stopped)
    elif not stopped():
        _anneal(search, np.arange(cells.count), 1.0, None, start, unit, stopped)
    search.rescale()
    return search


def _anneal(
    search: PriceSearch,
    chosen: Int64,
    weight: float,
    sample: Bool | None,
    start: Prices,
    unit: float,
    stopped: Callable[[], bool],
) -> None:
    """Descend at falling temperatures over every option; each next start is extrapolated from the last two.

    Every option, since far from the best prices those that look hopeless are not.
    """
    options = gather_options(search.market, chosen, None, np.inf)
    if not len(options.cells):
        return
    dual = SmoothDual(search.market, options, weight, sample)
    steps = _MORE_STEPS if has_many_limits(search.market) else _STEPS
    path: list[tuple[float, Float]] = []
    for number, temperature in enumerate(_COARSE):
        found = dual.descend(start, temperature * unit, np.inf, steps, stopped)
        path.append((temperature, dual.pack(found)))
        search.soft, search.temperature = found, temperature * unit
        search.offer(found)
        start = found
        if len(path) > 1:
            zero = search.offer(dual.unpack(extrapolate(path, 0.0)))
            if number + 1 < len(_COARSE) and zero <= search.bound:
                start = dual.unpack(extrapolate(path, _COARSE[number + 1]))
        if stopped():
            return


def extrapolate(path: list[tuple[float, Float]], temperature: float) -> Float:
    """Where the line through the last two minimisers is at another temperature; never below zero."""
    (hot, first), (cold, second) = path[-2:]
    return np.maximum(0.0, second + (second - first) * (cold - temperature) / (hot - cold))


def _even_prices(market: Market) -> Prices:
    """One price for every fund's rupiah, nothing for heads; the right level is found by ``rescale``."""
    nothing = zero_prices(market.problem)
    level = float(market.cells.score.mean()) / float(market.cells.cost.mean())
    return Prices(np.full_like(nothing.fund, level), nothing.head, nothing.district)


def unify(market: Market, prices: Prices) -> Prices:
    """Valid prices for this market: none negative, one per pool, none where no cap can bind."""
    fund = np.nan_to_num(np.maximum(0.0, prices.fund))
    fund = pool_prices(market, fund)[market.pool_of_fund]
    fund = np.where(market.limits.usable, fund, 0.0)
    head = np.where(market.capped, np.nan_to_num(np.maximum(0.0, prices.head)), 0.0)
    head = np.where(market.limits.head_room < (1 << 60), head, 0.0)
    district = np.zeros(market.room_slot.shape)
    if prices.district.shape == district.shape:
        slotted = market.room_slot >= 0
        district[slotted] = np.nan_to_num(np.maximum(0.0, prices.district[slotted]))
    return Prices(fund, head, district)


def soft_weights(price: Float, cell: Int64 | Int32, count: int, temperature: float) -> Float:
    """How much of a cell's flow each arc should carry at a temperature, up to a factor per cell."""
    low = np.full(count, np.inf)
    np.minimum.at(low, cell, price)
    return np.asarray(np.exp(-(price - low[cell]) / temperature))
