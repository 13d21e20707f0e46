"""A plan being made: whole workers on arcs of cell and fund, within every limit.

A plan never holds more than the limits allow; minimums are looked after by
``optimizer.minimums``. Inside a cell the highest scores go first, so a count
per arc says everything.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from optimizer.cells import Cells
from optimizer.limits import UNLIMITED, Limits, expand
from optimizer.market import Float, Market
from optimizer.prices import Options
from optimizer.problem import Bool, Int32, Int64
from optimizer.result import Prices

#: Lanes that keep a fund however many larger ones there are: else its money could stay unspent.
_LEAST_LANES = 400


@dataclass(frozen=True, slots=True, eq=False)
class Arcs:
    """Pairs of cell and fund that a plan may use, by cell.

    Cell ``c`` owns rows ``start[c]:start[c + 1]`` (K + 1 entries, all cells).
    ``cost`` is rupiah per worker, ``slot`` a district cap or -1, ``price`` what
    the fund asks per worker in score units.
    """

    start: Int64
    cell: Int32
    fund: Int32
    cost: Int64
    slot: Int32
    price: Float


def open_arcs(market: Market, options: Options, prices: Prices, most_per_lane: int = 1 << 30) -> Arcs:
    """Spell out lanes: one arc per cell and fund among the options.

    A lane of more than ``most_per_lane`` funds keeps a random choice of them,
    by money; every fund, however small, is kept by ``_LEAST_LANES`` lanes if it has as many.
    """
    row = np.repeat(options.cells, np.diff(options.start))
    # Each lane as the funds of its pools.
    pool, lane_end = options.lane_pool, options.lane_start
    members = np.diff(market.pool_start)[pool]
    _, member = expand(market.pool_start[pool], members)
    lane_fund = market.pool_fund[member]
    lane_fund_start = np.concatenate([[0], np.cumsum(members)])[lane_end]
    size = np.diff(lane_fund_start)
    if len(size) and int(size.max()) > most_per_lane:
        lane = np.repeat(np.arange(len(size)), size)
        # The more money a fund has, the more lanes must be able to reach it.
        weight = np.maximum(1, market.limits.amount_rupiah[lane_fund])
        draw = np.random.default_rng(len(lane)).exponential(size=len(lane)) / weight
        shuffled = np.lexsort((draw, lane))
        rank = np.arange(len(lane)) - np.repeat(lane_fund_start[:-1], size)
        by_fund = np.lexsort((draw, lane_fund))
        kept = np.union1d(
            shuffled[rank < most_per_lane], by_fund[_rank_in_runs(lane_fund[by_fund]) < _LEAST_LANES]
        )
        lane_fund, lane = lane_fund[kept], lane[kept]
        lane_fund_start = np.searchsorted(lane, np.arange(len(size) + 1))
    is_lane = options.lane >= 0
    length, begin = np.ones(len(row), dtype=np.int64), np.zeros(len(row), dtype=np.int64)
    length[is_lane] = np.diff(lane_fund_start)[options.lane[is_lane]]
    begin[is_lane] = lane_fund_start[options.lane[is_lane]]
    owner, member = expand(begin, length)
    fund = options.fund[owner].astype(np.int64)
    of_lane = is_lane[owner]
    fund[of_lane] = lane_fund[member[of_lane]]
    cell = row[owner]
    return make_arcs(market, cell, fund, prices)


def make_arcs(market: Market, cell: Int64 | Int32, fund: Int64 | Int32, prices: Prices) -> Arcs:
    """Arcs from pairs of cell (ascending) and fund."""
    cells = market.cells
    district = cells.district[cell]
    cost = cells.cost[cell, market.fund_class[fund]]
    slot = market.room_slot[fund, district]
    in_district = np.where(slot >= 0, prices.district[fund, district], 0.0)
    return Arcs(
        start=np.searchsorted(cell, np.arange(cells.count + 1)),
        cell=cell.astype(np.int32),
        fund=fund.astype(np.int32),
        cost=cost,
        slot=slot.astype(np.int32),
        price=cost * prices.fund[fund] + prices.head[fund] + in_district,
    )


class Plan:
    """Counts per arc and what every limit has left. Mutable; one solve owns it."""

    def __init__(self, cells: Cells, limits: Limits, room: Int64, arcs: Arcs, open_fund: Bool) -> None:
        self.cells, self.arcs = cells, arcs
        self.flow = np.zeros(len(arcs.fund), dtype=np.int64)
        self.funded = np.zeros(cells.count, dtype=np.int64)
        self.open_fund = open_fund.copy()
        self.money = limits.amount_rupiah.copy()
        self.heads = limits.head_room.copy()
        self.room = np.append(room, UNLIMITED)
        self.least = limits.least

    def on_arcs(self, arcs: Arcs, flow: Int64) -> Plan:
        """The same plan where other ``arcs`` may be used; ``flow`` are its workers on those."""
        other = copy.copy(self)
        other.arcs, other.flow = arcs, flow
        return other

    def add(self, arc: Int64, count: Int64 | int) -> None:
        """Put workers on arcs (negative: take them off); indices may repeat."""
        arcs = self.arcs
        counts = np.broadcast_to(np.asarray(count, dtype=np.int64), arc.shape)
        np.add.at(self.flow, arc, counts)
        np.add.at(self.funded, arcs.cell[arc], counts)
        np.subtract.at(self.money, arcs.fund[arc], counts * arcs.cost[arc])
        np.subtract.at(self.heads, arcs.fund[arc], counts)
        np.subtract.at(self.room, arcs.slot[arc], counts)
        self.room[-1] = UNLIMITED

    def add_at(self, arc: int, count: int) -> None:
        """``add`` on one arc, twenty times as fast: exchanges move one worker at a time."""
        arcs, fund, slot = self.arcs, self.arcs.fund[arc], self.arcs.slot[arc]
        self.flow[arc] += count
        self.funded[arcs.cell[arc]] += count
        self.money[fund] -= count * arcs.cost[arc]
        self.heads[fund] -= count
        if slot >= 0:
            self.room[slot] -= count

    def snapshot(self) -> tuple[Int64 | Bool, ...]:
        """A copy of everything that moves, for ``restore``."""
        return tuple(part.copy() for part in self._state())

    def restore(self, saved: tuple[Int64 | Bool, ...]) -> None:
        """Go back to a snapshot."""
        for part, old in zip(self._state(), saved, strict=True):
            part[:] = old

    def _state(self) -> tuple[Int64 | Bool, ...]:
        return (self.flow, self.funded, self.money, self.heads, self.room, self.open_fund)

    def taken(self) -> Int64:
        """Workers per fund (F)."""
        return np.bincount(self.arcs.fund, weights=self.flow, minlength=len(self.money)).astype(np.int64)

    def fits(self, arc: Int64 | slice = slice(None)) -> Bool:
        """Whether one more worker fits on each arc (by default all of them), taken alone."""
        arcs = self.arcs
        fund = arcs.fund[arc]
        # What a fund could still pay, nothing where it takes nobody.
        money = np.where(self.open_fund & (self.heads > 0), self.money, -1)
        return np.asarray((arcs.cost[arc] <= money[fund]) & (self.room[arcs.slot[arc]] > 0))

    def fits_at(self, arc: int) -> bool:
        """``fits`` of one arc, twenty times as fast."""
        arcs, fund = self.arcs, self.arcs.fund[arc]
        return bool(
            self.open_fund[fund]
            and arcs.cost[arc] <= self.money[fund]
            and self.heads[fund] > 0
            and self.room[arcs.slot[arc]] > 0
        )

    def value(self) -> int:
        """The coverage score."""
        cells = self.cells
        first = cells.start[:-1]
        return int((cells.score_sum[first + self.funded] - cells.score_sum[first]).sum())

    def next_score(self) -> Int64:
        """The best unfunded score of each cell (K); 0 when all are funded."""
        at = self.cells.start[:-1] + self.funded
        padded = np.append(self.cells.score, 0)
        return np.where(at < self.cells.start[1:], padded[at], 0).astype(np.int64)

    def last_score(self) -> Int64:
        """The lowest funded score of each cell (K); a huge number when none is."""
        at = self.cells.start[:-1] + self.funded - 1
        return np.where(self.funded > 0, self.cells.score[at], 1 << 40).astype(np.int64)

    def scores_around(self, cell: int) -> tuple[int, int]:
        """``next_score`` and ``last_score`` of one cell."""
        cells, at = self.cells, self.cells.start[cell] + self.funded[cell]
        coming = int(cells.score[at]) if at < cells.start[cell + 1] else 0
        return coming, int(cells.score[at - 1]) if self.funded[cell] > 0 else 1 << 40


def accept_requests(plan: Plan, arc: Int64, order: Float) -> Bool:
    """Which single-worker requests a plan can take together, best ``order`` (low) first.

    Every limit admits a prefix of its requests, so what is accepted fits.
    """
    arcs = plan.arcs
    allowed = plan.fits(arc)
    slot = arcs.slot[arc]
    tied = np.flatnonzero(allowed & (slot >= 0))
    if len(tied):
        by_slot = tied[np.lexsort((order[tied], slot[tied]))]
        rank = _rank_in_runs(slot[by_slot])
        allowed[by_slot[rank >= plan.room[slot[by_slot]]]] = False
    rows = np.flatnonzero(allowed)
    if not len(rows):
        return allowed
    fund = arcs.fund[arc[rows]]
    by_fund = rows[np.lexsort((order[rows], fund))]
    fund = arcs.fund[arc[by_fund]]
    cost = arcs.cost[arc[by_fund]]
    total = np.cumsum(cost)
    first = np.flatnonzero(np.diff(fund, prepend=-1))
    length = np.diff(np.append(first, len(fund)))
    spent = total - np.repeat(total[first] - cost[first], length)
    rank = np.arange(len(fund)) - np.repeat(first, length)
    fits = (spent <= plan.money[fund]) & (rank < plan.heads[fund])
    allowed[by_fund[~fits]] = False
    return allowed


def _rank_in_runs(values: Int32 | Int64) -> Int64:
    first = np.flatnonzero(np.diff(values, prepend=-2))
    return np.arange(len(values)) - np.repeat(first, np.diff(np.append(first, len(values))))
