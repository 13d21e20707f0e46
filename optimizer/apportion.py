"""Soft flows made whole: every cell deals its workers out in proportion, every fund is asked for what it has.

Each cell's flows are cut at whole numbers from a random start (systematic
sampling), so no arc is off by a worker or more; but thousands of cells together
still ask too much of one fund and too little of another. The curvature of the
smooth bound says which small change of prices undoes that, and the same cuts
are made again. Heuristic.
"""

from __future__ import annotations

import numpy as np

from optimizer.limits import expand
from optimizer.market import Float, Market
from optimizer.near import NearDual
from optimizer.plan import Plan, accept_requests
from optimizer.problem import Int32, Int64
from optimizer.refine import Refined, bounded_step

#: Rounds of correcting prices; most of what can be gained is gained in four.
_ROUNDS = 5

#: Pairs of cell and fund that rounding looks at, about, where there are more.
_MOST_PAIRS = 3_000_000

#: Damping of the correcting step: cuts jump where flows slide.
_DAMPING = 1e-4


def apportion_flows(fine: Refined, rng: np.random.Generator) -> Int64:
    """Whole workers per near arc (A) that use every limit about as the soft flows do."""
    dual, flat, temperature, ramp = fine.dual, fine.flat, fine.temperature, fine.ramp
    cells = len(dual.arcs.cells)
    begin, cut = rng.random(cells), rng.random(cells)
    _, hessian = dual.slopes(dual.shares(flat, temperature, ramp), temperature)
    scale, prices = dual.scale(temperature), flat.copy()
    best, least, held = np.zeros(len(dual.arcs.row), dtype=np.int64), np.inf, None
    for _ in range(_ROUNDS):
        shares = dual.shares(prices, temperature, ramp)
        workers = _cut(dual, shares.share, np.floor(shares.accepted + begin).astype(np.int64), cut)
        missed = dual.capacity - dual.use(workers)
        off = float(np.abs(missed) @ flat)
        if off < least:
            best, least = workers, off
        step, _, held = bounded_step(hessian, missed, prices, dual.reached, _DAMPING, scale, held)
        prices = np.maximum(0.0, prices + step)
    return best


def _cut(dual: NearDual, share: Float, workers: Int64, cut: Float) -> Int64:
    """Deal ``workers`` per cell out over its arcs by ``share``, cut at every whole step from ``cut``."""
    arcs = dual.arcs
    workers = np.minimum(workers, dual.market.cells.size[arcs.cells])
    first, last = arcs.start[:-1], arcs.start[1:] - 1
    running = np.cumsum(share)
    running -= (running[first] - share[first])[arcs.row]
    whole = np.floor(np.minimum(running, 1.0) * workers[arcs.row] + cut[arcs.row]).astype(np.int64)
    whole[last] = workers
    whole = np.minimum(whole, workers[arcs.row])
    dealt = np.diff(whole, prepend=0)
    dealt[first] = whole[first]
    return np.maximum(dealt, 0)


def name_funds(
    market: Market, fine: Refined, workers: Int64, rng: np.random.Generator
) -> tuple[Int64, Int64]:
    """Cell and fund of every worker dealt out; a pool's funds are filled one after another."""
    near = fine.dual.arcs
    request = np.repeat(np.arange(len(workers)), workers)
    request = request[rng.permutation(len(request))]
    request = request[np.argsort(near.pool[request], kind="stable")]
    fund = _fund_in_pool(market, near.pool[request], near.cost[request])
    return near.cells[near.row[request]].astype(np.int64), fund


def _fund_in_pool(market: Market, pool: Int32, cost: Float) -> Int64:
    """The fund that each request (sorted by pool) falls to when a pool's funds are filled in their order."""
    paid = np.cumsum(cost)
    first = np.flatnonzero(np.diff(pool, prepend=-1))
    length = np.diff(np.append(first, len(pool)))
    paid -= np.repeat(paid[first] - cost[first], length)
    money = np.where(market.limits.usable, market.limits.amount_rupiah, 0)[market.pool_fund].astype(
        np.float64
    )
    through = np.cumsum(money)
    before = np.concatenate([[0.0], through])[market.pool_start[:-1]]
    # Whoever stands on the border of two funds falls to the one that carries more of the cost.
    member = np.searchsorted(through, before[pool] + paid - cost / 2, side="right")
    return market.pool_fund[np.clip(member, market.pool_start[pool], market.pool_start[pool + 1] - 1)]


def near_pairs(
    market: Market, fine: Refined, cell: Int64, fund: Int64, margin: float, rng: np.random.Generator
) -> tuple[Int64, Int64]:
    """Cells and funds (ascending pairs): the given ones and those within ``margin`` of the cheapest.

    Where these are more than three million, a draw of them.
    """
    near = fine.dual.arcs
    asked = fine.dual.asked(fine.flat)
    least = np.minimum.reduceat(asked, near.start[:-1])
    rows = np.flatnonzero(asked - least[near.row] <= margin)
    members = np.diff(market.pool_start)[near.pool[rows]]
    owner, member = expand(market.pool_start[near.pool[rows]], members)
    if len(owner) > _MOST_PAIRS:
        kept = np.flatnonzero(rng.random(len(owner)) < _MOST_PAIRS / len(owner))
        owner, member = owner[kept], member[kept]
    funds = max(1, len(market.problem.funds))
    around = near.cells[near.row[rows[owner]]].astype(np.int64) * funds + market.pool_fund[member]
    key = np.sort(np.concatenate([cell * funds + fund, around]))
    key = key[np.flatnonzero(np.diff(key, prepend=-1))]
    return key // funds, key % funds


def place_flows(plan: Plan, cell: Int64, fund: Int64, rng: np.random.Generator) -> None:
    """Put workers on an empty plan, one per pair of cell and fund, as far as limits allow."""
    arcs = plan.arcs
    funds = max(1, len(plan.money))
    every, key = arcs.cell.astype(np.int64) * funds + arcs.fund, cell * funds + fund
    order = np.argsort(every, kind="stable")
    arc = order[np.minimum(np.searchsorted(every, key, sorter=order), len(every) - 1)]
    arc = arc[every[arc] == key]
    taken = accept_requests(plan, arc, rng.random(len(arc)))
    plan.add(arc[taken], 1)
