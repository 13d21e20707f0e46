"""What a solve returns: the match, how good it is, and what proves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from optimizer.problem import Int32, Int64


class Status(StrEnum):
    """How far a result is proven.

    ``OPTIMAL`` only when value equals bound in every tier within that tier's
    stated tolerance and the proof is exact; ``FEASIBLE`` otherwise.
    """

    OPTIMAL = "OPTIMAL"
    FEASIBLE = "FEASIBLE"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True, slots=True)
class TierResult:
    """One objective tier of the lexicographic solve.

    ``value`` is reached, ``bound`` is proven to be unbeatable given the
    earlier tiers' values and tolerances, ``gap`` is the relative distance
    (0.0003 = 0.03 %). ``proven`` says that the bound is the tier's optimum and
    that the value meets it, but for what the policy's tolerances let later
    tiers give up.
    """

    name: str
    value: float
    bound: float
    gap: float
    seconds: float
    proven: bool


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """Dual prices: the proof of the bound and the warm start of the next run.

    ``fund`` (F) is score per rupiah, ``head`` (F) score per worker under the
    head-count cap, ``district`` (F x D) score per worker under the district
    cap. All are >= 0. ``gap`` is the coverage gap of the last full search on the
    way to them: a warm start that comes about as near does not search again.
    """

    fund: npt.NDArray[np.float64]
    head: npt.NDArray[np.float64]
    district: npt.NDArray[np.float64]
    gap: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class AllocationResult:
    """A verified match.

    ``fund_of_worker`` (N) is a fund index or -1; ``amount_rupiah`` (N) is 0 for
    unfunded workers. ``tiers`` stand in the order of the policy. ``seconds``
    maps phase to wall seconds.
    """

    status: Status
    fund_of_worker: Int32
    amount_rupiah: Int64
    tiers: tuple[TierResult, ...]
    prices: Prices
    seconds: Mapping[str, float]
