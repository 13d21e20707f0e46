"""What a worker does by the clock: it audits, halts, expires and publishes heads, unasked."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import apply_fund, pledge
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.worker_process import await_true


@pytest.fixture
def topics(settings: StreamSettings) -> None:
    asyncio.run(ensure_topics(settings))


@pytest.mark.usefixtures("topics")
def test_a_worker_audits_expires_and_publishes_heads(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    apply_fund(engine, pledge("csr-1", 500_000, window_from="2025-01", window_to="2025-12"))
    apply_fund(engine, pledge("csr-2", 500_000))

    def scalar(query: str) -> object:
        with engine.connect() as connection:
            return connection.scalar(text(query))

    worker = start_worker(replace(settings, audit_interval_seconds=0.3, daily_interval_seconds=0.3))
    published = "SELECT count(*) FROM outbox_message WHERE published_at IS NOT NULL AND topic = "
    await_true(
        lambda: scalar("SELECT expired_rupiah FROM fund WHERE code = 'csr-1'") == 500_000,
        explain=worker.raw_log,
    )
    await_true(lambda: scalar(published + "'journal.head.v1'") == 1, explain=worker.raw_log)
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET reserved_rupiah = 1 WHERE code = 'csr-2'"))
    await_true(lambda: scalar(published + "'alert.raised.v1'") == 1, explain=worker.raw_log)
    assert "balances_equal_journal at csr-2" in str(scalar("SELECT halted_reason FROM regency"))
    assert scalar("SELECT count(*) FROM outbox_message WHERE topic = 'journal.head.v1'") == 1
    assert worker.stop() == 0
