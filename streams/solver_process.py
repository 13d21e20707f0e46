"""The solver in a process of its own: long sums must not stop heartbeats, and a crash must not stop intake.

One child per worker, started early and kept, since importing OR-Tools takes about a second. The pipe
between them is also the leash: when the parent is gone, however it ended, the child reads end-of-file
and leaves at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, Final

import structlog

from optimizer.policy import Policy
from optimizer.problem import AllocationProblem
from optimizer.progress import Progress
from optimizer.result import AllocationResult, Prices, Status

#: How long past its time limit a solve may run before its process is ended.
GRACE_SECONDS: Final = 15.0
_STOP_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.2
_TELL_SECONDS: Final = 1.0
#: On a full machine a match may take longer, so that events are still taken while it is computed.
_NICENESS: Final = 5

_log = structlog.get_logger("gotong.streams.solver")

Solve = Callable[..., AllocationResult]


class SolverProcessError(RuntimeError):
    """The solver's process died or hung; the request may be tried again."""


class SolverStoppedError(SolverProcessError):
    """The worker is stopping; another one will answer the request."""


class SolverProcess:
    """A ``workflow.solver.Solver`` that solves in a child process, one problem at a time.

    ``solve`` is a module-level function (default: ``optimizer.solve.solve``); tests pass their own.
    """

    def __init__(self, solve: Solve | None = None) -> None:
        self._solve = solve
        self._lock = threading.Lock()
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._stopping = threading.Event()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start the child, if it does not run. Returns before the child has imported anything."""
        with self._lock:
            self._ensure()

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
        """Solve; blocks the calling thread. Progress comes about once a second, in this thread;
        as often ``cancelled`` is asked there whether to stop.

        Raises ``SolverProcessError`` when the child dies or overruns, and whatever the solver raised.
        """
        with self._lock:
            pipe = self._ensure()
            try:
                pipe.send(("solve", problem, policy, previous, time_limit_seconds))
                deadline = time.monotonic() + time_limit_seconds + GRACE_SECONDS
                orders = _Orders(self._stopping.is_set, cancelled)
                kind, answer = self._receive(pipe, deadline, orders)
                while kind == "progress":
                    _log.info("solving", **asdict(answer))
                    if on_progress is not None:
                        on_progress(answer)
                    kind, answer = self._receive(pipe, deadline, orders)
            except (EOFError, OSError) as error:
                self._end()
                if self._stopping.is_set():
                    raise SolverStoppedError("the solve was stopped") from error
                raise SolverProcessError("the solver's process died") from error
        if kind == "error":
            raise answer
        assert isinstance(answer, AllocationResult)
        if answer.status is Status.CANCELLED and self._stopping.is_set():
            raise SolverStoppedError("the solve was cancelled")
        return answer

    def stop(self) -> None:
        """Cancel what runs and end the child within about two seconds."""
        self._stopping.set()
        if self._lock.acquire(timeout=_STOP_SECONDS):
            try:
                self._end()
            finally:
                self._lock.release()
        else:
            self._end()

    def _receive(self, pipe: Connection, deadline: float, orders: _Orders) -> tuple[str, Any]:
        while not pipe.poll(_POLL_SECONDS):
            if orders.want_cancel():
                pipe.send(("cancel",))
            now = time.monotonic()
            # Whom an officer stopped may take its time to end; a worker that stops does not wait.
            overdue = self._stopping.is_set() and now > orders.cancelled_at + _STOP_SECONDS
            if overdue or now > deadline:
                self._end()
                if overdue:
                    raise SolverStoppedError("the solve was stopped")
                raise SolverProcessError("the solve overran its time")
        kind, answer = pipe.recv()
        return str(kind), answer

    def _ensure(self) -> Connection:
        if self._stopping.is_set():
            raise SolverStoppedError("the worker is stopping")
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        self._end()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, self._solve), name="gotong-solver", daemon=True
        )
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        _log.info("solver_started", pid=process.pid)
        return ours

    def _end(self) -> None:
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.join(timeout=_POLL_SECONDS)
            if process.is_alive():
                process.kill()
                process.join(timeout=_STOP_SECONDS)


class _Orders:
    """Whether one solve is to stop, because the worker does or somebody asks for it; said once."""

    def __init__(self, stopping: Callable[[], bool], cancelled: Callable[[], bool] | None) -> None:
        self._stopping, self._cancelled = stopping, cancelled
        self._asked_at = time.monotonic()
        self.cancelled_at = float("inf")

    def want_cancel(self) -> bool:
        """True at the moment when the solve is to be cancelled."""
        now = time.monotonic()
        if self.cancelled_at <= now:
            return False
        wanted = self._stopping()
        if not wanted and self._cancelled is not None and now >= self._asked_at + _TELL_SECONDS:
            self._asked_at = now
            wanted = self._cancelled()
        if wanted:
            self.cancelled_at = now
        return wanted


def _tell_now_and_then(pipe: Connection) -> Callable[[Progress], None]:
    """Pass progress on at most once a second; a solve of under a second says nothing."""
    told = time.monotonic()

    def tell(progress: Progress) -> None:
        nonlocal told
        if time.monotonic() >= told + _TELL_SECONDS:
            told = time.monotonic()
            pipe.send(("progress", progress))

    return tell


def _serve(pipe: Connection, solve: Solve | None) -> None:
    """The child's whole life."""
    with contextlib.suppress(OSError):
        os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    work: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
    cancelled = threading.Event()

    def read() -> None:
        try:
            while True:
                order = pipe.recv()
                if order[0] == "cancel":
                    cancelled.set()
                else:
                    work.put(order)
        except (EOFError, OSError):
            os._exit(0)  # the parent is gone or has let go

    threading.Thread(target=read, name="leash", daemon=True).start()
    if solve is None:
        import_module("optimizer.exact")  # what small matches need, before the first of them comes
        from optimizer.solve import solve as default_solve

        solve = default_solve
    while True:
        _, problem, policy, previous, time_limit_seconds = work.get()
        try:
            answer: tuple[str, Any] = (
                "result",
                solve(
                    problem,
                    policy,
                    previous=previous,
                    time_limit_seconds=time_limit_seconds,
                    on_progress=_tell_now_and_then(pipe),
                    cancelled=cancelled.is_set,
                ),
            )
        except Exception as error:  # noqa: BLE001 - told to the caller
            answer = ("error", error)
        cancelled.clear()
        try:
            pipe.send(answer)
        except OSError:
            os._exit(0)
        except Exception as error:  # noqa: BLE001 - an answer that cannot be pickled
            pipe.send(("error", SolverProcessError(f"{type(error).__name__} from the solver")))
