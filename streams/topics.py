"""The topics: one per event type, and one for the dead letters of each input."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from models.event import EVENT_TYPES
from streams.settings import StreamSettings

WORKER_UNCOVERED: Final = "coverage.worker-uncovered.v1"
PLEDGE_CHANGED: Final = "funding.pledge-changed.v1"
BUDGET_CHANGED: Final = "funding.budget-changed.v1"
ALLOCATION_REQUESTED: Final = "allocation.requested.v1"
BALANCE_CHANGED: Final = "funding.balance-changed.v1"

#: What a worker reads; each has a dead-letter topic.
INPUTS: Final = (WORKER_UNCOVERED, PLEDGE_CHANGED, BUDGET_CHANGED, ALLOCATION_REQUESTED, BALANCE_CHANGED)

_log = structlog.get_logger("gotong.streams.topics")


def dead_letter_topic(topic: str) -> str:
    """Where the dead letters of ``topic`` go."""
    return f"{topic}.dlq"


def all_topics() -> tuple[str, ...]:
    """Every topic of the product, inputs before outputs."""
    outputs = tuple(name for name in EVENT_TYPES if name not in INPUTS)
    return (*INPUTS, *outputs, *(dead_letter_topic(topic) for topic in INPUTS))


async def ensure_topics(settings: StreamSettings) -> None:
    """Create the topics that are missing. Harmless when repeated or when several workers do it at once.

    Raises ``KafkaError`` when the broker is away or refuses.
    """
    if settings.forgetful_broker:
        await _ask_for_topics(settings)
    else:
        await _create_topics(settings)


async def read_log_id(settings: StreamSettings) -> str:
    """A name for the log whose offsets we record: the cluster's id, and its life for a forgetful broker."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_brokers, request_timeout_ms=10_000)
    await admin.start()
    try:
        cluster_id = (await admin.describe_cluster()).get("cluster_id") or "cluster"
    finally:
        await admin.close()
    return f"{cluster_id}/{settings.log_id}" if settings.log_id else str(cluster_id)


async def _create_topics(settings: StreamSettings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_brokers, request_timeout_ms=10_000)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(
                name=topic,
                num_partitions=settings.partitions,
                replication_factor=settings.replication_factor,
                # A message too large to be an event must still reach us, to be refused with a reason.
                topic_configs={
                    "max.message.bytes": str(settings.largest_message_bytes),
                    # One clock for all: what was sent before a paused topic was resumed is not judged again.
                    "message.timestamp.type": "LogAppendTime",
                },
            )
            for topic in all_topics()
            if topic not in existing
        ]
        if not missing:
            return
        response = await admin.create_topics(missing)
        for topic, code, *rest in response.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                raise for_code(code)(f"cannot create topic {topic}: {rest[0] if rest else code}")
            _log.info("topic_created", topic=topic, partitions=settings.partitions)
    finally:
        await admin.close()


async def _ask_for_topics(settings: StreamSettings) -> None:
    """The embedded cluster has no CreateTopics: a topic is there once its metadata was asked for."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_brokers)
    await producer.start()
    try:
        for topic in all_topics():
            for _attempt in range(20):
                try:
                    await producer.partitions_for(topic)
                    break
                except KafkaError:
                    await asyncio.sleep(0.1)
    finally:
        await producer.stop()
