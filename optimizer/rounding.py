"""From prices to whole workers: requests, refusals, and what is left over.

Every cell wants its workers whose score exceeds the cell's price. They ask
funds that are (nearly) the cheapest for them, in proportion to the soft flows;
a fund takes what fits and refuses the rest, who ask again elsewhere. Then
leftover money goes to whoever adds most. This part is heuristic; the bound
says how far it can be from the best.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optimizer.cells import Cells
from optimizer.limits import expand
from optimizer.market import Float
from optimizer.plan import Plan, accept_requests
from optimizer.problem import Int32, Int64


def round_flows(
    plan: Plan,
    asked: Float,
    weight: Float,
    rng: np.random.Generator,
    stopped: Callable[[], bool],
    rounds: int = 60,
) -> None:
    """Place the workers that their cell's price accepts.

    ``asked`` (K) is the price of each cell; ``weight`` per arc is how much of
    its cell's flow should go there.
    """
    cells, arcs = plan.cells, plan.arcs
    wanted = wanted_workers(plan.cells, asked)
    for _ in range(rounds):
        cell, _ = expand(cells.start[:-1], np.maximum(0, wanted - plan.funded))
        if not len(cell) or stopped():
            return
        open_weight = np.where(plan.fits(), weight, 0.0)
        # Every cell's weights sum to one: tiny ones must not drown in the running total.
        mass = np.bincount(arcs.cell, weights=open_weight, minlength=cells.count)
        open_weight /= np.maximum(mass, 1e-300)[arcs.cell]
        total = np.concatenate([[0.0], np.cumsum(open_weight)])
        low, high = total[arcs.start[cell]], total[arcs.start[cell + 1]]
        alive = mass[cell] > 0
        cell, low, high = cell[alive], low[alive], high[alive]
        if not len(cell):
            return
        # Stratified draws: workers of one cell spread over its funds evenly.
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        length = np.diff(np.append(first, len(cell)))
        place = (np.arange(len(cell)) - np.repeat(first, length) + rng.random(len(cell))) / np.repeat(
            length, length
        )
        arc = np.searchsorted(total, low + place * (high - low), side="right") - 1
        # The running total is rounded: keep each draw inside its own cell.
        arc = np.clip(arc, arcs.start[cell], arcs.start[cell + 1] - 1)
        sound = open_weight[arc] > 0
        # Refusing someone costs its margin, unless other funds are open to it.
        choice = open_weight[arc]
        rank = plan.funded[cell] + np.arange(len(cell)) - np.repeat(first, length)
        margin = cells.score[cells.start[cell] + rank] - asked[cell]
        order = -margin * (choice + 0.1)
        taken = np.zeros(len(arc), dtype=np.bool_)
        taken[sound] = accept_requests(plan, arc[sound], order[sound])
        if not taken.any():
            # Prefixes blocked by one large request: let small ones try before giving up.
            taken = accept_requests(plan, arc, arcs.cost[arc].astype(np.float64))
            if not taken.any():
                return
        plan.add(arc[taken], 1)


def fill_leftovers(plan: Plan, stopped: Callable[[], bool]) -> None:
    """Give leftover money to unfunded workers until nobody fits.

    Each round every cell's best unfunded worker asks the fund that asks least of
    it among those with room; funds take the largest margins first.
    """
    arcs, cells = plan.arcs, plan.cells
    candidate = np.flatnonzero(plan.fits())
    size, batch = cells.size, 1
    while not stopped():
        # Room only shrinks here, so an arc that does not fit now never will.
        score = plan.next_score()
        candidate = candidate[score[arcs.cell[candidate]] > 0]
        candidate = candidate[plan.fits(candidate)]
        if not len(candidate):
            return
        cell = arcs.cell[candidate]
        best = candidate[_best_per_cell(cell, score[cell] - arcs.price[candidate])]
        # Batches double, so a cell of a million alike is served in twenty rounds.
        cell = arcs.cell[best]
        owner, place = expand(
            cells.start[cell] + plan.funded[cell], np.minimum(batch, size[cell] - plan.funded[cell])
        )
        request = best[owner]
        taken = accept_requests(plan, request, arcs.price[request] - cells.score[place])
        plan.add(request[taken], 1)
        batch *= 2


def _best_per_cell(cell: Int32, margin: Float) -> Int64:
    """Row of the largest margin of each run of equal cells."""
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    top = np.maximum.reduceat(margin, first)
    hit = np.flatnonzero(margin == np.repeat(top, np.diff(np.append(first, len(cell)))))
    _, kept = np.unique(cell[hit], return_index=True)
    return hit[kept]


def wanted_workers(cells: Cells, asked: Float) -> Int64:
    """How many workers of each cell (K) score above what is asked of it."""
    above = np.concatenate([[0], np.cumsum(cells.score > np.repeat(asked, cells.size))])
    return np.asarray(above[cells.start[1:]] - above[cells.start[:-1]])
