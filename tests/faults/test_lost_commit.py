"""The answer to a COMMIT is lost on the wire: what was stored is not stored again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.settings import StreamSettings
from tests.faults.commit_proxy import CommitProxy
from tests.faults.conftest import StartWorker
from tests.faults.life import Life
from tests.faults.rounds import Counting, rounds_of
from tests.integration.streams.worker_process import await_true

pytestmark = pytest.mark.timeout(4 * 3600)


@rounds_of(30, short=8)
def test_the_answer_to_a_commit_is_lost(
    brief: StreamSettings, life: Life, start_worker: StartWorker, rounds: int
) -> None:
    with CommitProxy(brief.database_url) as proxy:
        worker = start_worker(replace(brief, database_url=proxy.url))
        life.send()
        life.await_settled(worker.raw_log)
        with Counting("answer to COMMIT lost", life.look) as counting:
            for number in range(1, rounds + 1):
                proxy.lose_next()
                life.send()
                await_true(lambda number=number: proxy.lost == number, explain=worker.raw_log)  # type: ignore[misc]
                counting.added(life.await_settled(worker.raw_log))
        worker.kill()
