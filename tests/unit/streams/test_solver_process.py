from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from optimizer.progress import Progress
from optimizer.result import AllocationResult, Status
from streams import solver_process
from streams.solver_process import SolverProcess, SolverProcessError
from tests.unit.streams import solves

Make = Callable[[solver_process.Solve], SolverProcess]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[SolverProcess] = []

    def make_solver(solve: solver_process.Solve) -> SolverProcess:
        made.append(SolverProcess(solve))
        return made[-1]

    yield make_solver
    for solver in made:
        solver.stop()


def call(solver: SolverProcess, problem: Any = None) -> AllocationResult:
    return solver(problem, None, previous=None, time_limit_seconds=5)  # type: ignore[arg-type]


def test_it_solves_outside_this_process_and_keeps_the_process(make: Make) -> None:
    solver = make(solves.solve_at_once)
    first, second = call(solver), call(solver)
    assert first.status is Status.OPTIMAL
    assert first.seconds["pid"] == second.seconds["pid"] != os.getpid()


def test_the_solver_s_own_error_reaches_the_caller_and_the_process_stays(make: Make) -> None:
    solver = make(solves.refuse)
    with pytest.raises(ValueError, match="no such problem"):
        call(solver)
    pid = solver.pid
    with pytest.raises(ValueError, match="no such problem"):
        call(solver)
    assert solver.pid == pid


def test_a_process_that_dies_is_an_error_once_and_replaced(make: Make, tmp_path: Path) -> None:
    solver = make(solves.die_once)
    with pytest.raises(SolverProcessError):
        call(solver, str(tmp_path / "died"))
    assert call(solver, str(tmp_path / "died")).status is Status.OPTIMAL


def test_a_solve_that_overruns_is_ended(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(solver_process, "GRACE_SECONDS", 1.0)
    solver = make(solves.hang)
    begin = time.monotonic()
    with pytest.raises(SolverProcessError, match="overran"):
        solver(None, None, previous=None, time_limit_seconds=1.0)  # type: ignore[arg-type]
    assert time.monotonic() - begin < 10
    assert solver.pid is None


@pytest.mark.parametrize("solve", [solves.wait_for_cancel, solves.hang])
def test_stopping_ends_a_running_solve_within_seconds(make: Make, solve: solver_process.Solve) -> None:
    solver = make(solve)
    ended = threading.Event()

    def run() -> None:
        try:
            call(solver)
        except SolverProcessError:
            pass
        finally:
            ended.set()

    threading.Thread(target=run).start()
    while solver.pid is None:
        time.sleep(0.01)
    pid = solver.pid
    time.sleep(0.5)
    begin = time.monotonic()
    solver.stop()
    assert ended.wait(5)
    assert time.monotonic() - begin < 6
    assert not psutil.pid_exists(pid)


def test_whoever_asks_for_it_cancels_the_solve_and_gets_what_it_had(make: Make) -> None:
    solver = make(solves.wait_for_cancel)
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(len(asked) >= 1)
        return asked[-1]

    answer = solver(None, None, previous=None, time_limit_seconds=30, cancelled=cancelled)  # type: ignore[arg-type]
    assert answer.status is Status.CANCELLED
    assert asked == [False, True], "asked about once a second, and not again once it is to stop"


def test_a_killed_worker_leaves_no_orphan() -> None:
    script = """
import sys, time
from streams.solver_process import SolverProcess
from tests.unit.streams.solves import hang
if __name__ == "__main__":
    import threading
    solver = SolverProcess(hang)
    threading.Thread(
        target=solver, args=(None, None), kwargs={"previous": None, "time_limit_seconds": 60}, daemon=True
    ).start()
    while solver.pid is None:
        time.sleep(0.01)
    time.sleep(1)
    print("child", solver.pid, flush=True)
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, env=environment, text=True
    ) as worker:
        assert worker.stdout is not None
        line = next(line for line in worker.stdout if line.startswith("child "))
        child = psutil.Process(int(line.split()[1]))
        assert child.is_running()
        worker.send_signal(signal.SIGKILL)
        child.wait(timeout=30)


def test_progress_comes_about_once_a_second_and_the_answer_after_it(make: Make) -> None:
    solver = make(solves.tell_often)
    told: list[Progress] = []
    answer = solver(None, None, previous=None, time_limit_seconds=30, on_progress=told.append)  # type: ignore[arg-type]
    assert answer.status is Status.OPTIMAL
    assert 1 <= len(told) <= 10
    assert told[0] == Progress("prices", told[0].seconds, 90.0, 100.0, 0.1)
