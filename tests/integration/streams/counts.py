"""Questions to the database that the stream tests ask."""

from __future__ import annotations

from collections import Counter
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from sqlalchemy import Engine, text


def count(engine: Engine, table: str, where: str = "true", **parameters: Any) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}"), parameters) or 0)


def dead_letters(engine: Engine) -> Counter[str]:
    with engine.connect() as connection:
        return Counter(connection.scalars(text("SELECT reason FROM dead_letter")).all())


def registered(engine: Engine) -> list[str]:
    """Event ids of registered workers, in the order of their needs."""
    with engine.connect() as connection:
        return list(
            connection.scalars(
                text(
                    "SELECT i.event_id FROM inbox_event i"
                    " WHERE i.type = 'coverage.worker-uncovered.v1' ORDER BY i.event_id"
                )
            )
        )


def read_topic(bootstrap_servers: str, topic: str, expected: int, timeout_seconds: float = 20) -> list[Any]:
    """Every message of a topic, in order of partition and offset; waits until ``expected`` have come."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "reader",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 8 * 1024 * 1024,
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: list[Any] = []
        while len(found) < expected:
            message = consumer.poll(timeout_seconds)
            if message is None:
                break
            if message.error() is None:
                found.append(message)
        while (message := consumer.poll(0.5)) is not None:
            found.append(message)
        return sorted(found, key=lambda message: (message.partition(), message.offset()))
    finally:
        consumer.close()


def committed_offsets(bootstrap_servers: str, group: str, topic: str) -> int:
    """Sum over the partitions of the offsets the group has committed."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": group, "log_level": 0})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        places = [TopicPartition(topic, partition) for partition in partitions]
        return sum(max(place.offset, 0) for place in consumer.committed(places, timeout=10))
    finally:
        consumer.close()
