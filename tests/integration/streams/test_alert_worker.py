"""A worker carries a change of balance to a real mail server, also when it is killed in between."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import apply_fund, pledge
from tests.integration.portal.site import add_person
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.counts import count
from tests.integration.streams.worker_process import await_true
from tests.integration.test_alert_life import Mailbox, mailbox

__all__ = ["mailbox"]


@pytest.mark.faults
def test_killed_between_commit_and_delivery_no_alert_is_lost(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker, mailbox: Mailbox
) -> None:
    asyncio.run(ensure_topics(settings))
    add_person(engine, "siti@contoh.example", "officer")
    with engine.begin() as connection:
        apply_fund(engine, pledge(amount_rupiah=1_000_000))
        connection.execute(text("UPDATE fund SET reserved_rupiah = pledged_rupiah"))
    ready = replace(settings, mail_url=mailbox.url)
    start_worker(ready, failpoint="before_deliver:kill").wait_killed()
    assert count(engine, "alert_delivery", "delivered_at IS NULL") == 1 and mailbox.got == []
    with engine.begin() as connection:  # two minutes later the lease has ended
        connection.execute(text("UPDATE alert_delivery SET due_at = now()"))
    worker = start_worker(ready)
    await_true(
        lambda: count(engine, "alert_delivery", "delivered_at IS NOT NULL") == 1, explain=worker.raw_log
    )
    assert len(mailbox.got) == 1 and count(engine, "alert") == 1
