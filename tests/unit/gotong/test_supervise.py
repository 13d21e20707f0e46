"""Supervision with real processes: what crashes comes back, what should stop stops, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gotong.supervise import Child, StopSignals, Supervisor

SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
IGNORES_SIGTERM = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True);"
    " time.sleep(60)",
]


def wait_for(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_a_crashed_child_starts_again_and_its_output_is_kept(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('hello'); raise SystemExit(3)"]
    with Supervisor() as children:
        children.add("worker-1", command, tmp_path / "worker-1.log")
        wait_for(lambda: children.states[0].restarts >= 1)
        assert children.states[0].exit_code == 3
    assert "hello" in (tmp_path / "worker-1.log").read_text()


def test_the_pause_before_a_restart_grows_is_bounded_and_is_forgiven(tmp_path: Path) -> None:
    now = 0.0
    child = Child("worker-1", [sys.executable, "-c", ""], tmp_path / "log", clock=lambda: now)

    def measure_pause() -> float:
        nonlocal now
        wait_for(lambda: child.keep_running() is not None)
        ended = now
        while child.state.pid is None:
            now += 0.25
            child.keep_running()
        return now - ended

    child.start()
    pauses = [measure_pause() for _ in range(8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    now += 100.0  # it ran for a good while
    assert measure_pause() == 0.5
    child.stop(5.0)


def test_stopping_leaves_no_process_and_says_who_had_to_be_killed(tmp_path: Path) -> None:
    children = Supervisor(stop_timeout_seconds=0.5)
    with children:
        children.add("portal", SLEEPS, tmp_path / "portal.log")
        children.add("worker-1", IGNORES_SIGTERM, tmp_path / "worker-1.log")
        wait_for(lambda: "ready" in (tmp_path / "worker-1.log").read_text())
        pids = [state.pid for state in children.states]
        assert children.stop() == ["worker-1"]
        assert not any(psutil.pid_exists(pid) for pid in pids if pid)


def test_a_child_that_ended_unnoticed_stops_without_fuss(tmp_path: Path) -> None:
    child = Child("worker-1", [sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log")
    child.start()
    pid = child.state.pid
    assert pid is not None
    wait_for(lambda: _is_zombie(pid))
    child.ask_to_stop()
    assert child.stop(5.0)
    assert child.state.exit_code == 3


def test_a_childs_own_helpers_go_with_it(tmp_path: Path) -> None:
    helper = (
        f"import subprocess, sys; p = subprocess.Popen({SLEEPS!r}); print(p.pid, flush=True); sys.exit(1)"
    )
    log = tmp_path / "worker-1.log"
    with Supervisor() as children:
        children.add("worker-1", [sys.executable, "-c", helper], log)
        wait_for(lambda: children.states[0].exit_code == 1)
        helper_pid = int(log.read_text().split()[0])
        wait_for(lambda: not psutil.pid_exists(helper_pid) or _is_zombie(helper_pid))


@pytest.mark.parametrize("stubborn", [False, True])
def test_children_end_with_a_parent_that_was_killed(tmp_path: Path, stubborn: bool) -> None:
    child = "from gotong.supervise import follow_owner; import signal, time; "
    if stubborn:
        child += "signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    child += "follow_owner(grace_seconds=0.5); print('ready', flush=True); time.sleep(60)"
    parent = (
        "import sys, time\nfrom pathlib import Path\nfrom gotong.supervise import Supervisor\n"
        "with Supervisor() as children:\n"
        f"    children.add('c', [sys.executable, '-c', {child!r}], Path({str(tmp_path / 'log')!r}))\n"
        "    print(children.states[0].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        wait_for(lambda: "ready" in (tmp_path / "log").read_text())
        process.kill()
        process.wait()
        wait_for(lambda: not psutil.pid_exists(pid) or _is_zombie(pid))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_is_a_flag_and_is_given_back_afterwards(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert not stop.wait(0.0)
        os.kill(os.getpid(), number)
        assert stop.wait(5.0)
        os.kill(os.getpid(), number)  # a second one during a slow stop interrupts nothing
        assert stop.received
    assert signal.getsignal(number) is before


def _is_zombie(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
