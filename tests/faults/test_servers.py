"""The servers fail under a working worker: PostgreSQL's backends, its postmaster, the broker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest
from sqlalchemy import Engine, text

from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.faults.conftest import StartWorker, shorten
from tests.faults.life import Life
from tests.faults.rounds import Counting, rounds_of
from tests.integration.streams.conftest import make_settings
from tests.integration.streams.events import KUKAR
from tests.integration.streams.worker_process import await_true
from tests.stack.kafka import NativeKafka
from workflow.load_regions import load_regions

pytestmark = pytest.mark.timeout(4 * 3600)

_TERMINATE_ONE = text(
    "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'gotong-worker'"
    " ORDER BY random() LIMIT 1) AS one"
)


@rounds_of(20, short=5)
def test_backends_are_terminated(
    engine: Engine, brief: StreamSettings, life: Life, start_worker: StartWorker, rounds: int
) -> None:
    worker = start_worker(brief)
    life.send()
    life.await_settled(worker.raw_log)
    with Counting("PostgreSQL backend terminated", life.look) as counting:
        for _ in range(rounds):
            life.send()
            with engine.connect() as connection:
                await_true(lambda connection=connection: bool(connection.scalar(_TERMINATE_ONE)))  # type: ignore[misc]
            counting.added(life.await_settled(worker.raw_log))


@pytest.fixture
def own_engine(own_postgres: EmbeddedPostgres) -> Iterator[Engine]:
    migrate(own_postgres.url())
    own = open_engine(own_postgres.url())
    load_regions(own, [KUKAR])
    yield own
    own.dispose()


@rounds_of(3)
def test_the_postmaster_is_killed(
    kafka: str, own_postgres: EmbeddedPostgres, own_engine: Engine, start_worker: StartWorker, rounds: int
) -> None:
    """SIGKILL without a moment for its children; then crash recovery."""
    settings = shorten(make_settings(kafka, own_postgres.url()))
    asyncio.run(ensure_topics(settings))
    life = Life(own_engine, settings)
    worker = start_worker(settings)
    life.send()
    life.await_settled(worker.raw_log)
    with Counting("PostgreSQL postmaster killed", life.look) as counting:
        for _ in range(rounds):
            life.send()
            pid_file = own_postgres.data_folder / "postmaster.pid"
            postmaster = psutil.Process(int(pid_file.read_text().split()[0]))
            backends = postmaster.children()
            os.kill(postmaster.pid, signal.SIGKILL)
            killed_at = time.monotonic()
            psutil.wait_procs([postmaster, *backends], timeout=30)
            own_postgres.stop()
            own_postgres.start()
            own_engine.dispose()
            life.await_settled(worker.raw_log)
            counting.added(time.monotonic() - killed_at)


@rounds_of(3)
def test_the_broker_is_killed(
    own_kafka: NativeKafka, engine: Engine, database_url: str, start_worker: StartWorker, rounds: int
) -> None:
    settings = replace(
        shorten(make_settings(own_kafka.bootstrap_servers, database_url)), forgetful_broker=False, log_id=""
    )
    asyncio.run(ensure_topics(settings))
    life = Life(engine, settings)
    worker = start_worker(settings)
    life.send()
    life.await_settled(worker.raw_log)
    with Counting("broker killed", life.look) as counting:
        for _ in range(rounds):
            life.send()
            own_kafka.kill()
            killed_at = time.monotonic()
            own_kafka.restart()
            life.send()
            life.await_settled(worker.raw_log)
            counting.added(time.monotonic() - killed_at)
