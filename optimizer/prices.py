"""Prices of money, heads and districts: the bound, and how it is brought down.

Any non-negative prices prove a bound (docs/MODEL.md): capacities at their
prices plus, per worker, what the score exceeds the cheapest acceptable fund
by. ``exact_bound`` computes it over every arc. ``improve_prices`` lowers it by
minimising a smooth stand-in: the cheapest fund becomes a soft minimum with
temperature T, the accept/refuse step a ramp.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize

from optimizer.cells import Cells
from optimizer.limits import UNLIMITED, expand
from optimizer.market import Float, Market, pool_prices, zero_prices
from optimizer.problem import Int32, Int64
from optimizer.result import Prices

#: Options expanded at once when all arcs are read.
_CHUNK = 3_000_000

#: A descent has settled when this many iterations gain less than this fraction.
_PATIENCE, _SETTLED = 12, 1e-5

#: Score levels of the smooth model; scores up to this are exact there.
_LEVELS = 128


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """The arcs worth looking at for some cells, by cell.

    Option rows of cell ``i`` are ``start[i]:start[i + 1]``. An option is a lane
    (``lane`` >= 0, of pools) or a capped fund (``fund`` >= 0, with its district slot).
    ``cost`` is rupiah per worker. Lane ``l`` lists ``lane_pool`` rows
    ``lane_start[l]:lane_start[l + 1]``; ``lane_cost`` is its mean rupiah.
    """

    cells: Int32
    start: Int64
    lane: Int32
    fund: Int32
    slot: Int32
    cost: Float
    lane_start: Int64
    lane_pool: Int32
    lane_cost: Float


def cell_prices(market: Market, prices: Prices, surcharge: Float | None = None) -> Float:
    """Score units that the cheapest open fund asks per worker of each cell (K); inf without any."""
    cells = market.cells
    fund_price = prices.fund if surcharge is None else prices.fund + surcharge
    lane_price = _lane_minimum(market, pool_prices(market, fund_price))
    best = np.full(cells.count, np.inf)
    for fund_cost_class in range(cells.cost.shape[1]):
        lane = market.lane_of[:, fund_cost_class][cells.group]
        has = lane >= 0
        asked = cells.cost[has, fund_cost_class] * lane_price[lane[has]]
        best[has] = np.minimum(best[has], asked)
    asking = _Asking(market, prices, fund_price)
    for part in _capped_chunks(market):
        length = np.diff(market.capped_start)[cells.group[part]]
        before = np.cumsum(length) - length
        arc = np.repeat(market.capped_start[cells.group[part]] - before, length)
        arc += np.arange(len(arc))
        asked = asking.of(part, length, market.capped_fund[arc])
        some = np.flatnonzero(length)
        if len(some):
            best[part[some]] = np.minimum(best[part[some]], np.minimum.reduceat(asked, before[some]))
    return best


def exact_bound(market: Market, prices: Prices, asked: Float) -> float:
    """The proven upper bound on coverage at ``prices``; ``asked`` (K) from ``cell_prices``."""
    cells = market.cells
    above = np.concatenate([[0], np.cumsum(cells.score > np.repeat(asked, cells.size))])
    taken = above[cells.start[1:]] - above[cells.start[:-1]]
    first, last = cells.start[:-1], cells.start[:-1] + taken
    surplus = (cells.score_sum[last] - cells.score_sum[first]) - np.where(taken > 0, asked, 0.0) * taken
    return capacity_value(market, prices) + float(surplus.sum())


def capacity_value(market: Market, prices: Prices) -> float:
    """What all limits are worth at their prices."""
    limits = market.limits
    head = np.where(limits.head_room < UNLIMITED, limits.head_room, 0)
    slotted = market.room_slot >= 0
    return float(
        prices.fund @ limits.amount_rupiah.astype(np.float64)
        + prices.head @ head.astype(np.float64)
        + (prices.district[slotted] * limits.district_room[slotted]).sum()
    )


def gather_options(
    market: Market,
    chosen: npt.NDArray[np.integer],
    prices: Prices | None,
    margin: float,
) -> Options:
    """The options of the chosen cells (ascending) within ``margin`` score units of the cheapest.

    Without prices every option is kept. Cells without any option are left out.
    """
    cells, group = market.cells, market.cells.group[chosen]
    fund_price = np.zeros(len(market.problem.funds)) if prices is None else prices.fund
    keep_all = prices is None
    classes = cells.cost.shape[1]
    # Lanes of these groups, and the mean cost that converts temperature to rupiah.
    used = np.zeros(len(market.lane_start) - 1, dtype=np.bool_)
    cost_sum, heads = np.zeros(len(used)), np.zeros(len(used))
    lowest = np.full(len(used), np.inf)
    size = cells.size[chosen]
    for fund_cost_class in range(classes):
        lane = market.lane_of[:, fund_cost_class][group]
        has = lane >= 0
        used[lane[has]] = True
        cost = cells.cost[chosen[has], fund_cost_class]
        cost_sum += np.bincount(lane[has], weights=cost * size[has], minlength=len(used))
        heads += np.bincount(lane[has], weights=size[has], minlength=len(used))
        np.minimum.at(lowest, lane[has], cost)
    lane_number = np.cumsum(used) - 1
    lanes = np.flatnonzero(used)
    owner, arc = expand(market.lane_start[lanes], np.diff(market.lane_start)[lanes])
    lane_pool = market.lane_pool[arc]
    lane_price = np.zeros(len(lanes))
    if len(lanes):
        arc_price = pool_prices(market, fund_price)[lane_pool]
        rows = np.searchsorted(owner, np.arange(len(lanes)))
        lane_price = np.minimum.reduceat(arc_price, rows)
        if not keep_all:
            near = (arc_price - lane_price[owner]) * lowest[lanes][owner] <= margin
            owner, lane_pool = owner[near], lane_pool[near]
    lane_start = np.searchsorted(owner, np.arange(len(lanes) + 1))
    asking = _Asking(market, zero_prices(market.problem) if prices is None else prices, fund_price)
    # Options by cell: lanes first, then capped funds, in chunks of cells.
    parts: list[tuple[npt.NDArray[np.generic], ...]] = []
    capped_size = np.diff(market.capped_start)[group]
    for begin, end in _spans(capped_size + classes):
        here, its_group = chosen[begin:end], group[begin:end]
        rows_cell, rows_lane, rows_cost = [], [], []
        for fund_cost_class in range(classes):
            lane = market.lane_of[its_group, fund_cost_class]
            has = np.flatnonzero(lane >= 0)
            rows_cell.append(has)
            rows_lane.append(lane_number[lane[has]])
            rows_cost.append(cells.cost[here[has], fund_cost_class].astype(np.float64))
        cap_cell, arc = expand(market.capped_start[its_group], capped_size[begin:end])
        cap_fund = market.capped_fund[arc]
        cell = np.concatenate([*rows_cell, cap_cell])
        none = np.full(len(cap_cell), -1, dtype=np.int64)
        lane_row = np.concatenate([*rows_lane, none]).astype(np.int32)
        fund_row = np.full(len(cell), -1, dtype=np.int32)
        fund_row[len(cell) - len(cap_fund) :] = cap_fund
        slot_row = np.full(len(cell), -1, dtype=np.int32)
        slot_row[len(cell) - len(cap_fund) :] = market.room_slot[cap_fund, cells.district[here[cap_cell]]]
        cap_cost = cells.cost[here[cap_cell], market.fund_class[cap_fund]].astype(np.float64)
        cost_row = np.concatenate([*rows_cost, cap_cost])
        if not keep_all and prices is not None:
            asked = np.empty(len(cell))
            is_lane = lane_row >= 0
            asked[is_lane] = cost_row[is_lane] * lane_price[lane_row[is_lane]]
            asked[~is_lane] = asking.of(here, capped_size[begin:end], cap_fund)
            best = np.full(len(here), np.inf)
            np.minimum.at(best, cell, asked)
            near = asked <= best[cell] + margin
            cell, lane_row, fund_row, slot_row, cost_row = (
                cell[near], lane_row[near], fund_row[near], slot_row[near], cost_row[near],
            )  # fmt: skip
        by_cell = np.argsort(cell, kind="stable")
        parts.append(
            (
                (cell + begin)[by_cell],
                lane_row[by_cell],
                fund_row[by_cell],
                slot_row[by_cell],
                cost_row[by_cell],
            )
        )
    cell, lane_row, fund_row, slot_row, cost_row = (
        np.concatenate(column) if column else np.zeros(0, dtype=np.int32)
        for column in (zip(*parts, strict=True) if parts else [()] * 5)
    )
    kept, start = np.unique(cell, return_index=True)
    return Options(
        cells=chosen[kept].astype(np.int32),
        start=np.append(start, len(cell)).astype(np.int64),
        lane=lane_row.astype(np.int32),
        fund=fund_row.astype(np.int32),
        slot=slot_row.astype(np.int32),
        cost=cost_row.astype(np.float64),
        lane_start=lane_start.astype(np.int64),
        lane_pool=lane_pool.astype(np.int32),
        lane_cost=cost_sum[lanes] / np.maximum(heads[lanes], 1),
    )


class SurplusTable:
    """What some cells gain by a price: scores above it, counted by level.

    Scores up to 128 are exact; larger ones are rounded to 128 levels.
    """

    def __init__(self, cells: Cells, chosen: Int32, sample: npt.NDArray[np.bool_] | None = None) -> None:
        """For the ``chosen`` cells (ascending); ``sample`` (N, in cell order) keeps some of their workers."""
        self._unit = max(1.0, int(cells.score.max(initial=1)) / _LEVELS)
        levels = int(np.ceil(int(cells.score.max(initial=1)) / self._unit)) + 1
        local = np.full(cells.count, -1, dtype=np.int64)
        local[chosen] = np.arange(len(chosen))
        row = local[np.repeat(np.arange(cells.count), cells.size)]
        kept = row >= 0 if sample is None else (row >= 0) & sample
        level = np.rint(cells.score[kept] / self._unit).astype(np.int64)
        table = np.bincount(row[kept] * (levels + 1) + level, minlength=len(chosen) * (levels + 1))
        table = table.reshape(len(chosen), levels + 1)[:, ::-1]
        self._above = np.zeros((len(chosen), levels + 2), dtype=np.float32)
        self._above[:, :-1] = np.cumsum(table, axis=1)[:, ::-1]
        self._sum = np.zeros_like(self._above)
        self._sum[:, :-1] = np.cumsum(table * np.arange(levels, -1, -1), axis=1)[:, ::-1]
        self._levels = levels
        self._rows = np.arange(len(chosen))
        #: The surplus when nothing is charged, in score units.
        self.most = float(self._sum[:, 0].sum()) * self._unit

    def at(self, price: Float, ramp: float) -> tuple[float, Float, Float]:
        """Total surplus at a price per cell, workers accepted, and how many fewer per unit of price.

        Acceptance falls over ``ramp`` score units around each score (at most one level), not at once.
        """
        ramp = min(1.0, ramp / self._unit)
        x = price / self._unit
        nearest = np.clip(np.rint(x), 0, self._levels).astype(np.int64)
        above, total = self._above[self._rows, nearest + 1], self._sum[self._rows, nearest + 1]
        here = self._above[self._rows, nearest] - above
        over = nearest - x
        part = np.clip(over / ramp + 0.5, 0.0, 1.0)
        partial = np.where(over >= ramp / 2, over, ramp * part * part / 2)
        surplus = float((total - above * x + here * partial).sum()) * self._unit
        density = np.where((part > 0) & (part < 1), here / (ramp * self._unit), 0.0)
        return surplus, above + here * part, density


class SmoothDual:
    """The smooth stand-in for the bound over some options, and its gradient."""

    def __init__(
        self,
        market: Market,
        options: Options,
        weight: float = 1.0,
        sample: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """``sample`` (N, in cell order) keeps some workers, each counting ``weight`` times."""
        self.market, self.options, self.weight = market, options, weight
        cells, funds = market.cells, len(market.problem.funds)
        pools = len(market.pool_rupiah)
        self._funds, self._pools = funds, pools
        self.table = SurplusTable(cells, options.cells, sample)
        rows = np.arange(len(options.cells))
        self._row_of_option = np.repeat(rows, np.diff(options.start))
        self._is_lane = np.flatnonzero(options.lane >= 0)
        self._is_fund = np.flatnonzero(options.lane < 0)
        self._lane = options.lane[self._is_lane]
        self._lane_option_cost = options.cost[self._is_lane].astype(np.float32)
        self._fund, self._slot = options.fund[self._is_fund], options.slot[self._is_fund]
        self._in_room = np.flatnonzero(self._slot >= 0)
        self._slot = np.where(self._slot >= 0, self._slot, len(market.room)).astype(np.int32)
        self._pool = market.pool_of_fund[self._fund]
        self._fund_cost = options.cost[self._is_fund].astype(np.float32)
        self._lane_of_arc = np.repeat(np.arange(len(options.lane_cost)), np.diff(options.lane_start))
        self._arc_cost = options.lane_cost[self._lane_of_arc]
        limits = market.limits
        self._has_head = market.capped & (limits.head_room < UNLIMITED)
        self.capacity = np.concatenate(
            [market.pool_rupiah, np.where(self._has_head, limits.head_room, 0), market.room]
        ).astype(np.float64)
        is_money = np.arange(len(self.capacity)) < pools
        mean_cost = float(options.cost.mean()) if len(options.cost) else 1.0
        self.scale = 1.0 / np.sqrt(np.maximum(self.capacity, 1.0) * np.where(is_money, mean_cost, 1.0))
        reached = np.zeros(pools, dtype=np.bool_)
        reached[options.lane_pool] = True
        reached[self._pool] = True
        self.fixed = np.concatenate([~reached, ~self._has_head, np.zeros(len(market.room), dtype=np.bool_)])

    def evaluate(self, flat: Float, temperature: float, ramp: float) -> tuple[float, Float]:
        """The smooth bound at a price vector, and the use of every limit.

        Single precision per option: its noise is far below the temperature.
        """
        options, pools, funds = self.options, self._pools, self._funds
        pool_price = flat[:pools]
        head_price = flat[pools : pools + funds]
        room_price = np.append(flat[pools + funds :], 0.0)
        arcs = len(options.lane_pool)
        asked = np.empty(len(options.cost), dtype=np.float32)
        if arcs:
            arc_price = pool_price[options.lane_pool]
            low = np.minimum.reduceat(arc_price, options.lane_start[:-1])
            arc_share = ((low[self._lane_of_arc] - arc_price) * (self._arc_cost / temperature)).astype(
                np.float32
            )
            np.exp(arc_share, out=arc_share)
            lane_total = np.add.reduceat(arc_share, options.lane_start[:-1], dtype=np.float64)
            lane_price = low - (temperature / options.lane_cost) * np.log(lane_total)
            asked[self._is_lane] = self._lane_option_cost * lane_price[self._lane]
        asked[self._is_fund] = (
            self._fund_cost * pool_price[self._pool] + head_price[self._fund] + room_price[self._slot]
        )
        least = np.minimum.reduceat(asked, options.start[:-1])
        share = least[self._row_of_option]
        share -= asked
        share *= np.float32(1.0 / temperature)
        np.exp(share, out=share)
        total = np.add.reduceat(share, options.start[:-1])
        surplus, accepted, _ = self.table.at(least - temperature * np.log(total), ramp)
        surplus *= self.weight
        accepted *= self.weight
        share *= (accepted / total).astype(np.float32)[self._row_of_option]
        use = np.zeros(len(flat))
        if arcs:
            lane_flow = share[self._is_lane]
            lane_flow *= self._lane_option_cost
            paid = np.bincount(self._lane, weights=lane_flow, minlength=len(lane_total)) / lane_total
            arc_share *= paid.astype(np.float32)[self._lane_of_arc]
            use[:pools] = np.bincount(options.lane_pool, weights=arc_share, minlength=pools)
        flow = share[self._is_fund]
        use[pools : pools + funds] = np.bincount(self._fund, weights=flow, minlength=funds)
        use[pools : pools + funds][~self._has_head] = 0.0
        if len(self.market.room):
            use[pools + funds :] = np.bincount(
                self._slot[self._in_room], weights=flow[self._in_room], minlength=len(self.market.room)
            )
        flow *= self._fund_cost
        use[:pools] += np.bincount(self._pool, weights=flow, minlength=pools)
        return float(self.capacity @ flat) + surplus, use

    def pack(self, prices: Prices) -> Float:
        """Prices as one vector: pools, heads, binding district caps."""
        money = pool_prices(self.market, prices.fund)
        return np.concatenate([money, prices.head, prices.district[self.market.room_slot >= 0]])

    def unpack(self, flat: Float) -> Prices:
        """The vector as prices again."""
        district = np.zeros(self.market.room_slot.shape)
        district[self.market.room_slot >= 0] = flat[self._pools + self._funds :]
        head = flat[self._pools : self._pools + self._funds].copy()
        return Prices(flat[self.market.pool_of_fund], head, district)

    def descend(
        self, prices: Prices, temperature: float, ramp: float, steps: int, stopped: Callable[[], bool]
    ) -> Prices:
        """Minimise the smooth bound from ``prices``; at most ``steps`` evaluations."""
        flat = self.pack(prices)
        moving = np.flatnonzero(~self.fixed)
        scale = self.scale[moving]
        # One common factor keeps the objective near 1000, which the line search likes.
        unit = 1000.0 / max(1.0, self.table.most * self.weight)

        best: list[Any] = [np.inf, flat.copy()]

        def objective(scaled: Float) -> tuple[float, Float]:
            flat[moving] = scaled * scale
            value, use = self.evaluate(flat, temperature, ramp)
            if value < best[0]:
                # A search cut short ends on a trial point; the best seen is what counts.
                best[0], best[1] = value, flat.copy()
            return value * unit, (self.capacity - use)[moving] * scale * unit

        mark = [0, np.inf]

        def stop(intermediate_result: object) -> None:
            mark[0] += 1
            if mark[0] % _PATIENCE == 0:
                settled = mark[1] - best[0] < _SETTLED * abs(best[0])
                mark[1] = best[0]
                if settled:
                    raise StopIteration
            if stopped():
                raise StopIteration

        optimize.minimize(
            objective,
            flat[moving] / scale,
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, None)] * len(moving),
            callback=stop,
            options={"maxfun": steps, "maxiter": steps, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-10},
        )
        return self.unpack(best[1])


def _lane_minimum(market: Market, pool_price: Float) -> Float:
    if not len(market.lane_pool):
        return np.zeros(0)
    return np.asarray(np.minimum.reduceat(pool_price[market.lane_pool], market.lane_start[:-1]))


class _Asking:
    """What capped funds ask per worker, read from tables by cost row and by district."""

    def __init__(self, market: Market, prices: Prices, fund_price: Float) -> None:
        cells = market.cells
        self._cells, self._funds = cells, len(market.problem.funds)
        money = cells.cost_table[:, market.fund_class] * fund_price + prices.head
        self._money = np.ascontiguousarray(money).reshape(-1)
        room = np.where(market.room_slot >= 0, prices.district, 0.0)
        self._room = np.ascontiguousarray(room.T).reshape(-1) if room.any() else None

    def of(self, cell: npt.NDArray[np.integer], length: Int64, fund: Int32) -> Float:
        """Score units per arc; cell ``i`` owns the next ``length[i]`` of the ``fund`` rows."""
        asked = self._money[
            np.repeat(self._cells.cost_row[cell].astype(np.int64) * self._funds, length) + fund
        ]
        if self._room is not None:
            row = np.repeat(self._cells.district[cell].astype(np.int64) * self._funds, length)
            asked += self._room[row + fund]
        return asked


def _capped_chunks(market: Market) -> list[Int64]:
    every = np.arange(market.cells.count)
    return [every[a:b] for a, b in _spans(np.diff(market.capped_start)[market.cells.group])]


def _spans(length: Int64) -> list[tuple[int, int]]:
    """Cut rows into spans of at most ``_CHUNK`` members."""
    ends, spans, begin = np.cumsum(length), [], 0
    while begin < len(length):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
        spans.append((begin, end))
        begin = end
    return spans
