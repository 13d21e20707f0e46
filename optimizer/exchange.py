"""Improve a feasible plan by exchanges that never break a limit.

An exchange at one fund takes in an unfunded worker and, to make room, lets go
of one that either moves to another fund with room or goes unfunded. Every
exchange raises the coverage score, so the search ends. Heuristic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from optimizer.plan import Plan
from optimizer.problem import Bool, Int64

#: Rounds after which the arcs worth looking at are gathered anew.
_FRESH = 20

#: More than any score: nobody there to let go.
_NOBODY = 1 << 40


@dataclass(frozen=True, slots=True, eq=False)
class _Index:
    """The arcs worth looking at, by fund and cost.

    ``rows[first[i]:first[i + 1]]`` share the table entry ``entry[i]``. The table
    has one row per fund and one column per distinct cost, ascending; column 0
    costs nothing and stands for letting nobody go. ``reachable`` (K) are cells
    with a fund that had room when the index was made.
    """

    rows: Int64
    first: Int64
    entry: Int64
    cost: Int64
    reachable: Bool


@dataclass(frozen=True, slots=True, eq=False)
class _Offers:
    """Per indexed arc: the score gained by entering, lost by leaving, and whether leaving means moving."""

    enter: Int64
    leave: Int64
    moves: Bool


def exchange_workers(
    plan: Plan, stopped: Callable[[], bool], rounds: int = 400, least_gain: float = 0.0, reach: float = 5.0
) -> int:
    """Exchange until a round gains no more than ``least_gain`` of the value; returns the exchanges made.

    Newcomers are looked for where a fund asks at most ``reach`` above their score.
    """
    if not len(plan.arcs.fund):
        return 0
    barred = np.zeros(len(plan.arcs.fund), dtype=np.bool_)
    made, value, index, age = 0, plan.value(), None, 0
    for _ in range(rounds):
        if stopped():
            break
        if index is None or age >= _FRESH:
            index, age = _index_arcs(plan, reach), 0
            if not len(index.rows):
                break
        age += 1
        done = _apply_best(plan, index, _make_offers(plan, index, barred), barred)
        made += done
        now = plan.value()
        if not done or now - value < least_gain * now:
            if age == 1:
                break
            # Stale arcs may be what stalls: stop only when fresh ones bring nothing either.
            age = _FRESH
        value = now
    return made


def _index_arcs(plan: Plan, reach: float) -> _Index:
    arcs = plan.arcs
    worth = plan.next_score()[arcs.cell]
    rows = np.flatnonzero((plan.flow > 0) | ((worth > 0) & (worth + reach >= arcs.price)))
    fits = plan.fits()
    # Cells with some arc that has room now: their workers can move instead of going unfunded.
    reachable = np.zeros(plan.cells.count, dtype=np.bool_)
    reachable[arcs.cell[fits]] = True
    costs, column = np.unique(arcs.cost[rows], return_inverse=True)
    entry = arcs.fund[rows].astype(np.int64) * (len(costs) + 1) + column + 1
    order = np.argsort(entry, kind="stable")
    rows, entry = rows[order], entry[order]
    first = np.flatnonzero(np.diff(entry, prepend=-1))
    cost = np.concatenate([np.zeros(1, dtype=np.int64), costs])
    return _Index(rows, np.append(first, len(rows)), entry[first], cost, reachable)


def _make_offers(plan: Plan, index: _Index, barred: Bool) -> _Offers:
    arcs, rows = plan.arcs, index.rows
    cell, fund = arcs.cell[rows], arcs.fund[rows]
    may_enter = plan.open_fund[fund] & ~barred[rows] & (plan.room[arcs.slot[rows]] > 0)
    used = plan.flow[rows] > 0
    moves = used & index.reachable[cell] & ~plan.fits(rows)
    return _Offers(
        enter=np.where(may_enter, plan.next_score()[cell], 0),
        leave=np.where(used, np.where(moves, 0, plan.last_score()[cell]), _NOBODY),
        moves=moves,
    )


def _apply_best(plan: Plan, index: _Index, offers: _Offers, barred: Bool) -> int:
    """Each fund's best exchange, largest gain first, checked against the plan as it then stands."""
    funds, width = len(plan.money), len(index.cost)
    enter = np.zeros(funds * width, dtype=np.int64)
    enter[index.entry] = np.maximum.reduceat(offers.enter, index.first[:-1])
    leave = np.full(funds * width, _NOBODY, dtype=np.int64)
    leave[index.entry] = np.minimum.reduceat(offers.leave, index.first[:-1])
    leaving = leave.reshape(funds, width)
    leaving[:, 0] = np.where(plan.heads > 0, 0, _NOBODY)
    entering = np.maximum.accumulate(enter.reshape(funds, width), axis=1)
    # With a worker of this cost gone, workers up to that cost can come.
    reach = np.searchsorted(index.cost, index.cost[None, :] + plan.money[:, None], side="right") - 1
    gain = entering[np.arange(funds)[:, None], reach] - leaving
    column = gain.argmax(axis=1)
    gain_of_fund = gain[np.arange(funds), column]
    wishes = np.flatnonzero(gain_of_fund > 0)
    done = 0
    touched: set[int] = set()
    wishes = wishes[np.argsort(-gain_of_fund[wishes], kind="stable")]
    base, best = wishes * width, column[wishes]
    low = np.searchsorted(index.entry, base + 1)
    high = np.searchsorted(index.entry, base + reach[wishes, best] + 1)
    at = np.searchsorted(index.entry, base + best)
    for newcomers, end_of_newcomers, leavers, lets_go in zip(
        index.first[low].tolist(), index.first[high].tolist(), at.tolist(), (best > 0).tolist(), strict=True
    ):
        if newcomers == end_of_newcomers:
            continue
        into = int(index.rows[newcomers + offers.enter[newcomers:end_of_newcomers].argmax()])
        out, moves = -1, False
        if lets_go:
            begin, end = int(index.first[leavers]), int(index.first[leavers + 1])
            leaver = begin + int(offers.leave[begin:end].argmin())
            out, moves = int(index.rows[leaver]), bool(offers.moves[leaver])
        done += _exchange(plan, into, out, moves, touched, barred)
    return done


def _exchange(plan: Plan, into: int, out: int, moves: bool, touched: set[int], barred: Bool) -> int:
    """One exchange if it still holds; cells touched this round wait, their offers are stale."""
    arcs = plan.arcs
    cells = {int(arcs.cell[row]) for row in (into, out) if row >= 0}
    if cells & touched:
        return 0
    target = -1
    if moves:
        cell = arcs.cell[out]
        rows = np.arange(arcs.start[cell], arcs.start[cell + 1])
        rows = rows[plan.fits(rows) & (arcs.fund[rows] != arcs.fund[out])]
        if not len(rows):
            return 0
        target = int(rows[arcs.price[rows].argmin()])
    if out >= 0:
        plan.add_at(out, -1)
    if not plan.fits_at(into):
        if out >= 0:
            plan.add_at(out, 1)
        else:
            barred[into] = True
        return 0
    plan.add_at(into, 1)
    if target >= 0:
        if plan.fits_at(target):
            plan.add_at(target, 1)
        else:
            plan.add_at(into, -1)
            plan.add_at(out, 1)
            return 0
    touched |= cells
    return 1
