"""The embedded broker: librdkafka's own Kafka cluster inside the process that starts it.

It speaks the Kafka protocol on a loopback port, so aiokafka and Faust use it like any cluster, and it
needs neither Java nor disk. Its limits, measured (docs/decisions/0002-embedded-parts.md):

* It forgets everything when the process ends, and leaves nothing behind.
* A partition keeps 5 MB at most; beyond that the oldest records go, read or not. Whoever produces must hold
  back what is not processed yet and be able to send it again. A record above 5 MB is gone at once.
* Every topic has four partitions and comes into being when a client first asks for it. The protocol's
  CreateTopics is not answered, so clients must not declare topics (Faust: `topic_allow_declare=False`).
* One member per consumer group. With two, a member whose SyncGroup comes after the leader's is refused with
  an error that aiokafka takes for final, so a second worker process needs Apache Kafka.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException, Producer

PARTITIONS_PER_TOPIC = 4
BYTES_KEPT_PER_PARTITION = 5 * 1024 * 1024
_ANSWER_TIMEOUT_SECONDS = 10.0


class BrokerError(RuntimeError):
    """The embedded broker does not answer."""


class EmbeddedBroker:
    """One broker, from `start` to `stop` or to the end of the process."""

    def __init__(self) -> None:
        self._cluster: Producer | None = None
        self._bootstrap_servers = ""

    def start(self) -> str:
        """Start the cluster and return its bootstrap servers (`127.0.0.1:PORT`). Harmless when repeated."""
        if self._cluster is None:
            # The cluster lives exactly as long as this client.
            self._cluster = Producer({"test.mock.num.brokers": 1, "log_level": 0})
            try:
                brokers = self._cluster.list_topics(timeout=_ANSWER_TIMEOUT_SECONDS).brokers.values()
            except KafkaException as error:
                self._cluster = None
                raise BrokerError(f"the embedded broker does not start: {error}") from error
            self._bootstrap_servers = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
        return self._bootstrap_servers

    def ensure_topics(self, names: Iterable[str]) -> None:
        """Create the topics that do not exist yet, with PARTITIONS_PER_TOPIC partitions each."""
        if self._cluster is None:
            raise BrokerError("the embedded broker is not running")
        for name in names:
            try:
                self._cluster.list_topics(name, timeout=_ANSWER_TIMEOUT_SECONDS)
            except KafkaException as error:
                raise BrokerError(f"the embedded broker does not create the topic {name}: {error}") from error

    def stop(self) -> None:
        """End the cluster with everything in it. Harmless when repeated."""
        self._cluster = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
