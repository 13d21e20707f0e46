"""Stand-ins for the solver, importable by the child process."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np

from optimizer.progress import Progress
from optimizer.result import AllocationResult, Prices, Status


def _result(status: Status) -> AllocationResult:
    empty = np.zeros(0)
    return AllocationResult(
        status=status,
        fund_of_worker=np.zeros(0, dtype=np.int32),
        amount_rupiah=np.zeros(0, dtype=np.int64),
        tiers=(),
        prices=Prices(empty, empty, empty.reshape(0, 0)),
        seconds={"pid": float(os.getpid())},
    )


def solve_at_once(_problem: Any, _policy: Any, **_: Any) -> AllocationResult:
    return _result(Status.OPTIMAL)


def wait_for_cancel(_problem: Any, _policy: Any, *, cancelled: Any, **_: Any) -> AllocationResult:
    while not cancelled():
        time.sleep(0.01)
    return _result(Status.CANCELLED)


def hang(_problem: Any, _policy: Any, **_: Any) -> AllocationResult:
    while True:
        time.sleep(1)


def refuse(_problem: Any, _policy: Any, **_: Any) -> AllocationResult:
    raise ValueError("no such problem")


def die_once(problem: Any, _policy: Any, **_: Any) -> AllocationResult:
    """Killed at the first call (a file remembers), fine at the next."""
    if not os.path.exists(problem):
        with open(problem, "w"):
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    return _result(Status.OPTIMAL)


def tell_often(_problem: Any, _policy: Any, *, on_progress: Any, **_: Any) -> AllocationResult:
    """A solve of 2.3 seconds that has something to say ten times a second."""
    for tenth in range(23):
        on_progress(Progress("prices", tenth / 10, 90.0, 100.0, 0.1))
        time.sleep(0.1)
    return _result(Status.OPTIMAL)
