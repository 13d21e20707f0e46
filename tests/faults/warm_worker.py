"""Workers forked from a process that has imported everything: a fault a few seconds, not half a minute.

Starting Python and its libraries costs about five seconds of computing per worker with its solver, which a
thousand kills would spend a thousand times. Here both are forked from Python's own fork server. What is left
out is only that start; the worker itself begins from nothing, as after any kill.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from streams.failpoints import VARIABLE
from streams.settings import StreamSettings
from tests.integration.streams.worker_process import await_true

_PRELOAD = ["tests.faults.warm_imports"]


class WarmWorker:
    """As ``WorkerProcess``, but forked; its solver is forked too, so it is no child of the worker."""

    def __init__(self, settings: StreamSettings, *, failpoint: str | None = None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(_PRELOAD)
        with tempfile.NamedTemporaryFile(prefix="gotong-worker-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)
        self._process = context.Process(target=_work, args=(settings, failpoint, str(self._log)))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.is_alive()

    def raw_log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_running(self, timeout_seconds: float = 40) -> None:
        await_true(lambda: '"event": "running"' in self.raw_log(), timeout_seconds, self.raw_log)

    def wait_killed(self, timeout_seconds: float = 40) -> None:
        """Wait until a fail point has killed it."""
        self._process.join(timeout_seconds)
        assert self._process.exitcode == -signal.SIGKILL, f"{self._process.exitcode}: {self.raw_log()}"

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def stop(self, timeout_seconds: float = 90) -> int | None:
        """SIGTERM; returns the exit code, ``None`` when it takes too long."""
        self._process.terminate()
        self._process.join(timeout_seconds)
        return self._process.exitcode

    def close(self) -> None:
        if self._process.is_alive():
            self.kill()
        self._log.unlink(missing_ok=True)


def _work(settings: StreamSettings, failpoint: str | None, log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.environ.pop(VARIABLE, None)
    if failpoint is not None:
        os.environ[VARIABLE] = failpoint
    # A forked process may ask the same fork server for another, but Python 3.11 would start it a server anew.
    server: Any = forkserver._forkserver
    server.ensure_running = lambda: None
    get_context: Any = multiprocessing.get_context

    def fork_solver_too(_method: str | None = None) -> BaseContext:
        context: BaseContext = get_context("forkserver")
        return context

    multiprocessing.get_context = fork_solver_too  # type: ignore[assignment]
    from streams.worker import run_worker

    sys.exit(run_worker(settings))
