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
    worker and fund cost class: row ``cost_row[k]`` of ``cost_table``, which has few. Arcs of group ``g`` are
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
    cost_row: Int32
    cost_table: Int64
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
        _classes(problem, _time_accepted, _join([workers.start_month, workers.months])),
        _classes(problem, _person_accepted, _join([workers.sex, workers.age])),
    ]
    signature, first = _number(_join([classes for classes, _ in parts]))
    group_of_signature, arc_start, arc_fund = _build_groups(
        [accepted for _, accepted in parts], [classes[first] for classes, _ in parts], len(funds)
    )
    group = group_of_signature[signature]
    district = problem.district_of_village[workers.village]
    cost_row, cost_table = _distinct_costs(problem)
    # One integer key sorts by cell, then falling score, then index: far faster than lexsort.
    top = int(scores.max(initial=0))
    bits = max(1, int(count - 1).bit_length()) if count else 1
    key = _join([group, district, cost_row])
    if int(key.max(initial=0)) >= 1 << (62 - bits - top.bit_length()):
        key = _number(key)[0].astype(np.int64)
    key *= top + 1
    key += top - scores
    key <<= bits
    key |= np.arange(count)
    key.sort()
    order = (key & ((1 << bits) - 1)).astype(np.int32)
    key >>= bits
    key //= top + 1
    start = np.append(np.flatnonzero(np.diff(key, prepend=-1)), count)
    first = order[start[:-1]]
    cell_of_worker = np.empty(count, dtype=np.int32)
    cell_of_worker[order] = np.repeat(np.arange(len(first), dtype=np.int32), np.diff(start))
    sorted_scores = scores[order].astype(np.int32)
    return Cells(
        order=order,
        start=start,
        cell_of_worker=cell_of_worker,
        score=sorted_scores,
        score_sum=_running(sorted_scores),
        group=group[first],
        district=district[first].astype(np.int32),
        cost=cost_table[cost_row[first]],
        cost_row=cost_row[first],
        cost_table=cost_table,
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
    count = len(attribute)
    value, first = _number(attribute)
    funds = np.arange(len(problem.funds))
    rows = [
        np.packbits(rule(problem, part[:, None], funds[None, :]), axis=1)
        for part in _chunks(first, max(1, len(funds)))
    ]
    packed = np.concatenate(rows) if rows else np.zeros((0, (len(funds) + 7) // 8), dtype=np.uint8)
    kind, kept = unique_rows(packed)
    return kind[value] if len(kept) > 1 else np.zeros(count, dtype=np.int32), packed[kept]


def _build_groups(accepted: list[UInt8], classes: list[Int32], funds: int) -> tuple[Int32, Int64, Int32]:
    """Merge signatures with one set of accepting funds; list each group's funds."""
    packed = accepted[0][classes[0]]
    for bits, kind in zip(accepted[1:], classes[1:], strict=True):
        packed &= bits[kind]
    group_of_signature, kept = unique_rows(packed)
    packed = packed[kept]
    degree = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    start = _running(degree)
    arcs = np.empty(int(start[-1]), dtype=np.int32)
    begin = 0
    for part in _chunks(packed, max(1, funds)):
        end = begin + len(part)
        place = np.flatnonzero(np.unpackbits(part, axis=1, count=funds))
        place -= np.repeat(np.arange(len(part)) * funds, degree[begin:end])
        arcs[start[begin] : start[end]] = place
        begin = end
    return group_of_signature, start, arcs


def _distinct_costs(problem: AllocationProblem) -> tuple[Int32, Int64]:
    table, row = np.unique(problem.cost_rupiah, axis=0, return_inverse=True)
    return row.reshape(-1)[problem.workers.cost_class].astype(np.int32), table


def _join(columns: list[npt.NDArray[np.integer]]) -> Int64:
    """Some integer columns as one, in the same order; wide ones are numbered first."""
    whole = np.zeros(len(columns[0]), dtype=np.int64)
    span = 1
    for column in columns:
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        if low == high:
            continue
        if span * (high - low + 1) > 1 << 62:
            whole = _number(whole)[0].astype(np.int64)
            span = int(whole.max()) + 1
        span *= high - low + 1
        whole *= high - low + 1
        whole += column
        whole -= low
    return whole


def _number(key: npt.NDArray[np.integer]) -> tuple[Int32, Int64]:
    """Dense numbers for integer keys in ascending order, and one index of each."""
    if not len(key):
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64)
    low, high = int(key.min()), int(key.max())
    if high - low < max(4 * len(key), 1 << 16):
        slot = key - low if low else key
        first = np.full(high - low + 1, -1, dtype=np.int32)
        first[slot] = np.arange(len(key), dtype=np.int32)
        present = first >= 0
        number = np.cumsum(present, dtype=np.int32) - np.int32(1)
        return number[slot], first[present].astype(np.int64)
    ordered = np.sort(key)
    distinct = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    number = np.searchsorted(distinct, key).astype(np.int32)
    first = np.empty(len(distinct), dtype=np.int32)
    first[number] = np.arange(len(key), dtype=np.int32)
    return number, first.astype(np.int64)


def unique_rows(packed: UInt8) -> tuple[Int32, Int64]:
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
