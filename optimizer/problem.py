"""The allocation problem: which fund pays which worker's cover.

Everything here is plain integers in NumPy arrays. The module knows nothing of
databases, events or clocks; whoever builds a problem translates its own
identifiers into indices and keeps the dictionaries for the way back.

Index spaces used throughout:

=====  ==========================================================
N      workers (each row is one *coverage need*)
F      funds (company pledges and regional budget lines)
V      villages
D      districts
O      occupations
B      programme bundles, such as ``JKK+JKM``
W      worker cost classes (bundle x months x start month x sector ...)
C      fund cost classes (who pays x discount switch ...)
=====  ==========================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Int8 = npt.NDArray[np.int8]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

#: "No limit" in every cap, minimum and bound below, and "none" for an index.
NONE = -1


class FundKind(IntEnum):
    """Who pays: a company pledge (CSR) or a regional budget line (APBD)."""

    CSR = 0
    APBD = 1


class Sex(IntEnum):
    """Sex as written in the population register; ``UNKNOWN`` when not given."""

    UNKNOWN = 0
    L = 1  # laki-laki, male
    P = 2  # perempuan, female


@dataclass(frozen=True, slots=True, eq=False)
class Workers:
    """Coverage needs, one row each. Every array has length N.

    ``village``, ``occupation``, ``bundle`` and ``cost_class`` are indices;
    ``months`` is 1-12; ``start_month`` counts months from an epoch the caller
    chooses (same epoch as the fund windows; all zero when windows are unused);
    ``priority`` is 1-100; ``age`` is in whole years or ``NONE`` when unknown.
    ``current_fund`` is the fund that an earlier proposal names, or ``NONE``;
    the stability tier counts departures from it.
    """

    village: Int32
    occupation: Int32
    bundle: Int32
    months: Int32
    start_month: Int32
    priority: Int32
    sex: Int8
    age: Int16
    cost_class: Int32
    current_fund: Int32

    def __len__(self) -> int:
        return len(self.village)


@dataclass(frozen=True, slots=True, eq=False)
class Funds:
    """Funds, one row each. Arrays have length F unless a shape is given.

    ``amount_rupiah`` is what a run may spend: the available balance plus what
    proposals that may still move hold now. Caps, minimums, ages and windows
    are ``NONE`` when the fund sets no such rule; a cap of 0 is a real cap.

    ``head_count_cap`` and ``district_cap`` are the limits as pledged;
    ``heads_used`` (shape F x D) is how many workers approved lines, which a run
    cannot move, already fill per district. ``min_workers`` counts them too.

    ``window_from`` and ``window_to`` are inclusive months in the epoch of
    ``Workers.start_month``. ``expiry_rank`` orders funds by expiry, 0 first;
    funds without expiry share the highest rank.
    """

    kind: Int8
    amount_rupiah: Int64
    village_allowed: Bool  # F x V
    occupation_allowed: Bool  # F x O
    bundle_allowed: Bool  # F x B
    max_months: Int32
    sex_allowed: Bool  # F x 3, indexed by Sex
    age_from: Int16
    age_to: Int16
    window_from: Int32
    window_to: Int32
    head_count_cap: Int64
    district_cap: Int64
    min_workers: Int64
    heads_used: Int64  # F x D
    expiry_rank: Int32
    cost_class: Int32

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, slots=True, eq=False)
class AllocationProblem:
    """One regency's (or province's, or nation's) match to solve.

    ``district_of_village`` has length V with values in [0, D).
    ``cost_rupiah`` has shape W x C: what the whole bundle costs for all the
    months of a need of that worker cost class when a fund of that cost class
    pays; strictly positive. ``districts`` is D, also counting districts
    without workers.
    """

    workers: Workers
    funds: Funds
    district_of_village: Int32
    districts: int
    cost_rupiah: Int64
