from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from models.database import open_engine
from streams.settings import StreamSettings
from tests.integration.streams.events import KUKAR, MASTER_KEY
from tests.integration.streams.worker_process import WorkerProcess
from tests.stack.choice import BrokerKind, choose_broker
from workflow.load_regions import load_regions

StartWorker = Callable[..., WorkerProcess]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


@pytest.fixture
def settings(kafka: str, database_url: str) -> StreamSettings:
    return make_settings(kafka, database_url)


def make_settings(kafka: str, database_url: str) -> StreamSettings:
    forgetful = choose_broker().kind is BrokerKind.EMBEDDED
    return StreamSettings(
        database_url=database_url,
        kafka_brokers=kafka,
        master_key=MASTER_KEY,
        consumer_group=f"test-{uuid.uuid4().hex[:8]}",
        forgetful_broker=forgetful,
        log_id=uuid.uuid4().hex if forgetful else "",
        retry_longest_seconds=1.0,
        session_timeout_seconds=3.0,
        commit_interval_seconds=0.2,
        settle_seconds=0.2,
        shortest_interval_seconds=0.2,
    )


@pytest.fixture
def start_worker() -> Iterator[StartWorker]:
    """Starts worker processes; whatever still runs at the end of the test is killed."""
    started: list[WorkerProcess] = []

    def start(settings: StreamSettings, *, failpoint: str | None = None) -> WorkerProcess:
        started.append(WorkerProcess(settings, failpoint=failpoint))
        return started[-1]

    yield start
    for worker in started:
        worker.close()
