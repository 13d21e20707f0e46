"""Which broker and which PostgreSQL a test run uses.

Broker: the cluster named by GOTONG_TEST_KAFKA, else Apache Kafka started here, else (no Java, no Maven, no
network) the embedded one. PostgreSQL: the server named by GOTONG_TEST_DATABASE_URL, else the embedded one.
Both named servers must be for tests only: topics and databases on them are deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, not re-exported for types
    AdminClient,
    ConfigResource,
    ResourceType,
)

from gotong.postgres import EmbeddedPostgres
from tests.stack.kafka import KafkaUnavailableError, fetch_kafka, kafka_version


class BrokerKind(StrEnum):
    """Where the broker of a run comes from."""

    GIVEN = "given"
    NATIVE = "native"
    EMBEDDED = "embedded"


@dataclass(frozen=True)
class BrokerChoice:
    """The broker of this run and how to name it to a reader."""

    kind: BrokerKind
    described_as: str
    is_apache_kafka: bool


@cache
def choose_broker() -> BrokerChoice:
    """Decide once per process; fetches Kafka's jars when they are missing, starts nothing."""
    given = os.environ.get("GOTONG_TEST_KAFKA")
    if given:
        is_apache = _answers_like_apache_kafka(given)
        note = "" if is_apache else ", which does not answer like Apache Kafka"
        return BrokerChoice(BrokerKind.GIVEN, f"{given} (GOTONG_TEST_KAFKA){note}", is_apache)
    try:
        fetch_kafka()
    except KafkaUnavailableError as error:
        return BrokerChoice(
            BrokerKind.EMBEDDED, f"embedded (no Apache Kafka here: {error})", is_apache_kafka=False
        )
    return BrokerChoice(
        BrokerKind.NATIVE, f"Apache Kafka {kafka_version()}, started here", is_apache_kafka=True
    )


@cache
def describe_postgres() -> str:
    """Name and version of the PostgreSQL of this run."""
    given = os.environ.get("GOTONG_TEST_DATABASE_URL")
    if not given:
        return f"PostgreSQL {EmbeddedPostgres.version()}, embedded, started here"
    with psycopg.connect(given.replace("+psycopg", "", 1), connect_timeout=10) as connection:
        version = connection.info.server_version
    return f"PostgreSQL {version // 10000}.{version % 10000} (GOTONG_TEST_DATABASE_URL)"


def _answers_like_apache_kafka(bootstrap_servers: str) -> bool:
    """The embedded cluster does not tell its configuration; a real broker does."""
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        broker = next(iter(client.list_topics(timeout=10).brokers))
        resource = ConfigResource(ResourceType.BROKER, str(broker))
        settings = client.describe_configs([resource], request_timeout=10)[resource].result(15)
    except (KafkaException, StopIteration):
        return False
    return "process.roles" in settings or "log.dirs" in settings
