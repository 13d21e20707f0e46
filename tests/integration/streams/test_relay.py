"""The outbox reaches the broker: in order, by one worker at a time; and the embedded broker's limits."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from gotong.broker import BYTES_KEPT_PER_PARTITION, EmbeddedBroker
from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.integration.streams.conftest import StartWorker, make_settings
from tests.integration.streams.counts import count, read_topic, registered
from tests.integration.streams.events import MASTER_KEY, batch_message
from tests.integration.streams.worker_process import await_true
from workflow.outbox import NewMessage, enqueue_messages

TOPIC = "allocation.proposed.v1"  # read by none of our agents


def enqueue(engine: Engine, messages: list[NewMessage]) -> None:
    with engine.begin() as connection:
        enqueue_messages(connection, messages)


def numbered(first: int, last: int) -> list[NewMessage]:
    return [NewMessage(TOPIC, str(number).encode(), b"one key") for number in range(first, last)]


def published(settings: StreamSettings, expected: int) -> list[int]:
    return [int(message.value()) for message in read_topic(settings.kafka_brokers, TOPIC, expected)]


@pytest.fixture
def topics(settings: StreamSettings) -> None:
    asyncio.run(ensure_topics(settings))


def unpublished(engine: Engine) -> int:
    return count(engine, "outbox_message", "published_at IS NULL")


@pytest.mark.usefixtures("topics")
def test_messages_go_out_in_order_and_another_worker_takes_over(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    quick = replace(settings, relay_rest_seconds=0.2)
    first, second = start_worker(quick), start_worker(quick)
    first.wait_running()
    second.wait_running()
    assert (first.raw_log() + second.raw_log()).count('"relaying"') == 1
    enqueue(engine, numbered(0, 700))
    await_true(lambda: unpublished(engine) == 0, explain=first.raw_log)
    leader, other = (first, second) if '"relaying"' in first.raw_log() else (second, first)
    leader.kill()
    enqueue(engine, numbered(700, 1_000))
    await_true(lambda: unpublished(engine) == 0, explain=other.raw_log)
    assert published(quick, 1_000) == list(range(1_000))


@pytest.mark.usefixtures("topics")
def test_killed_between_publishing_and_marking_it_publishes_again_and_keeps_the_order(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    enqueue(engine, numbered(0, 300))
    start_worker(settings, failpoint="before_mark_published:kill").wait_killed()
    assert unpublished(engine) == 300
    worker = start_worker(settings)
    await_true(lambda: unpublished(engine) == 0, explain=worker.raw_log)
    assert published(settings, 600) == [*range(300), *range(300)]


@pytest.mark.usefixtures("topics")
def test_a_message_no_broker_takes_does_not_stop_the_others(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    giant = NewMessage(TOPIC, b"0" * (settings.largest_message_bytes + 1), b"one key")
    enqueue(engine, [*numbered(0, 3), giant, *numbered(3, 6)])
    worker = start_worker(settings)
    await_true(lambda: unpublished(engine) == 0, explain=worker.raw_log)
    assert published(settings, 6) == list(range(6))
    refused = count(engine, "outbox_message", "published_log_id = 'refused:message-too-large'")
    assert refused == 1


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def embedded_settings(broker: EmbeddedBroker, database_url: str) -> StreamSettings:
    return replace(
        make_settings(broker.start(), database_url), forgetful_broker=True, log_id=uuid.uuid4().hex
    )


def intake_batches(events: int, per_batch: int = 250) -> list[NewMessage]:
    """Intake as files bring it, all for one partition."""
    vault = Vault(MASTER_KEY)
    messages = []
    for first in range(0, events, per_batch):
        topic, _, headers, value = batch_message(range(first, first + per_batch), vault)
        assert value is not None
        messages.append(NewMessage(topic, value, b"one key", headers, intake=True))
    return messages


def test_the_embedded_broker_carries_more_than_it_keeps(
    engine: Engine, database_url: str, embedded: EmbeddedBroker, start_worker: StartWorker
) -> None:
    settings = embedded_settings(embedded, database_url)
    messages = intake_batches(16_000)
    assert sum(len(message.value) for message in messages) > 1.5 * BYTES_KEPT_PER_PARTITION
    enqueue(engine, messages)
    # The worker starts to read long after the relay has begun: only back-pressure keeps the first ones.
    worker = start_worker(settings, failpoint="poll:sleep=4@1")
    await_true(lambda: count(engine, "inbox_event") == 16_000, explain=worker.raw_log)
    await_true(lambda: count(engine, "outbox_message", "intake AND settled_at IS NULL") == 0)
    assert len(registered(engine)) == count(engine, "coverage_need") == 16_000
    assert '"publishing_again"' not in worker.raw_log()


def test_what_the_embedded_broker_forgot_is_published_again(
    engine: Engine, database_url: str, embedded: EmbeddedBroker, start_worker: StartWorker
) -> None:
    before = replace(embedded_settings(embedded, database_url), batch_messages=2)
    enqueue(engine, intake_batches(3_000))
    start_worker(before, failpoint="decode:kill@3").wait_killed()
    embedded.stop()
    with EmbeddedBroker() as another:
        worker = start_worker(embedded_settings(another, database_url))
        await_true(lambda: count(engine, "inbox_event") == 3_000, explain=worker.raw_log)
        await_true(lambda: count(engine, "outbox_message", "intake AND settled_at IS NULL") == 0)
        assert count(engine, "coverage_need") == 3_000
        assert count(engine, "dead_letter") == 0
        assert '"publishing_again"' in worker.raw_log()
        assert worker.stop() == 0
