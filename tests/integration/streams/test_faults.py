"""Workers that are killed, servers that go away: every event is in the database exactly once afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate
from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import pledge
from tests.integration.streams.conftest import StartWorker, make_settings
from tests.integration.streams.counts import committed_offsets, count, read_topic, registered
from tests.integration.streams.events import (
    KUKAR,
    MASTER_KEY,
    WORKER_UNCOVERED,
    batch_message,
    pledge_message,
    send,
    worker_messages,
)
from tests.integration.streams.worker_process import await_true
from tests.stack.kafka import NativeKafka
from workflow.audit import audit
from workflow.load_regions import load_regions
from workflow.outbox import enqueue_message

EVENTS = 300


def linger_and_die(place: str) -> str:
    """A plan that waits at the point before dying, so that offsets acknowledged too early get committed."""
    point, _, number = place.partition("@")
    return f"{point}:sleep=1.5@{number},{point}:kill@{number}"


@pytest.fixture
def topics(settings: StreamSettings) -> None:
    asyncio.run(ensure_topics(settings))


def all_ids(numbers: range) -> list[str]:
    return sorted(f"worker-{number}" for number in numbers)


def assert_exactly_once(engine: Engine, numbers: range) -> None:
    assert registered(engine) == all_ids(numbers)
    assert count(engine, "worker") == count(engine, "coverage_need") == len(numbers)
    assert count(engine, "dead_letter") == 0


def send_everything(settings: StreamSettings) -> None:
    vault = Vault(MASTER_KEY)
    send(settings.kafka_brokers, [pledge_message(pledge("csr-1", 100_000_000))])
    send(settings.kafka_brokers, worker_messages(range(EVENTS - 100), vault))
    send(settings.kafka_brokers, [batch_message(range(EVENTS - 100, EVENTS), vault)])


@pytest.mark.usefixtures("topics")
@pytest.mark.parametrize(
    "failpoint",
    [
        linger_and_die("decode@2"),  # decoded, not yet in a transaction
        linger_and_die("after_commit@2"),  # committed, not yet acknowledged
        *(
            pytest.param(plan, marks=pytest.mark.faults)
            for plan in (
                "poll:kill@2",
                linger_and_die("inbox@2"),  # in the transaction
                linger_and_die("before_commit@6"),
                "before_ack:kill@2",
                linger_and_die("solve@1"),
                linger_and_die("reserve@3"),
                "before_publish:kill",
                "before_mark_published:kill",
            )
        ),
    ],
)
def test_a_worker_killed_anywhere_loses_nothing_and_repeats_nothing(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker, failpoint: str
) -> None:
    small = replace(settings, batch_messages=50)
    send_everything(small)
    start_worker(small, failpoint=failpoint).wait_killed()
    worker = start_worker(small)
    # The killed one may have finished everything while it lingered; this one must still read it all again.
    worker.wait_running()
    await_true(lambda: count(engine, "coverage_need", "state = 'proposed'") == EVENTS, explain=worker.raw_log)
    assert_exactly_once(engine, range(EVENTS))
    assert count(engine, "fund") == 1
    await_true(lambda: count(engine, "allocation_request", "answered_at IS NULL") == 0)
    assert audit(engine) == []
    assert worker.stop() == 0, worker.raw_log()


@pytest.mark.usefixtures("topics")
def test_after_an_orderly_stop_nothing_is_read_twice(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    send(settings.kafka_brokers, worker_messages(range(EVENTS)))
    worker = start_worker(replace(settings, commit_interval_seconds=60.0))
    await_true(lambda: count(engine, "inbox_event") == EVENTS, explain=worker.raw_log)
    assert worker.stop() == 0, worker.raw_log()
    assert committed_offsets(settings.kafka_brokers, settings.consumer_group, WORKER_UNCOVERED) == EVENTS


@pytest.mark.usefixtures("topics")
def test_two_workers_share_the_partitions_and_one_takes_over(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    small = replace(settings, batch_messages=50)
    first, second = start_worker(small), start_worker(small)
    first.wait_running()
    second.wait_running()
    send(small.kafka_brokers, worker_messages(range(EVENTS)))
    await_true(lambda: count(engine, "inbox_event") == EVENTS, explain=first.raw_log)
    first.kill()
    send(small.kafka_brokers, worker_messages(range(EVENTS, 2 * EVENTS)))
    await_true(lambda: count(engine, "inbox_event") == 2 * EVENTS, explain=second.raw_log)
    assert_exactly_once(engine, range(2 * EVENTS))
    assert second.stop() == 0, second.raw_log()


@pytest.mark.usefixtures("topics")
def test_a_worker_joining_in_the_middle_loses_nothing(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    small = replace(settings, batch_messages=20)
    send(small.kafka_brokers, worker_messages(range(2_000)))
    start_worker(small)
    await_true(lambda: count(engine, "inbox_event") > 0)
    joining = start_worker(small)
    await_true(lambda: count(engine, "inbox_event") == 2_000, explain=joining.raw_log)
    assert_exactly_once(engine, range(2_000))


@pytest.fixture
def own_engine(own_postgres: EmbeddedPostgres) -> Iterator[Engine]:
    migrate(own_postgres.url())
    engine = open_engine(own_postgres.url())
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


def test_a_database_that_goes_away_and_returns(
    kafka: str, own_postgres: EmbeddedPostgres, own_engine: Engine, start_worker: StartWorker
) -> None:
    settings = replace(make_settings(kafka, own_postgres.url()), batch_messages=50)
    asyncio.run(ensure_topics(settings))
    worker = start_worker(settings)
    send(kafka, worker_messages(range(100)))
    await_true(lambda: count(own_engine, "inbox_event") == 100, explain=worker.raw_log)
    own_postgres.stop()
    send(kafka, worker_messages(range(100, 600)))
    await_true(lambda: '"waiting"' in worker.raw_log(), explain=worker.raw_log)
    own_postgres.start()
    await_true(lambda: count(own_engine, "inbox_event") == 600, explain=worker.raw_log)
    assert_exactly_once(own_engine, range(600))
    assert worker.stop() == 0, worker.raw_log()


def test_told_to_stop_while_the_database_is_away_it_stops_and_another_finishes(
    kafka: str, own_postgres: EmbeddedPostgres, own_engine: Engine, start_worker: StartWorker
) -> None:
    settings = make_settings(kafka, own_postgres.url())
    asyncio.run(ensure_topics(settings))
    worker = start_worker(settings)
    worker.wait_running()
    own_engine.dispose()
    own_postgres.stop()
    send(kafka, worker_messages(range(100)))
    await_true(lambda: '"waiting"' in worker.raw_log(), explain=worker.raw_log)
    assert worker.stop(timeout_seconds=10) == 0
    own_postgres.start()
    second = start_worker(settings)
    await_true(lambda: count(own_engine, "inbox_event") == 100, explain=second.raw_log)
    assert_exactly_once(own_engine, range(100))


def test_a_broker_that_is_killed_and_returns(
    own_kafka: NativeKafka, engine: Engine, database_url: str, start_worker: StartWorker
) -> None:
    settings = replace(
        make_settings(own_kafka.bootstrap_servers, database_url), forgetful_broker=False, log_id=""
    )
    asyncio.run(ensure_topics(settings))
    worker = start_worker(settings)
    send(settings.kafka_brokers, [pledge_message(pledge("csr-1", 100_000_000))])
    send(settings.kafka_brokers, worker_messages(range(100)))
    await_true(lambda: count(engine, "inbox_event") == 101, explain=worker.raw_log)
    own_kafka.kill()
    own_kafka.restart()
    send(settings.kafka_brokers, worker_messages(range(100, 300)))
    await_true(
        lambda: count(engine, "coverage_need", "state = 'proposed'") == 300, 90, explain=worker.raw_log
    )
    assert_exactly_once(engine, range(300))
    await_true(lambda: count(engine, "outbox_message", "published_at IS NULL") == 0)
    published = count(engine, "outbox_message", "topic = 'allocation.proposed.v1'")
    found = read_topic(settings.kafka_brokers, "allocation.proposed.v1", published)
    assert len({dict(message.headers())["ce_id"] for message in found}) == published
    assert worker.stop() == 0, worker.raw_log()


def test_told_to_stop_while_the_broker_is_away_it_stops(
    own_kafka: NativeKafka, engine: Engine, database_url: str, start_worker: StartWorker
) -> None:
    settings = replace(
        make_settings(own_kafka.bootstrap_servers, database_url), forgetful_broker=False, log_id=""
    )
    asyncio.run(ensure_topics(settings))
    worker = start_worker(settings)
    worker.wait_running()
    own_kafka.kill()
    send_later(engine)
    assert worker.stop(timeout_seconds=settings.stop_timeout_seconds + 5) == 0
    assert count(engine, "outbox_message", "published_at IS NULL") == 1


def send_later(engine: Engine) -> None:
    """Something for the relay, which cannot send it now."""
    with engine.begin() as connection:
        enqueue_message(connection, "allocation.proposed.v1", b"k", {}, b"{}")


@pytest.mark.faults
@pytest.mark.usefixtures("topics")
def test_a_worker_that_hangs_while_stopping_is_ended_with_its_children(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    brief = replace(settings, stop_timeout_seconds=3.0)
    worker = start_worker(brief, failpoint="after_commit:sleep=60")
    send(brief.kafka_brokers, worker_messages(range(5)))
    await_true(lambda: count(engine, "inbox_event") > 0, explain=worker.raw_log)
    assert worker.stop(timeout_seconds=8) == 1
    after = start_worker(settings)
    await_true(lambda: count(engine, "inbox_event") == 5, explain=after.raw_log)
    assert_exactly_once(engine, range(5))
