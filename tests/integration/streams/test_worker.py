"""A worker process between a real broker and a real PostgreSQL."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Engine, text

from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import pledge
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.events import (
    MASTER_KEY,
    batch_message,
    pledge_message,
    send,
    worker_messages,
)
from tests.integration.streams.worker_process import await_true
from workflow.audit import audit


def count(engine: Engine, table: str, where: str = "true") -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}")) or 0)


@pytest.fixture
def topics(settings: StreamSettings) -> None:
    asyncio.run(ensure_topics(settings))


@pytest.mark.usefixtures("topics")
def test_events_of_either_form_become_needs_and_a_funded_proposal(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    vault = Vault(MASTER_KEY)
    worker = start_worker(settings)
    send(settings.kafka_brokers, [pledge_message(pledge("csr-1", 10_000_000))])
    send(settings.kafka_brokers, worker_messages(range(5)))
    send(settings.kafka_brokers, [batch_message(range(5, 30), vault)])
    await_true(lambda: count(engine, "coverage_need", "state = 'proposed'") == 30, explain=worker.raw_log)
    assert count(engine, "inbox_event") == 31
    assert count(engine, "proposal") >= 30
    await_true(lambda: count(engine, "outbox_message", "published_at IS NULL") == 0)
    assert count(engine, "outbox_message", "topic = 'allocation.proposed.v1'") >= 1
    assert audit(engine) == []
    assert worker.stop() == 0
    assert {"running", "stopped"} <= {entry["event"] for entry in worker.log()}


@pytest.mark.usefixtures("topics")
def test_the_same_events_again_change_nothing(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    start_worker(settings)
    messages = worker_messages(range(20))
    send(settings.kafka_brokers, messages)
    send(settings.kafka_brokers, messages)
    send(settings.kafka_brokers, worker_messages(range(20, 21)))
    await_true(lambda: count(engine, "inbox_event") == 21)
    assert count(engine, "worker") == count(engine, "coverage_need") == 21
    assert count(engine, "dead_letter") == 0
