"""From moments of sending and committing to figures: delays outside faults, recovery, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Moments = NDArray[np.float64]

#: A house has recovered once nothing older than this is still open.
_OPEN_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Fault:
    """What befell the house; ``end`` is when what was taken away had been started again."""

    name: str
    begin: float
    end: float
    recovered: float = float("nan")


def find_recoveries(sent: Moments, committed: Moments, faults: Sequence[Fault]) -> list[Fault]:
    """The faults with the moment from which on no event older than half a second was open.

    ``sent`` (seconds, ascending) and ``committed`` belong to the same events.
    """
    open_until = np.maximum.accumulate(committed)
    before = np.searchsorted(sent, sent - _OPEN_SECONDS) - 1  # the last event that must be committed by then
    calm = np.where(before < 0, True, open_until[np.maximum(before, 0)] <= sent)
    found = []
    for fault in faults:
        # Before this nothing could be that old, whatever the fault did.
        earliest = max(fault.end, fault.begin + 2 * _OPEN_SECONDS)
        later = np.flatnonzero(calm & (sent >= earliest))
        recovered = float(sent[later[0]]) if later.size else float("nan")
        found.append(Fault(fault.name, fault.begin, fault.end, recovered))
    return found


def outside(sent: Moments, faults: Sequence[Fault]) -> NDArray[np.bool_]:
    """Which events were sent neither just before a fault nor until its recovery."""
    kept = np.ones(sent.size, dtype=bool)
    for fault in faults:
        until = fault.recovered if fault.recovered == fault.recovered else np.inf
        kept &= (sent < fault.begin - 1.0) | (sent >= until)
    return kept


def slope_percent_per_hour(samples: Sequence[tuple[float, int]], warm_up_seconds: float) -> float:
    """The least-squares slope of memory after the warm-up, relative to its mean; NaN if too short."""
    if not samples:
        return float("nan")
    moments = np.array([moment for moment, _ in samples]) - samples[0][0]
    sizes = np.array([size for _, size in samples], dtype=float)
    late = moments >= warm_up_seconds
    if late.sum() < 10:
        return float("nan")
    return float(np.polyfit(moments[late], sizes[late], 1)[0] / sizes[late].mean() * 3600 * 100)
