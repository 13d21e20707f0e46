"""Run the stream workers and the portal as child processes that never outlive this one.

A crashed child is started again, later each time. A stop is SIGTERM, then SIGKILL after a time-out: a
worker whose agent crashes in a loop does not stop by itself. Each child leads its own process group, so
that Ctrl-C in a terminal reaches only the parent (which stops its children in order), and so that a child's
own helpers go with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

import psutil

#: Tells a child whose child it is; see ``follow_owner``.
OWNER_VARIABLE: Final = "GOTONG_INTERNAL_OWNER"
STOP_TIMEOUT_SECONDS: Final = 15.0
_FIRST_DELAY_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 30.0
_STABLE_SECONDS: Final = 30.0
_LOG_BYTES_MAX: Final = 20 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ChildState:
    """What a child is doing. ``exit_code`` is that of its last end, negative for a signal."""

    name: str
    pid: int | None
    restarts: int
    exit_code: int | None
    log_file: Path


class Child:
    """One supervised process and when to start it again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log_file: Path,
        *,
        environment: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self._command = list(command)
        self._environment = dict(environment or {})
        self._keep_open = tuple(keep_open)
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._restarts = 0
        self._exit_code: int | None = None
        self._started_at = 0.0
        self._start_again_at = 0.0
        self._delay_seconds = _FIRST_DELAY_SECONDS

    @property
    def state(self) -> ChildState:
        """The child now."""
        pid = self._process.pid if self._process else None
        return ChildState(self.name, pid, self._restarts, self._exit_code, self.log_file)

    def start(self) -> None:
        """Start the process; its output goes to the log file."""
        with _open_log(self.log_file) as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment, OWNER_VARIABLE: str(os.getpid())},
                start_new_session=True,
                pass_fds=self._keep_open,
            )
        self._started_at = self._clock()

    def keep_running(self) -> int | None:
        """Start the process again if it ended and its pause is over; return its exit code when just ended."""
        if self._process is None:
            if self._clock() >= self._start_again_at:
                self._restarts += 1
                self.start()
            return None
        if not _has_ended(self._process.pid):
            return None
        _kill_group(self._process.pid)
        self._exit_code = code = self._process.wait()
        self._process = None
        if self._clock() - self._started_at >= _STABLE_SECONDS:
            self._delay_seconds = _FIRST_DELAY_SECONDS
        self._start_again_at = self._clock() + self._delay_seconds
        self._delay_seconds = min(2 * self._delay_seconds, _LONGEST_DELAY_SECONDS)
        return code

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None:
            # Not Popen.terminate, which reaps a child that has ended and so gives its number away.
            os.kill(self._process.pid, signal.SIGTERM)

    def stop(self, timeout_seconds: float) -> bool:
        """Wait for the end after ``ask_to_stop``; kill what is left. False when it had to be killed."""
        if self._process is None:
            return True
        deadline = time.monotonic() + timeout_seconds
        while not (willing := _has_ended(self._process.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        _kill_group(self._process.pid)
        self._exit_code = self._process.wait()
        self._process = None
        return willing


class Supervisor:
    """Keeps a set of children running until it is left (``with Supervisor() as children``)."""

    def __init__(self, *, stop_timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
        self._children: list[Child] = []
        self._stop_timeout_seconds = stop_timeout_seconds
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def states(self) -> list[ChildState]:
        """Every child now, in the order they were added."""
        return [child.state for child in self._children]

    def add(
        self,
        name: str,
        command: Sequence[str],
        log_file: Path,
        *,
        environment: Mapping[str, str] | None = None,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start a child and keep it running from now on; it inherits the file descriptors ``keep_open``."""
        child = Child(name, command, log_file, environment=environment, keep_open=keep_open)
        with self._lock:
            child.start()
            self._children.append(child)

    def stop(self) -> list[str]:
        """Stop the children, the last one first; return the names of those that had to be killed."""
        self._stopping.set()
        if self._watch is not None:
            self._watch.join()
            self._watch = None
        with self._lock:
            for child in reversed(self._children):
                child.ask_to_stop()
            deadline = time.monotonic() + self._stop_timeout_seconds
            killed = [
                child.name
                for child in reversed(self._children)
                if not child.stop(deadline - time.monotonic())
            ]
            self._children.clear()
        return killed

    def __enter__(self) -> Self:
        self._watch = threading.Thread(target=self._keep_running, name="supervisor", daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _keep_running(self) -> None:
        while not self._stopping.wait(0.2):
            with self._lock:
                for child in self._children:
                    child.keep_running()


class StopSignals:
    """SIGTERM and SIGINT as a flag: ``with StopSignals() as stop: stop.wait(1.0)``.

    A second signal during a slow stop changes nothing, so that nothing is left half stopped.
    """

    def __init__(self) -> None:
        self._flag = threading.Event()
        self._before: dict[int, object] = {}

    @property
    def received(self) -> bool:
        """Whether a stop was asked for."""
        return self._flag.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep; return at once, and True, when a stop is or was asked for."""
        return self._flag.wait(seconds)

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _receive(self, _number: int, _frame: object) -> None:
        self._flag.set()


def follow_owner(*, grace_seconds: float = STOP_TIMEOUT_SECONDS) -> None:
    """In a supervised child: end when the parent is gone, however it ended (SIGKILL included).

    Does nothing in a process that nobody supervises.
    """
    owner = os.environ.pop(OWNER_VARIABLE, "")
    if owner.isdigit():
        arguments = (int(owner), grace_seconds)
        threading.Thread(target=_end_with, args=arguments, name="follow-owner", daemon=True).start()


def own_command(*arguments: str) -> list[str]:
    """The command line that runs Gotong's own command, in this interpreter."""
    return [sys.executable, "-m", "gotong", *arguments]


def _end_with(owner_pid: int, grace_seconds: float) -> None:
    # A process gets another parent when its own dies.
    while os.getppid() == owner_pid:
        time.sleep(0.25)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    os.killpg(0, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    """Whether our child ended. It is not reaped: until then its number, and its group's, cannot be reused."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def _kill_group(pid: int) -> None:
    """Kill what is left of a child's process group, the child itself included. Call before reaping it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _open_log(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        if path.stat().st_size > _LOG_BYTES_MAX:
            path.replace(path.with_suffix(path.suffix + ".1"))
    return path.open("ab")
