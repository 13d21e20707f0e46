"""What Gotong needs from any broker it runs on, checked on the broker of this run and on the embedded one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AdminClient

from gotong.broker import BYTES_KEPT_PER_PARTITION, PARTITIONS_PER_TOPIC, BrokerError, EmbeddedBroker
from tests.stack.kafka import NativeKafka

TOPIC = "coverage.worker-uncovered.v1"


@pytest.fixture
def embedded() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        broker.ensure_topics([TOPIC])
        yield broker


async def _send(bootstrap_servers: str, *messages: bytes) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, enable_idempotence=True, max_request_size=8_000_000
    ) as producer:
        for message in messages:
            await producer.send_and_wait(TOPIC, message, partition=0)


async def _read(bootstrap_servers: str, count: int, *, group: str, commit: bool) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        read = [(await consumer.getone()).value or b"" for _ in range(count)]
        if commit:
            await consumer.commit()
    return read


async def _offsets_kept(bootstrap_servers: str) -> tuple[int, int]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap_servers) as consumer:
        partition = TopicPartition(TOPIC, 0)
        first = await consumer.beginning_offsets([partition])
        end = await consumer.end_offsets([partition])
    return first[partition], end[partition]


def test_a_group_continues_after_its_last_commit(kafka: str) -> None:
    async def run() -> None:
        await _send(kafka, b"1", b"2", b"3")
        assert await _read(kafka, 1, group="g", commit=True) == [b"1"]
        assert await _read(kafka, 2, group="g", commit=False) == [b"2", b"3"]
        assert await _read(kafka, 2, group="g", commit=False) == [b"2", b"3"]

    asyncio.run(run())


def test_each_test_finds_a_broker_without_topics(kafka: str) -> None:
    client = AdminClient({"bootstrap.servers": kafka})
    assert [name for name in client.list_topics(timeout=10).topics if not name.startswith("__")] == []


def test_embedded_broker_serves_a_group(embedded: EmbeddedBroker) -> None:
    async def run() -> None:
        await _send(embedded.start(), b"1", b"2")
        assert await _read(embedded.start(), 1, group="g", commit=True) == [b"1"]
        assert await _read(embedded.start(), 1, group="g", commit=False) == [b"2"]

    asyncio.run(run())


def test_embedded_broker_carries_messages_above_one_megabyte(embedded: EmbeddedBroker) -> None:
    message = b"x" * 4_000_000

    async def run() -> None:
        await _send(embedded.start(), message)
        assert await _read(embedded.start(), 1, group="g", commit=False) == [message]

    asyncio.run(run())


def test_embedded_broker_drops_the_oldest_beyond_its_limit(embedded: EmbeddedBroker) -> None:
    """The limit that the outbox's back-pressure is built on; if it changes, so may the back-pressure."""
    megabyte = b"x" * 1_000_000

    async def run() -> None:
        await _send(embedded.start(), *[megabyte] * 5)
        assert await _offsets_kept(embedded.start()) == (0, 5)
        await _send(embedded.start(), *[megabyte] * 2)
        first, end = await _offsets_kept(embedded.start())
        assert end == 7
        assert first > 0
        assert (end - first) * len(megabyte) <= BYTES_KEPT_PER_PARTITION

    asyncio.run(run())


def test_embedded_broker_makes_topics_with_its_fixed_partition_count(embedded: EmbeddedBroker) -> None:
    client = AdminClient({"bootstrap.servers": embedded.start()})
    assert len(client.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions) == PARTITIONS_PER_TOPIC


def test_embedded_broker_leaves_nothing_behind() -> None:
    broker = EmbeddedBroker()
    host, port = broker.start().split(":")
    assert broker.start() == f"{host}:{port}", "a second start must change nothing"
    broker.stop()
    broker.stop()
    with socket.socket() as client:
        assert client.connect_ex((host, int(port))) != 0
    with pytest.raises(BrokerError, match="not running"):
        broker.ensure_topics([TOPIC])


@pytest.mark.kafka
def test_apache_kafka_keeps_what_it_acknowledged_over_a_kill(own_kafka: NativeKafka) -> None:
    async def run() -> None:
        await _send(own_kafka.bootstrap_servers, b"before")
        before = own_kafka.bootstrap_servers
        own_kafka.kill()
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", int(before.split(":")[1]))) != 0
        own_kafka.restart()
        assert own_kafka.bootstrap_servers == before
        await _send(before, b"after")
        assert await _read(before, 2, group="g", commit=False) == [b"before", b"after"]

    asyncio.run(run())
