"""Events that go on coming while processes die; in the end each of them must have been taken once."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Engine, text

from models.vault import Vault
from streams.settings import StreamSettings
from tests.builders import pledge
from tests.integration.streams.counts import count, registered
from tests.integration.streams.events import MASTER_KEY, pledge_message, send, worker_messages
from tests.integration.streams.worker_process import await_true
from workflow.audit import audit

_SETTLED = text(
    """
    SELECT (SELECT count(*) FROM coverage_need WHERE state = 'proposed') = :sent
       AND NOT EXISTS (SELECT FROM outbox_message WHERE published_at IS NULL)
       AND NOT EXISTS (SELECT FROM allocation_request WHERE answered_at IS NULL)
    """
)


class Life:
    """One fund with money for everybody, and workers reported one after the other."""

    def __init__(self, engine: Engine, settings: StreamSettings) -> None:
        self._engine = engine
        self._brokers = settings.kafka_brokers
        self._vault = Vault(MASTER_KEY)
        self.sent = 0
        send(self._brokers, [pledge_message(pledge("csr-1", 10_000_000_000))])

    def send(self, number: int = 3) -> None:
        """Publish ``number`` more workers and wait for the broker's word."""
        send(self._brokers, worker_messages(range(self.sent, self.sent + number), self._vault))
        self.sent += number

    def await_settled(self, explain: Callable[[], str], timeout_seconds: float = 120) -> float:
        """Seconds until every event is registered, proposed and published."""
        begun = time.monotonic()
        await_true(self._settled, timeout_seconds, explain)
        return time.monotonic() - begun

    def await_registered(self, explain: Callable[[], str]) -> None:
        await_true(lambda: count(self._engine, "coverage_need") == self.sent, 120, explain)

    def assert_whole(self) -> None:
        """0 lost, 0 doubled, audit clean."""
        assert registered(self._engine) == sorted(f"worker-{number}" for number in range(self.sent))
        assert count(self._engine, "worker") == count(self._engine, "coverage_need") == self.sent
        assert count(self._engine, "dead_letter") == 0
        assert audit(self._engine) == []

    def _settled(self) -> bool:
        with self._engine.connect() as connection:
            return bool(connection.scalar(_SETTLED, {"sent": self.sent}))
