"""How a workflow step calls the optimiser without knowing where it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from optimizer.policy import Policy
from optimizer.problem import AllocationProblem
from optimizer.progress import Progress
from optimizer.result import AllocationResult, Prices


class Solver(Protocol):
    """Solves a problem, in this process or (in a stream worker) in one of its own."""

    def __call__(
        self,
        problem: AllocationProblem,
        policy: Policy,
        *,
        previous: Prices | None,
        time_limit_seconds: float,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> AllocationResult:
        """Return a verified result within about ``time_limit_seconds``.

        ``on_progress`` hears how far a long solve is, about once a second; as often ``cancelled`` is asked
        whether to stop, and the result is then ``CANCELLED``.
        """
        ...
