"""What a long solve says while it runs, and how it is told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: How often a library's search looks for a cancel.
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a running solve.

    ``phase`` names what runs now; ``value`` and ``bound`` are the first tier's
    best known figures (``None`` until there are any); ``gap`` is their relative
    distance; ``seconds`` is wall time since the solve began.
    """

    phase: str
    seconds: float
    value: float | None = None
    bound: float | None = None
    gap: float | None = None


class Clock:
    """Wall time of one solve: the deadline, the phases, the cancel question.

    Library solvers poll ``stopped``; our own loops call ``check`` between
    steps, so a cancel takes effect within one step.
    """

    def __init__(
        self,
        time_limit_seconds: float,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        self._begin = time.perf_counter()
        self._limit = time_limit_seconds
        self._on_progress = on_progress
        self._cancelled = cancelled
        self._was_cancelled = False
        self.phases: dict[str, float] = {}
        self.value: float | None = None
        self.bound: float | None = None

    @property
    def seconds(self) -> float:
        """Wall seconds since the solve began."""
        return time.perf_counter() - self._begin

    @property
    def left_seconds(self) -> float:
        """Wall seconds until the deadline, never negative."""
        return max(0.0, self._limit - self.seconds)

    @property
    def was_cancelled(self) -> bool:
        """Whether the caller has asked to stop; once true, always true."""
        if not self._was_cancelled and self._cancelled is not None and self._cancelled():
            self._was_cancelled = True
        return self._was_cancelled

    @property
    def stopped(self) -> bool:
        """Whether the solve should wind up: out of time or cancelled."""
        return self.was_cancelled or self.left_seconds <= 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase (seconds add up when a name repeats) and report its start."""
        self.report(name)
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - begin

    def report(self, phase: str, value: float | None = None, bound: float | None = None) -> None:
        """Tell the caller where the solve stands; figures given are remembered."""
        if value is not None:
            self.value = value
        if bound is not None:
            self.bound = bound
        if self._on_progress is None:
            return
        gap = None
        if self.value is not None and self.bound is not None:
            gap = max(0.0, self.bound - self.value) / max(abs(self.bound), 1.0)
        self._on_progress(Progress(phase, self.seconds, self.value, self.bound, gap))


@contextmanager
def stopped_on_cancel(stop: Callable[[], object], clock: Clock) -> Iterator[None]:
    """Call ``stop`` when the caller cancels while a library searches, whether or not it finds solutions."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_SECONDS):
            if clock.was_cancelled:
                # Again until it ends: a search that has not begun yet forgets the first call.
                stop()

    thread = threading.Thread(target=watch, name="cancel", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
