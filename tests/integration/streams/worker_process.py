"""A stream worker as an operating-system process of its own, to be stopped or killed.

Run as a script it is that process: ``python -m tests.integration.streams.worker_process`` with the
settings as JSON in GOTONG_TEST_WORKER.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from streams.failpoints import VARIABLE
from streams.settings import StreamSettings

_SETTINGS = "GOTONG_TEST_WORKER"
ROOT = Path(__file__).parents[3]


class WorkerProcess:
    """One ``run_worker`` in its own process; its log is kept in memory after it ended."""

    def __init__(self, settings: StreamSettings, *, failpoint: str | None = None) -> None:
        values = asdict(settings) | {"master_key": base64.b64encode(settings.master_key).decode()}
        environment = {**os.environ, _SETTINGS: json.dumps(values), "PYTHONPATH": str(ROOT)}
        environment.pop(VARIABLE, None)
        if failpoint is not None:
            environment[VARIABLE] = failpoint
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.streams.worker_process"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
            cwd=ROOT,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def log(self) -> list[dict[str, Any]]:
        """What it logged so far; every line must be JSON."""
        self._log.seek(0)
        return [json.loads(line) for line in self._log.read().decode().splitlines()]

    def raw_log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def wait_killed(self, timeout_seconds: float = 40) -> None:
        """Wait until a fail point has killed it."""
        try:
            code = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the fail point was not reached:\n{self.raw_log()}") from None
        assert code == -signal.SIGKILL, self.raw_log()

    def wait_running(self, timeout_seconds: float = 40) -> None:
        await_true(lambda: '"event": "running"' in self.raw_log(), timeout_seconds, self.raw_log)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_seconds: float = 20) -> int:
        """SIGTERM; returns the exit code. Raises when children are left or it takes too long."""
        children = psutil.Process(self._process.pid).children(recursive=True)
        self._process.terminate()
        code = self._process.wait(timeout_seconds)
        _, alive = psutil.wait_procs(children, timeout=2)
        assert not alive, f"left behind: {[child.cmdline() for child in alive]}"
        return code

    def close(self) -> None:
        if self.running:
            self.kill()
        self._log.close()


def await_true(
    condition: Callable[[], bool], timeout_seconds: float = 40, explain: Callable[[], str] = str
) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {timeout_seconds} s: {explain()}")
        time.sleep(0.05)


def _main() -> int:
    # Not above: the solver's process imports this file again, and needs nothing of a worker.
    from streams.worker import run_worker

    values = json.loads(os.environ[_SETTINGS])
    values["master_key"] = base64.b64decode(values["master_key"])
    return run_worker(StreamSettings(**values))


if __name__ == "__main__":
    sys.exit(_main())
