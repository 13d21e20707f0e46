"""Events that go on coming while processes die; in the end each of them must have been taken once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import Producer
from sqlalchemy import Engine, text

from models.vault import Vault
from streams.settings import StreamSettings
from tests.builders import pledge
from tests.integration.streams.counts import count, registered
from tests.integration.streams.events import MASTER_KEY, Message, pledge_message, worker_messages
from tests.integration.streams.worker_process import await_true
from workflow.audit import audit

_SETTLED = text(
    """
    SELECT (SELECT count(*) FROM coverage_need WHERE state = 'proposed') = :sent
       AND NOT EXISTS (SELECT FROM outbox_message WHERE published_at IS NULL)
       AND NOT EXISTS (SELECT FROM allocation_request WHERE answered_at IS NULL)
    """
)


@dataclass(frozen=True, slots=True)
class Books:
    """What a look at the books found; whole when every number is nought."""

    lost: int
    doubled: int
    refused: int
    findings: int

    @property
    def whole(self) -> bool:
        return not (self.lost or self.doubled or self.refused or self.findings)


class Life:
    """One fund with money for everybody, and workers reported one after the other."""

    def __init__(self, engine: Engine, settings: StreamSettings) -> None:
        self._engine = engine
        self._producer = Producer(
            {
                "bootstrap.servers": settings.kafka_brokers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        self._vault = Vault(MASTER_KEY)
        self.sent = 0
        self._publish([pledge_message(pledge("csr-1", 10_000_000_000))])

    def send(self, number: int = 3) -> None:
        """Publish ``number`` more workers and wait for the broker's word."""
        self._publish(worker_messages(range(self.sent, self.sent + number), self._vault))
        self.sent += number

    def await_settled(self, explain: Callable[[], str], timeout_seconds: float = 120) -> float:
        """Seconds until every event is registered, proposed and published."""
        begun = time.monotonic()
        await_true(self._settled, timeout_seconds, lambda: f"{self._open()}\n{explain()}")
        return time.monotonic() - begun

    def look(self) -> Books:
        """Compare the books with what was sent, and audit them."""
        expected = {f"worker-{number}" for number in range(self.sent)}
        found = Counter(registered(self._engine))
        needs, workers = count(self._engine, "coverage_need"), count(self._engine, "worker")
        live = count(self._engine, "proposal", "closed_at IS NULL")
        return Books(
            lost=len(expected - found.keys()) + max(self.sent - min(needs, workers, live), 0),
            doubled=len(found.keys() - expected)
            + sum(times - 1 for times in found.values())
            + max(max(needs, workers, live) - self.sent, 0),
            refused=count(self._engine, "dead_letter"),
            findings=len(audit(self._engine)),
        )

    def _publish(self, messages: list[Message]) -> None:
        failures: list[str] = []

        def note(error: object, _message: object) -> None:
            if error is not None:
                failures.append(str(error))

        for topic, key, headers, value in messages:
            self._producer.produce(topic, value, key, headers=[*headers.items()], on_delivery=note)
            self._producer.poll(0)
        left = self._producer.flush(60)
        if left or failures:
            raise RuntimeError(f"{left} messages not acknowledged, failures: {failures[:3]}")

    def _settled(self) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.scalar(_SETTLED, {"sent": self.sent}))

    def _open(self) -> str:
        registered_now = count(self._engine, "coverage_need")
        proposed = count(self._engine, "coverage_need", "state = 'proposed'")
        unpublished = count(self._engine, "outbox_message", "published_at IS NULL")
        asked = count(self._engine, "allocation_request", "answered_at IS NULL")
        return (
            f"{self.sent} sent, {registered_now} registered, {proposed} proposed,"
            f" {unpublished} unpublished, {asked} requests open"
        )
