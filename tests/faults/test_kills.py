"""SIGKILL at every named point of a worker, again and again, while events keep coming."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from streams.failpoints import POINTS
from streams.settings import StreamSettings
from tests.faults.conftest import StartWorker
from tests.faults.life import Life
from tests.faults.rounds import Counting, rounds_of

pytestmark = pytest.mark.timeout(4 * 3600)

#: Alerts have their own test: tests/integration/streams/test_alert_worker.py.
_POINTS = [point for point in POINTS if point != "before_deliver"]


@rounds_of(3)
@pytest.mark.parametrize("point", _POINTS)
def test_killed_again_and_again(
    brief: StreamSettings, life: Life, start_worker: StartWorker, tmp_path: Path, point: str, rounds: int
) -> None:
    """Recovery: from the kill, over the start of the next worker, until nothing waits any more."""
    plan = tmp_path / "plan"
    plan.touch()
    worker = start_worker(brief, failpoint=f"@{plan}")
    life.send()
    life.await_settled(worker.raw_log)
    with Counting(f"SIGKILL at {point}", life.look) as counting:
        for number in range(rounds):
            armed = plan.with_suffix(".new")
            armed.write_text(f"{point}:kill@{1 + number % 3}")
            armed.replace(plan)
            deadline = time.monotonic() + 60
            while worker.running and time.monotonic() < deadline:
                life.send(1)
                time.sleep(0.02)
            worker.wait_killed(1)
            killed_at = time.monotonic()
            worker.close()
            plan.write_text("")
            worker = start_worker(brief, failpoint=f"@{plan}")
            life.await_settled(worker.raw_log)
            counting.added(time.monotonic() - killed_at)
