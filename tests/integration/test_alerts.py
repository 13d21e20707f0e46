"""What the audit tells people: breaches and warnings as events, and the heads of the journals."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from models.event import EVENT_TYPES
from tests.builders import KUKAR, NOW, apply_fund, pledge
from tests.event_builders import CONTEXT, worker_event
from tests.integration.test_allocate import add_needs, allocate, engine
from workflow.audit import audit
from workflow.halt import audit_and_halt, resume_regency
from workflow.outbox import enqueue_message
from workflow.publish_heads import publish_daily_heads, publish_heads
from workflow.register import register_workers

__all__ = ["engine"]


def published(engine: Engine, topic: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        values = connection.scalars(
            text("SELECT value FROM outbox_message WHERE topic = :topic ORDER BY id"), {"topic": topic}
        )
        return [
            orjson.loads(EVENT_TYPES[topic].model_validate_json(value).model_dump_json()) for value in values
        ]


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


@pytest.fixture
def books(engine: Engine) -> Engine:
    add_needs(engine, 1)
    apply_fund(engine, pledge(amount_rupiah=500_000))
    allocate(engine)
    return engine


def test_a_breach_alerts_once_and_says_how_to_look_at_it(books: Engine) -> None:
    execute(books, "UPDATE fund SET reserved_rupiah = reserved_rupiah + 1")
    audit_and_halt(books, NOW)
    audit_and_halt(books, NOW + dt.timedelta(minutes=15))
    (alert,) = published(books, "alert.raised.v1")
    assert (alert["rule"], alert["subject"], alert["severity"]) == ("audit_breach", "csr-1", "critical")
    assert (alert["regency"], alert["raised_at"]) == (KUKAR, NOW.isoformat())
    for sentence in (alert["message_id"], alert["message_en"]):
        assert "gotong audit" in sentence and f"gotong resume {KUKAR}" in sentence


def test_intake_without_an_outcome_warns_and_halts_nobody(books: Engine) -> None:
    with books.begin() as connection:
        enqueue_message(connection, "coverage.worker-uncovered.v1", b"k", {}, b"{}", intake=True)
    assert audit(books) == [], "it has just come"
    execute(books, "UPDATE outbox_message SET created_at = created_at - interval '61 minutes' WHERE intake")
    (finding,) = audit_and_halt(books, NOW)
    assert (finding.check, finding.halts) == ("intake_settles", False)
    audit_and_halt(books, NOW + dt.timedelta(minutes=15))
    assert [alert["severity"] for alert in published(books, "alert.raised.v1")] == ["warning"]
    assert allocate(books).status == "OPTIMAL"
    assert resume_regency(books, KUKAR, "siti", NOW) == []


FINDINGS = {
    "a changed record": (
        "ALTER TABLE audit_record DISABLE TRIGGER audit_record_append_only;"
        " UPDATE audit_record SET actor = 'budi' WHERE number = 1;"
        " ALTER TABLE audit_record ENABLE TRIGGER audit_record_append_only",
        "records_intact",
    ),
    "a removed record": (
        "ALTER TABLE audit_record DISABLE TRIGGER audit_record_append_only;"
        " DELETE FROM audit_record WHERE number = 1;"
        " ALTER TABLE audit_record ENABLE TRIGGER audit_record_append_only",
        "records_intact",
    ),
    "an accepted event without an outcome": (
        "UPDATE inbox_event SET outcome = 'received'",
        "events_have_one_outcome",
    ),
    "an event both accepted and refused": (
        'INSERT INTO dead_letter (log_id, topic, partition, "offset", position, event_key, reason, detail,'
        ' headers_encrypted, payload_encrypted) SELECT log_id, topic, partition, "offset", 0, event_key,'
        " 'village_unknown', '', '', '' FROM inbox_event",
        "events_have_one_outcome",
    ),
    "a trigger that is switched off": (
        "ALTER TABLE journal_entry DISABLE TRIGGER journal_entry_append_only",
        "transitions_guarded",
    ),
    "a transition made legal": (
        "INSERT INTO legal_transition VALUES ('proposal', 'enrolled', 'proposed')",
        "transitions_guarded",
    ),
}


@pytest.mark.parametrize("tampering", FINDINGS)
def test_the_audit_finds(books: Engine, tampering: str) -> None:
    register_workers(books, CONTEXT, [worker_event(1)])
    publish_heads(books, "siti", NOW)
    publish_heads(books, "siti", NOW)
    assert audit(books) == []
    statement, check = FINDINGS[tampering]
    execute(books, statement)
    assert {finding.check for finding in audit(books)} == {check}


def test_a_refused_event_that_came_again_and_was_accepted_is_no_finding(books: Engine) -> None:
    unknown = worker_event(1, event_id="once", village="64.03.01.2001")
    assert register_workers(books, CONTEXT, [unknown]).outcomes == ["refused"]
    execute(books, "INSERT INTO regency (code, timezone) VALUES ('64.03', 'Asia/Makassar')")
    again = worker_event(1, event_id="once", village="64.03.01.2001")
    assert register_workers(books, CONTEXT, [again]).outcomes == ["registered"]
    other = worker_event(1, event_id="once", village="64.03.01.2001", months=5)
    assert register_workers(books, CONTEXT, [other]).outcomes == ["refused"]
    assert audit(books) == []


def test_a_head_names_the_end_of_every_journal(books: Engine) -> None:
    (head,) = publish_heads(books, "siti", NOW)
    with books.connect() as connection:
        number, seal = connection.execute(
            text("SELECT number, hash FROM journal_entry ORDER BY number DESC LIMIT 1")
        ).one()
    assert [(fund.fund_id, fund.entries, fund.hash) for fund in head.funds] == [
        ("csr-1", number, bytes(seal).hex())
    ]
    (event,) = published(books, "journal.head.v1")
    assert event == orjson.loads(head.model_dump_json())


def test_the_schedule_publishes_heads_once_a_day_of_the_regency(books: Engine) -> None:
    evening = dt.datetime(2026, 11, 2, 15, 30, tzinfo=dt.UTC)  # 23:30 in Kukar
    assert len(publish_daily_heads(books, evening)) == 1
    assert publish_daily_heads(books, evening + dt.timedelta(minutes=20)) == []
    assert len(publish_daily_heads(books, evening + dt.timedelta(minutes=40))) == 1
