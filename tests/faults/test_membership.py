"""Workers come and go, or stand still and return: the group changes, the books do not."""

from __future__ import annotations

import os
import signal
import time

import pytest

from streams.settings import StreamSettings
from tests.faults.conftest import StartWorker
from tests.faults.life import Life
from tests.faults.rounds import Counting, rounds_of

pytestmark = pytest.mark.timeout(4 * 3600)


@rounds_of(3)
def test_one_worker_and_three_in_turn(
    brief: StreamSettings, life: Life, start_worker: StartWorker, rounds: int
) -> None:
    """Two join, then one of them stops in order and the other is killed."""
    first = start_worker(brief)
    with Counting("1 worker, 3 workers, 1 worker", life.look) as counting:
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
            counting.added(time.monotonic() - left_at)
            for other in others:
                other.close()


@rounds_of(3)
def test_a_worker_that_stood_still_is_fenced(
    brief: StreamSettings, life: Life, start_worker: StartWorker, rounds: int
) -> None:
    """SIGSTOP: another worker takes partitions, locks and the lead, and settles everything while the first
    still stands. SIGCONT: what that one had begun does no harm. Recovery is counted from the SIGSTOP."""
    workers = [start_worker(brief), start_worker(brief)]
    for worker in workers:
        worker.wait_running(120)
    life.send()
    life.await_settled(workers[0].raw_log)
    with Counting("SIGSTOP beyond the session, then SIGCONT", life.look) as counting:
        for number in range(rounds):
            zombie, other = workers[number % 2], workers[1 - number % 2]
            life.send(20)
            time.sleep(number % 10 * 0.05)  # now here, now there in what it does
            os.kill(zombie.pid, signal.SIGSTOP)
            stopped_at = time.monotonic()
            try:
                life.send(20)
                life.await_settled(other.raw_log)
                counting_seconds = time.monotonic() - stopped_at
                time.sleep(max(0.0, 2 * brief.session_timeout_seconds - counting_seconds))
            finally:
                os.kill(zombie.pid, signal.SIGCONT)
            life.send()
            life.await_settled(zombie.raw_log)
            counting.added(counting_seconds)
