"""The arcs near the cheapest, spelled out by cell and pool, and the smooth bound over them.

Close to the best prices most of a cell's options are out of the question and
many of the others cost the same. Spelled out one by one, the few that are left
give not only the slope of the smooth bound but also its curvature, which
``optimizer.refine`` needs, and the flows that ``optimizer.apportion`` makes whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from optimizer.limits import UNLIMITED, expand
from optimizer.market import Float, Market, pool_prices
from optimizer.prices import Options, SurplusTable, gather_options
from optimizer.problem import Int32, Int64
from optimizer.result import Prices

#: Arcs that a cell keeps at the most; every pool keeps at least so many cells, if it has them near.
_MOST_PER_CELL, _LEAST_PER_POOL = 32, 200

#: Cells that the curvature is taken over, about.
_CURVED = 16_000

#: Arcs spelled out at once.
_CHUNK = 3_000_000


@dataclass(frozen=True, slots=True, eq=False)
class NearArcs:
    """Pairs of cell and pool near the cheapest, by cell.

    Rows of ``cells[i]`` are ``start[i]:start[i + 1]``; ``row`` (A) is that ``i``. ``cost``
    (A) is rupiah per worker. ``head_at`` lists the rows whose fund has a head cap and
    ``head`` that fund; ``slot_at`` and ``slot`` the same for district caps.
    """

    cells: Int32
    start: Int64
    row: Int32
    pool: Int32
    cost: Float
    head_at: Int64
    head: Int32
    slot_at: Int64
    slot: Int32


def gather_near(market: Market, prices: Prices, margin: float, noise: float, seed: int) -> NearArcs:
    """Arcs within ``margin`` score units of each cell's cheapest.

    A cell with more than 32 keeps a draw of them: the cheaper, measured in
    ``noise`` score units, the likelier. Every pool keeps its 200 likeliest cells.
    """
    options = gather_options(market, np.arange(market.cells.count), prices, margin)
    rng = np.random.default_rng(seed)
    flat = np.ones(len(options.cost), dtype=np.int64)
    flat[options.lane >= 0] = np.diff(options.lane_start)[options.lane[options.lane >= 0]]
    through = np.concatenate([[0], np.cumsum(flat)])[options.start]
    parts = []
    low, last = 0, len(options.cells)
    while low < last:
        high = max(low + 1, int(np.searchsorted(through, through[low] + _CHUNK, side="right")) - 1)
        parts.append(_spell_out(market, options, prices, low, high, noise, rng))
        low = high
    if parts:
        row, pool, cost, fund, slot = (np.concatenate(column) for column in zip(*parts, strict=True))
    else:
        row = pool = fund = slot = np.zeros(0, dtype=np.int32)
        cost = np.zeros(0)
    has_head = market.capped & (market.limits.head_room < UNLIMITED)
    head_at = np.flatnonzero((fund >= 0) & has_head[fund]) if len(fund) else np.zeros(0, dtype=np.int64)
    slot_at = np.flatnonzero(slot >= 0)
    return NearArcs(
        cells=options.cells,
        start=np.searchsorted(row, np.arange(last + 1)),
        row=row,
        pool=pool,
        cost=cost,
        head_at=head_at,
        head=fund[head_at],
        slot_at=slot_at,
        slot=slot[slot_at],
    )


def _spell_out(
    market: Market,
    options: Options,
    prices: Prices,
    low: int,
    high: int,
    noise: float,
    rng: np.random.Generator,
) -> tuple[Int32, Int32, Float, Int32, Int32]:
    """Row, pool, rupiah, capped fund and district slot (-1: none) of the arcs of some option cells."""
    here = np.arange(options.start[low], options.start[high])
    lane = options.lane[here]
    length, begin = np.ones(len(here), dtype=np.int64), np.zeros(len(here), dtype=np.int64)
    of_lane = lane >= 0
    length[of_lane] = np.diff(options.lane_start)[lane[of_lane]]
    begin[of_lane] = options.lane_start[lane[of_lane]]
    owner, member = expand(begin, length)
    row = np.repeat(np.arange(low, high, dtype=np.int32), np.diff(options.start[low : high + 1]))[owner]
    fund, slot, cost = options.fund[here][owner], options.slot[here][owner], options.cost[here][owner]
    in_lane = of_lane[owner]
    pool = np.empty(len(owner), dtype=np.int32)
    pool[in_lane] = options.lane_pool[member[in_lane]]
    single = ~in_lane
    pool[single] = market.pool_of_fund[fund[single]]
    first = np.searchsorted(row, np.arange(low, high + 1))
    if int(np.diff(first).max(initial=0)) <= _MOST_PER_CELL:
        return row, pool, cost, fund, slot
    asked = cost * pool_prices(market, prices.fund)[pool]
    district = market.cells.district[options.cells[row[single]]]
    asked[single] += prices.head[fund[single]]
    asked[single] += np.where(slot[single] >= 0, prices.district[fund[single], district], 0.0)
    # The lowest sums of price and Gumbel noise are a draw without replacement by soft flow.
    asked += rng.gumbel(scale=noise, size=len(asked))
    order = _sort_within(row, asked)
    kept = np.zeros(len(row), dtype=np.bool_)
    kept[order[np.arange(len(row)) - first[row - low] < _MOST_PER_CELL]] = True
    asked -= np.minimum.reduceat(asked, first[:-1])[row - low]
    by_pool = _sort_within(pool, asked)
    begin_pool = np.searchsorted(pool[by_pool], pool[by_pool])
    kept[by_pool[np.arange(len(row)) - begin_pool < _LEAST_PER_POOL]] = True
    chosen = np.flatnonzero(kept)
    return row[chosen], pool[chosen], cost[chosen], fund[chosen], slot[chosen]


def _sort_within(group: Int32, value: Float) -> Int64:
    """The order by group and in it by value; as ``lexsort`` but for near ties, with one key and one sort."""
    least, most = float(value.min(initial=np.inf)), float(value.max(initial=-np.inf))
    key = (value - least) * (0.999 / max(most - least, 1e-300))
    key += group
    return np.argsort(key)


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """The smooth bound ``value``, each arc's ``share`` of its cell (A), and per cell the workers
    ``accepted`` and their ``density`` by price."""

    value: float
    share: Float
    accepted: Float
    density: Float


class NearDual:
    """The smooth bound over near arcs, with gradient and Hessian.

    A price vector is one price per pool (score units per rupiah), per fund's
    head and per binding district cap, as in ``prices.SmoothDual``.
    """

    def __init__(self, market: Market, arcs: NearArcs) -> None:
        """Tables of the scores and the places of the arcs in the Hessian."""
        self.market, self.arcs = market, arcs
        pools, funds, rooms = len(market.pool_rupiah), len(market.problem.funds), len(market.room)
        self.pools, self.funds, self.size = pools, funds, pools + funds + rooms
        self.surplus = SurplusTable(market.cells, arcs.cells)
        self._pool = arcs.pool.astype(np.int64)
        self._head = pools + arcs.head.astype(np.int64)
        self._slot = pools + funds + arcs.slot.astype(np.int64)
        has_head = market.capped & (market.limits.head_room < UNLIMITED)
        self.capacity = np.concatenate(
            [market.pool_rupiah, np.where(has_head, market.limits.head_room, 0), market.room]
        ).astype(np.float64)
        self.reached = np.zeros(self.size, dtype=np.bool_)
        for places in (self._pool, self._head, self._slot):
            self.reached[places] = True
        self._curvature = _Curvature(self, _pick_cells(market, arcs))
        # How much curvature a limit has when all of it is in use at a tie, per unit of temperature.
        mean_cost = np.bincount(self._pool, weights=arcs.cost, minlength=self.size) / np.maximum(
            1, np.bincount(self._pool, minlength=self.size)
        )
        self._natural = np.maximum(self.capacity, 1.0) * np.maximum(mean_cost, 1.0)

    def scale(self, temperature: float) -> Float:
        """What one unit of every price should be, so that all have alike curvature."""
        return np.asarray(np.sqrt(temperature / self._natural))

    def asked(self, flat: Float) -> Float:
        """What every arc asks of a worker, in score units (A)."""
        arcs = self.arcs
        asked = arcs.cost * flat[arcs.pool]
        asked[arcs.head_at] += flat[self._head]
        asked[arcs.slot_at] += flat[self._slot]
        return asked

    def shares(self, flat: Float, temperature: float, ramp: float) -> Shares:
        """How the workers of each cell spread over its arcs at these prices."""
        arcs = self.arcs
        asked = self.asked(flat)
        first = arcs.start[:-1]
        least = np.minimum.reduceat(asked, first)
        share = least[arcs.row]
        share -= asked
        share /= temperature
        np.exp(share, out=share)
        total = np.add.reduceat(share, first)
        share /= total[arcs.row]
        surplus, accepted, density = self.surplus.at(least - temperature * np.log(total), ramp)
        return Shares(float(self.capacity @ flat) + surplus, share, accepted, density)

    def slopes(self, shares: Shares, temperature: float) -> tuple[Float, Float]:
        """Gradient and Hessian of the smooth bound where ``shares`` were taken."""
        gradient = self.capacity - self.use(shares.share * shares.accepted[self.arcs.row])
        return gradient, self._curvature.at(shares.share, shares.accepted, shares.density, temperature)

    def use(self, flow: npt.NDArray[Any]) -> Float:
        """How much of every limit the flow on arcs (A, workers) uses."""
        arcs = self.arcs
        use = np.bincount(self._pool, weights=flow * arcs.cost, minlength=self.size)
        use += np.bincount(self._head, weights=flow[arcs.head_at], minlength=self.size)
        use += np.bincount(self._slot, weights=flow[arcs.slot_at], minlength=self.size)
        return np.asarray(use)

    def pack(self, prices: Prices) -> Float:
        """Prices as one vector."""
        money = pool_prices(self.market, prices.fund)
        return np.concatenate([money, prices.head, prices.district[self.market.room_slot >= 0]])

    def unpack(self, flat: Float) -> Prices:
        """The vector as prices again."""
        district = np.zeros(self.market.room_slot.shape)
        district[self.market.room_slot >= 0] = flat[self.pools + self.funds :]
        head = flat[self.pools : self.pools + self.funds].copy()
        return Prices(flat[self.market.pool_of_fund], head, district)


def _pick_cells(market: Market, arcs: NearArcs) -> tuple[Int64, Float]:
    """Cells that the curvature is taken over, as places in ``arcs.cells``, and what each stands for.

    All of them, or a draw in proportion to their workers: a step needs its direction, not every digit.
    """
    size = market.cells.size[arcs.cells].astype(np.float64)
    if len(size) <= _CURVED:
        return np.arange(len(size)), np.ones(len(size))
    chance = np.minimum(1.0, _CURVED * size / size.sum())
    picked = np.flatnonzero(np.random.default_rng(len(size)).random(len(size)) < chance)
    return picked, 1.0 / chance[picked]


class _Curvature:
    """Where the arcs of some cells stand in the Hessian of the smooth bound."""

    def __init__(self, dual: NearDual, picked: tuple[Int64, Float]) -> None:
        arcs, self._size = dual.arcs, dual.size
        self._cells, self._weight = picked
        rows, self._at = expand(arcs.start[self._cells], np.diff(arcs.start)[self._cells])
        self._row = rows
        self._pool = arcs.pool[self._at].astype(np.int64)
        self._cost = arcs.cost[self._at]
        head, slot = np.full(len(arcs.row), -1, dtype=np.int64), np.full(len(arcs.row), -1, dtype=np.int64)
        head[arcs.head_at] = dual.pools + arcs.head.astype(np.int64)
        slot[arcs.slot_at] = dual.pools + dual.funds + arcs.slot.astype(np.int64)
        head, slot = head[self._at], slot[self._at]
        self._with_head, self._with_slot = np.flatnonzero(head >= 0), np.flatnonzero(slot >= 0)
        self._head, self._slot = head[self._with_head], slot[self._with_slot]
        self._with_both = np.flatnonzero((head >= 0) & (slot >= 0))
        self._both = head[self._with_both], slot[self._with_both]
        # One row per cell, an entry per price that an arc charges.
        extra = (head >= 0).astype(np.int64) + (slot >= 0)
        self._money_entry = np.arange(len(extra)) + np.cumsum(extra) - extra
        self._head_entry = self._money_entry[self._with_head] + 1
        self._slot_entry = self._money_entry[self._with_slot] + 1 + (head[self._with_slot] >= 0)
        entries = len(extra) + int(extra.sum())
        self._indices = np.empty(entries, dtype=np.int32)
        self._indices[self._money_entry] = self._pool
        self._indices[self._head_entry] = self._head
        self._indices[self._slot_entry] = self._slot
        first = np.searchsorted(rows, np.arange(len(self._cells) + 1))
        self._indptr = np.append(self._money_entry, entries)[first].astype(np.int32)

    def at(self, share: Float, accepted: Float, density: Float, temperature: float) -> Float:
        """The Hessian (limits x limits), from the shares of all arcs and the workers of all cells."""
        size, share = self._size, share[self._at]
        accepted, density = accepted[self._cells] * self._weight, density[self._cells] * self._weight
        data = np.empty(len(self._indices))
        data[self._money_entry] = share * self._cost
        data[self._head_entry] = share[self._with_head]
        data[self._slot_entry] = share[self._with_slot]
        mean = sparse.csr_matrix((data, self._indices, self._indptr), shape=(len(self._cells), size))
        weighted = mean.copy()
        weighted.data *= np.repeat(density - accepted / temperature, np.diff(self._indptr))
        hessian: Float = (mean.T.tocsr() @ weighted).toarray()
        flow = share * accepted[self._row] / temperature
        paid = flow * self._cost
        diagonal = np.bincount(self._pool, weights=paid * self._cost, minlength=size)
        diagonal += np.bincount(self._head, weights=flow[self._with_head], minlength=size)
        diagonal += np.bincount(self._slot, weights=flow[self._with_slot], minlength=size)
        hessian.flat[:: size + 1] += diagonal
        for one, other, weight in (
            (self._pool[self._with_head], self._head, paid[self._with_head]),
            (self._pool[self._with_slot], self._slot, paid[self._with_slot]),
            (*self._both, flow[self._with_both]),
        ):
            pair = np.bincount(one * size + other, weights=weight, minlength=size * size).reshape(size, size)
            hessian += pair
            hessian += pair.T
        return np.asarray(hessian)
