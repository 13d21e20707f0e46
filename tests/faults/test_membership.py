"""Workers come and go, or stand still and return: the group changes, the books do not."""

from __future__ import annotations

import os
import signal
import time

import pytest

from streams.settings import StreamSettings
from tests.faults.life import Life
from tests.faults.rounds import rounds_of, tell_recovery
from tests.integration.streams.conftest import StartWorker

pytestmark = pytest.mark.timeout(4 * 3600)


@rounds_of(3)
def test_one_worker_and_three_in_turn(
    brief: StreamSettings, life: Life, start_worker: StartWorker, rounds: int
) -> None:
    """Two join, then one of them stops in order and the other is killed."""
    first = start_worker(brief)
    recovered: list[float] = []
    for _ in range(rounds):
        others = [start_worker(brief), start_worker(brief)]
        for other in others:
            life.send()
            other.wait_running(120)
        life.send()
        assert others[0].stop() == 0, others[0].raw_log()
        others[1].kill()
        left_at = time.monotonic()
        life.send()
        life.await_settled(first.raw_log)
        recovered.append(time.monotonic() - left_at)
        for other in others:
            other.close()
    life.assert_whole()
    tell_recovery("1 worker, 3 workers, 1 worker", recovered)


@rounds_of(3)
def test_a_worker_that_stood_still_is_fenced(
    brief: StreamSettings, life: Life, start_worker: StartWorker, rounds: int
) -> None:
    """SIGSTOP beyond the session: another worker takes its partitions; SIGCONT: it must do no harm."""
    workers = [start_worker(brief), start_worker(brief)]
    for worker in workers:
        worker.wait_running()
    life.send()
    life.await_settled(workers[0].raw_log)
    recovered: list[float] = []
    for number in range(rounds):
        zombie, other = workers[number % 2], workers[1 - number % 2]
        life.send(20)
        os.kill(zombie.pid, signal.SIGSTOP)
        time.sleep(2 * brief.session_timeout_seconds)
        life.send(20)
        os.kill(zombie.pid, signal.SIGCONT)
        back_at = time.monotonic()
        life.send()
        life.await_settled(other.raw_log)
        recovered.append(time.monotonic() - back_at)
    life.assert_whole()
    tell_recovery("SIGSTOP beyond the session, then SIGCONT", recovered)
