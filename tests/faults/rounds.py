"""How often a fault is made: few times in every test run, GOTONG_FAULT_ROUNDS times in `make test-faults`."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence

import pytest


def rounds_of(modest: int, *, short: int | None = None) -> pytest.MarkDecorator:
    """Parameter ``rounds``: ``short`` in every test run, if given; else the setting, or ``modest``."""
    given = int(os.environ.get("GOTONG_FAULT_ROUNDS") or modest)
    full = [pytest.param(given, marks=pytest.mark.faults, id="full")]
    return pytest.mark.parametrize(
        "rounds", full if short is None else [pytest.param(short, id="short"), *full]
    )


def tell_recovery(what: str, seconds: Sequence[float]) -> None:
    """Print one row for docs/RELIABILITY.md."""
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(  # noqa: T201 - for docs/RELIABILITY.md
        f"{what}: {len(ordered)} times, 0 lost, 0 doubled, audit clean; "
        f"recovery p50 {statistics.median(ordered):.1f} s, p99 {p99:.1f} s, max {ordered[-1]:.1f} s"
    )
