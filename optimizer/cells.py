"""Workers that no rule can tell apart, gathered into cells.

A **cell** holds needs of one district that the same funds accept and that cost
the same whoever pays; they differ in score only, so in any best plan the
highest scores of a cell go first. A **group** is a set of cells that the same
funds accept. An **arc** is a pair of group and fund that the rules allow.

A million workers make tens of thousands of cells and thousands of groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from optimizer.problem import AllocationProblem, Bool, Int32, Int64
from optimizer.rules import (
    age_accepted,
    months_within_limit,
    occupation_accepted,
    programmes_accepted,
    region_accepted,
    sex_accepted,
    window_covers_months,
)

UInt8 = npt.NDArray[np.uint8]
Row = TypeVar("Row", bound=np.generic)

#: How many booleans (groups x funds) may be unpacked at once.
_CHUNK = 16_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """K cells over N workers, G groups and A arcs.

    ``order`` (N) lists workers by cell, highest score first; cell ``k`` owns
    ``order[start[k]:start[k + 1]]``. ``score`` (N) stands in that order and
    ``score_sum`` (N + 1) is its running total. ``cost`` (K x C) is rupiah per
    worker and fund cost class. Arcs of group ``g`` are
    ``arc_fund[arc_start[g]:arc_start[g + 1]]``, ascending.
    """

    order: Int32
    start: Int64
    cell_of_worker: Int32
    score: Int32
    score_sum: Int64
    group: Int32
    district: Int32
    cost: Int64
    arc_start: Int64
    arc_fund: Int32

    @property
    def count(self) -> int:
        """Number of cells K."""
        return len(self.group)

    @property
    def size(self) -> Int64:
        """Workers per cell (K)."""
        return np.diff(self.start)

    @property
    def degree(self) -> Int64:
        """Accepting funds per group (G)."""
        return np.diff(self.arc_start)


def build_cells(problem: AllocationProblem, scores: Int64) -> Cells:
    """Gather the workers of a problem into cells; ``scores`` (N) orders them inside."""
    workers = problem.workers
    count, funds = len(workers), np.arange(len(problem.funds))
    parts = [
        _classes(problem, region_accepted, workers.village),
        _classes(problem, occupation_accepted, workers.occupation),
        _classes(problem, programmes_accepted, workers.bundle),
        _classes(problem, _time_accepted, _join(workers.start_month, workers.months)),
        _classes(problem, _person_accepted, _join(workers.sex, workers.age)),
    ]
    signature, first = _unique_tuples([classes for classes, _ in parts])
    group_of_signature, arc_start, arc_fund = _build_groups(
        [accepted for _, accepted in parts], [classes[first] for classes, _ in parts], len(funds)
    )
    group = group_of_signature[signature]
    district = problem.district_of_village[workers.village]
    cost_row, cost_table = _distinct_costs(problem)
    cell, first = _unique_tuples([group, district, cost_row])
    # One integer key sorts by cell, then falling score, then index: far faster than lexsort.
    top = int(scores.max(initial=0))
    bits = max(1, int(count - 1).bit_length()) if count else 1
    key = ((cell.astype(np.int64) * (top + 1) + (top - scores)) << bits) | np.arange(count)
    key.sort()
    order = (key & ((1 << bits) - 1)).astype(np.int32)
    sorted_scores = scores[order].astype(np.int32)
    sizes = np.bincount(cell, minlength=len(first))
    return Cells(
        order=order,
        start=_running(sizes),
        cell_of_worker=cell,
        score=sorted_scores,
        score_sum=_running(sorted_scores),
        group=group[first],
        district=district[first].astype(np.int32),
        cost=cost_table[cost_row[first]],
        arc_start=arc_start,
        arc_fund=arc_fund,
    )


def _time_accepted(problem: AllocationProblem, workers: Int64, funds: Int64) -> Bool:
    return months_within_limit(problem, workers, funds) & window_covers_months(problem, workers, funds)


def _person_accepted(problem: AllocationProblem, workers: Int64, funds: Int64) -> Bool:
    return sex_accepted(problem, workers, funds) & age_accepted(problem, workers, funds)


def _classes(
    problem: AllocationProblem, rule: object, attribute: npt.NDArray[np.integer]
) -> tuple[Int32, UInt8]:
    """Classes of workers that one rule cannot tell apart, by a worker attribute it reads.

    Returns the class of each worker (N) and, per class, the accepting funds as
    packed bits (classes x ceil(F / 8)).
    """
    assert callable(rule)
    value, first = _unique_tuples([attribute])
    funds = np.arange(len(problem.funds))
    rows = [
        np.packbits(rule(problem, part[:, None], funds[None, :]), axis=1)
        for part in _chunks(first, max(1, len(funds)))
    ]
    packed = np.concatenate(rows) if rows else np.zeros((0, (len(funds) + 7) // 8), dtype=np.uint8)
    kind, kept = _unique_rows(packed)
    return kind[value], packed[kept]


def _build_groups(accepted: list[UInt8], classes: list[Int32], funds: int) -> tuple[Int32, Int64, Int32]:
    """Merge signatures with one set of accepting funds; list each group's funds."""
    packed = accepted[0][classes[0]]
    for bits, kind in zip(accepted[1:], classes[1:], strict=True):
        packed &= bits[kind]
    group_of_signature, kept = _unique_rows(packed)
    packed = packed[kept]
    degree = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    found = [
        np.nonzero(np.unpackbits(part, axis=1, count=funds))[1].astype(np.int32)
        for part in _chunks(packed, max(1, funds))
    ]
    arcs = np.concatenate(found) if found else np.zeros(0, dtype=np.int32)
    return group_of_signature, _running(degree), arcs


def _distinct_costs(problem: AllocationProblem) -> tuple[Int32, Int64]:
    table, row = np.unique(problem.cost_rupiah, axis=0, return_inverse=True)
    return row.reshape(-1)[problem.workers.cost_class].astype(np.int32), table


def _join(first: npt.NDArray[np.integer], second: npt.NDArray[np.integer]) -> Int64:
    """Two small attributes as one integer."""
    low, high = (int(second.min()), int(second.max())) if len(second) else (0, 0)
    return first.astype(np.int64) * (high - low + 1) + (second.astype(np.int64) - low)


def _unique_tuples(columns: list[npt.NDArray[np.integer]]) -> tuple[Int32, Int64]:
    """Number the distinct rows of some integer columns; also a first index of each."""
    key = columns[0].astype(np.int64)
    for column in columns[1:]:
        key = _number(key)[0].astype(np.int64) if _span(key) > 1 << 40 else key
        key = _join(key, column)
    return _number(key)


def _number(key: Int64) -> tuple[Int32, Int64]:
    """Dense numbers for integer keys in ascending order, and one index of each."""
    if not len(key):
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
    low, span = int(key.min()), _span(key)
    if span <= max(4 * len(key), 1 << 16):
        slot = key - low
        first = np.full(span, -1, dtype=np.int64)
        first[slot] = np.arange(len(key))
        present = first >= 0
        number = np.cumsum(present, dtype=np.int64).astype(np.int32) - np.int32(1)
        return number[slot], first[present]
    ordered = np.sort(key)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    number = np.searchsorted(distinct, key).astype(np.int32)
    first = np.empty(len(distinct), dtype=np.int64)
    first[number] = np.arange(len(key))
    return number, first


def _span(key: Int64) -> int:
    return int(key.max()) - int(key.min()) + 1 if len(key) else 0


def _unique_rows(packed: UInt8) -> tuple[Int32, Int64]:
    """Number the distinct rows of a byte matrix; also a first index of each."""
    if not len(packed) or not packed.shape[1]:
        return np.zeros(len(packed), dtype=np.int32), np.zeros(min(1, len(packed)), dtype=np.int64)
    padded = np.zeros((len(packed), -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    words = padded.view(np.uint64)
    factors = np.random.default_rng(7).integers(1, 1 << 63, words.shape[1], dtype=np.uint64) | np.uint64(1)
    mixed = (words ^ (words >> np.uint64(31))) * factors
    number, first = _number(mixed.sum(axis=1, dtype=np.uint64).view(np.int64))
    # A hash collision would merge unlike rows: compare, and fall back to the exact sort.
    if np.array_equal(words, words[first][number]):
        return number, first
    _, first, inverse = np.unique(words, axis=0, return_index=True, return_inverse=True)
    return inverse.reshape(-1).astype(np.int32), first


def _chunks(rows: npt.NDArray[Row], width: int) -> list[npt.NDArray[Row]]:
    step = max(1, _CHUNK // width)
    return [rows[begin : begin + step] for begin in range(0, len(rows), step)]


def _running(values: npt.NDArray[np.integer]) -> Int64:
    total = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=total[1:])
    return total
