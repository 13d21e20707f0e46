"""A worker carries changes of balance to a real mail server: killed in between, and in a storm."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from streams.settings import StreamSettings
from streams.topics import BALANCE_CHANGED, ensure_topics
from tests.builders import KUKAR, apply_fund, pledge
from tests.integration.portal.site import add_person
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.counts import committed_offsets, count
from tests.integration.streams.worker_process import await_true
from tests.integration.test_alert_life import Mailbox, mailbox
from tests.integration.test_allocate import add_needs
from workflow.outbox import NewMessage, enqueue_messages, event_headers

__all__ = ["mailbox"]
SECONDS = 120  # a busy machine's
RESERVED = "kind = 'fund_reserved'"


def test_killed_between_commit_and_delivery_no_alert_is_lost(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker, mailbox: Mailbox
) -> None:
    asyncio.run(ensure_topics(settings))
    add_person(engine, "siti@contoh.example", "officer")
    # The worker's own match reserves 95 % of the pledge.
    add_needs(engine, *range(30))
    apply_fund(engine, pledge(amount_rupiah=1_000_000))
    ready = replace(settings, mail_url=mailbox.url)
    start_worker(ready, failpoint="before_deliver:kill").wait_killed(SECONDS)
    assert count_told(engine, "delivered_at IS NULL") == 1 and mailbox.got == []
    with engine.begin() as connection:  # two minutes later the lease has ended
        connection.execute(text("UPDATE alert_delivery SET due_at = now()"))
    worker = start_worker(ready)
    await_true(lambda: count_told(engine, "delivered_at IS NOT NULL") == 1, SECONDS, worker.raw_log)
    assert count(engine, "alert", RESERVED) == count_told(engine) == 1
    letter = mailbox.got[0].get_body(("plain",))
    assert letter is not None and "csr-1" in letter.get_content()


def count_told(engine: Engine, where: str = "true") -> int:
    """Deliveries of alerts about reserved money; the hour and the audit may say something of their own."""
    return count(engine, "alert_delivery", f"alert_id IN (SELECT id FROM alert WHERE {RESERVED}) AND {where}")


def move(engine: Engine, share: float, events: int) -> None:
    """The fund's reserved share becomes ``share``, and that many events tell of it."""
    body = {"fund_id": "csr-1", "regency": KUKAR, "entry": 1, "cause": "run", "cause_id": "storm"}
    body |= {f"{bucket}_rupiah": 0 for bucket in ("pledged", "reserved", "committed", "disbursed", "expired")}
    now = dt.datetime.now(dt.UTC)
    value = json.dumps(body | {"recorded_at": now.isoformat()}).encode()
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE fund SET reserved_rupiah = (pledged_rupiah * CAST(:share AS float8))::int8"),
            {"share": share},
        )
        enqueue_messages(
            connection,
            [
                NewMessage(
                    BALANCE_CHANGED,
                    value,
                    KUKAR.encode(),
                    event_headers(BALANCE_CHANGED, source="/test", event_id=str(uuid.uuid4()), time=now),
                )
                for _ in range(events)
            ],
        )


@pytest.mark.parametrize("events", [640, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_storm_of_balances_opens_one_alert_for_each_crossing(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker, mailbox: Mailbox, events: int
) -> None:
    asyncio.run(ensure_topics(settings))
    add_person(engine, "siti@contoh.example", "officer")
    apply_fund(engine, pledge(amount_rupiah=1_000_000))
    worker = start_worker(replace(settings, mail_url=mailbox.url))
    worker.wait_running(SECONDS)

    def await_judged() -> None:
        """Every event so far has been through the topic and the agent."""
        await_true(lambda: count(engine, "outbox_message", "published_at IS NULL") == 0, SECONDS)
        sent = count(engine, "outbox_message", "topic = :topic", topic=BALANCE_CHANGED)
        group = settings.consumer_group
        await_true(
            lambda: committed_offsets(settings.kafka_brokers, group, BALANCE_CHANGED) == sent,
            SECONDS,
            worker.raw_log,
        )

    for crossing in (1, 2):
        # Up over 75 %, trembling between it and 70 %, where it would close.
        for step in range(40):
            move(engine, (0.71, 0.8)[step % 2], events // 80)
        await_judged()
        assert count(engine, "alert", RESERVED) == crossing
        move(engine, 0.5, 1)
        await_judged()
        assert count(engine, "alert", f"{RESERVED} AND state = 'resolved'") == crossing
    await_true(lambda: count_told(engine, "delivered_at IS NOT NULL") == 2, SECONDS, worker.raw_log)
    assert count_told(engine) == 2 <= len(mailbox.got)
