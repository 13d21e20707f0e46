"""Improve a feasible plan by exchanges that never break a limit.

An exchange at one fund takes in an unfunded worker and, to make room, lets go
of one that either moves to another fund with room or goes unfunded. Every
exchange raises the coverage score, so the search ends. Heuristic.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optimizer.limits import UNLIMITED
from optimizer.plan import Plan
from optimizer.problem import Int64


def exchange_workers(plan: Plan, stopped: Callable[[], bool], rounds: int = 400) -> int:
    """Exchange until nothing gains or ``rounds`` are over; returns the exchanges made."""
    arcs = plan.arcs
    costs, cost_index = np.unique(arcs.cost, return_inverse=True)
    funds, width = len(plan.money), len(costs) + 1
    every = np.arange(len(arcs.fund))
    table = arcs.fund.astype(np.int64) * width + cost_index + 1
    # Rows by fund and cost, so one reduceat finds the best of each.
    by_table = np.argsort(table, kind="stable")
    first = np.flatnonzero(np.diff(table[by_table], prepend=-1))
    slot_of_first = table[by_table][first]
    fund_row = np.repeat(np.arange(funds), width).reshape(funds, width)
    cost_of_column = np.concatenate([[0], costs])
    made = 0
    free = arcs.slot < 0
    barred = np.zeros(len(arcs.fund), dtype=np.bool_)
    for _ in range(rounds):
        if stopped():
            break
        next_score, last_score = plan.next_score(), plan.last_score()
        enter = np.where(plan.open_fund[arcs.fund] & ~barred & ((plan.room[arcs.slot] > 0) | free), next_score[arcs.cell], 0)
        fits = plan.fits(every)
        # The cheapest way out of an arc: another fund with room, else unfunded.
        alternative = np.where(fits, arcs.price, np.inf)
        cell_has = np.diff(arcs.start) > 0
        starts = arcs.start[:-1][cell_has]
        best_alternative = np.full(len(cell_has), np.inf)
        if len(starts):
            best_alternative[cell_has] = np.minimum.reduceat(alternative, starts)
        movable = (plan.flow > 0) & np.isfinite(best_alternative[arcs.cell]) & ~fits
        leave = np.where(plan.flow > 0, np.where(movable, 0, last_score[arcs.cell]), 1 << 40)
        best_enter = np.zeros(funds * width, dtype=np.int64)
        best_enter[slot_of_first] = np.maximum.reduceat(enter[by_table], first)
        least_leave = np.full(funds * width, 1 << 40, dtype=np.int64)
        least_leave[slot_of_first] = np.minimum.reduceat(leave[by_table], first)
        least_leave = least_leave.reshape(funds, width)
        least_leave[:, 0] = np.where(plan.heads > 0, 0, 1 << 40)
        best_enter = np.maximum.accumulate(best_enter.reshape(funds, width), axis=1)
        reach = np.searchsorted(cost_of_column, cost_of_column[None, :] + plan.money[:, None], side="right") - 1
        gain = best_enter[fund_row, reach] - least_leave
        column = gain.argmax(axis=1)
        gain = gain[np.arange(funds), column]
        wish = np.flatnonzero(gain > 0)
        if not len(wish):
            break
        wish = wish[np.argsort(-gain[wish], kind="stable")]
        done = _apply(plan, wish, column, reach, enter, leave, movable, alternative, by_table, first, slot_of_first, width, barred)
        if not done:
            break
        made += done
    return made


def _apply(plan, wish, column, reach, enter, leave, movable, alternative, by_table, first, slot_of_first, width, barred) -> int:  # type: ignore[no-untyped-def]
    """Carry out the wished exchanges one by one, each checked against the plan as it stands."""
    arcs = plan.arcs
    done = 0
    touched: set[int] = set()
    ends = np.append(first[1:], len(by_table))
    for fund in wish:
        base = fund * width
        lo, hi = np.searchsorted(slot_of_first, [base + 1, base + reach[fund, column[fund]] + 1])
        if lo == hi:
            continue
        rows = by_table[first[lo] : ends[hi - 1]]
        into = int(rows[enter[rows].argmax()])
        out = -1
        if column[fund] > 0:
            at = np.searchsorted(slot_of_first, base + column[fund])
            rows = by_table[first[at] : ends[at]]
            out = int(rows[leave[rows].argmin()])
        cells = {int(arcs.cell[into])} | ({int(arcs.cell[out])} if out >= 0 else set())
        if cells & touched:
            continue
        target = -1
        if out >= 0 and movable[out]:
            rows = np.arange(arcs.start[arcs.cell[out]], arcs.start[arcs.cell[out] + 1])
            rows = rows[plan.fits(rows) & (arcs.fund[rows] != fund)]
            if not len(rows):
                continue
            target = int(rows[arcs.price[rows].argmin()])
        if out >= 0:
            plan.add(np.array([out]), -1)
        if not plan.fits(np.array([into]))[0]:
            if out >= 0:
                plan.add(np.array([out]), 1)
            barred[into] = out < 0 or barred[into]
            continue
        plan.add(np.array([into]), 1)
        if target >= 0:
            plan.add(np.array([target]), 1)
            touched.add(int(arcs.cell[target]))
        touched |= cells
        done += 1
    return done
