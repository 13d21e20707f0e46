"""How often a fault is made, and what is kept of it.

Few times in every test run, GOTONG_FAULT_ROUNDS times in `make test-faults`. With GOTONG_FAULT_COUNTS
naming a file, every ten rounds a line of JSON is added to it, so counts of several runs add up:
`python -m tests.faults.table` writes docs/RELIABILITY.md from them.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.faults.life import Books

VARIABLE: Final = "GOTONG_FAULT_COUNTS"
#: After so many rounds the books are looked at and a line is written: a run that is cut short loses no more.
_CHUNK: Final = 10
_RACE_CHUNK: Final = 1_000


def rounds_of(modest: int, *, short: int | None = None) -> pytest.MarkDecorator:
    """Parameter ``rounds``: ``short`` in every test run, if given; else the setting, or ``modest``."""
    given = int(os.environ.get("GOTONG_FAULT_ROUNDS") or modest)
    full = [pytest.param(given, marks=pytest.mark.faults, id="full")]
    return pytest.mark.parametrize(
        "rounds", full if short is None else [pytest.param(short, id="short"), *full]
    )


class Counting:
    """Counts one fault's rounds; ``look`` says what the books hold then.

    ``added`` is called after each round with the seconds from the fault to everything settled. Leaving the
    block looks at the books once more; whatever is lost, doubled or found fails the test, after it was
    written down. A round that never settled is written down as failed.
    """

    def __init__(self, fault: str, look: Callable[[], Books]) -> None:
        self._fault = fault
        self._look = look
        self._seconds: list[float] = []
        self._all: list[float] = []

    def added(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._all.append(seconds)
        if len(self._seconds) == _CHUNK:
            self._write_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            if self._seconds:
                self._write_down()
            print(_describe(self._fault, self._all))  # noqa: T201 - for whoever runs it with -s
        elif isinstance(error, AssertionError):
            add_line({"fault": self._fault, "rounds": 1, "failed": str(error).splitlines()[0][:200]})

    def _write_down(self) -> None:
        books = self._look()
        add_line(
            {
                "fault": self._fault,
                "rounds": len(self._seconds),
                **asdict(books),
                "recovery_seconds": [round(seconds, 2) for seconds in self._seconds],
            }
        )
        self._seconds = []
        assert books.whole, books


def add_line(values: dict[str, Any]) -> None:
    """Add a line to the file that GOTONG_FAULT_COUNTS names, with the day and the machine's load."""
    path = os.environ.get(VARIABLE)
    if path:
        stamped = values | {"at": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M}", "load": os.getloadavg()[0]}
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(stamped) + "\n")


class RaceCounting:
    """Counts a race's rounds that ended as they must; every thousand and at the end a line is written."""

    def __init__(self, race: str) -> None:
        self._race = race
        self._rounds = 0
        self._begun = time.monotonic()

    def added(self, rounds: int = 1) -> None:
        self._rounds += rounds
        if self._rounds >= _RACE_CHUNK:
            self._write_down()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._rounds:
            self._write_down()

    def _write_down(self) -> None:
        seconds = round(time.monotonic() - self._begun)
        add_line({"race": self._race, "rounds": self._rounds, "seconds": seconds})
        self._rounds = 0
        self._begun = time.monotonic()


def percentile(seconds: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of them do not exceed; ``seconds`` is not empty."""
    ordered = sorted(seconds)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def _describe(fault: str, seconds: Sequence[float]) -> str:
    return (
        f"{fault}: {len(seconds)} times, 0 lost, 0 doubled, audit clean; "
        f"recovery p50 {statistics.median(seconds):.1f} s, p99 {percentile(seconds, 0.99):.1f} s,"
        f" max {max(seconds):.1f} s"
    )
