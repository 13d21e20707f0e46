"""SIGKILL at every named point of a worker, again and again, while events keep coming."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.failpoints import POINTS
from streams.settings import StreamSettings
from tests.faults.life import Life
from tests.faults.rounds import rounds_of, tell_recovery
from tests.integration.streams.conftest import StartWorker

pytestmark = pytest.mark.timeout(4 * 3600)


@rounds_of(3)
@pytest.mark.parametrize("point", POINTS)
def test_killed_again_and_again(
    brief: StreamSettings, life: Life, start_worker: StartWorker, tmp_path: Path, point: str, rounds: int
) -> None:
    """Recovery: from the kill, over the start of the next worker, until nothing waits any more."""
    plan = tmp_path / "plan"
    plan.touch()
    worker = start_worker(brief, failpoint=f"@{plan}")
    life.send()
    life.await_settled(worker.raw_log)
    recovered: list[float] = []
    for number in range(rounds):
        armed = plan.with_suffix(".new")
        armed.write_text(f"{point}:kill@{1 + number % 3}")
        armed.replace(plan)
        deadline = time.monotonic() + 60
        while worker.running and time.monotonic() < deadline:
            life.send()
            time.sleep(0.05)
        worker.wait_killed(1)
        worker.close()
        plan.write_text("")
        killed_at = time.monotonic()
        worker = start_worker(brief, failpoint=f"@{plan}")
        life.await_settled(worker.raw_log)
        recovered.append(time.monotonic() - killed_at)
    life.assert_whole()
    tell_recovery(f"SIGKILL at {point}", recovered)
