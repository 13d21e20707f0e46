"""Registering workers in a real PostgreSQL: what an event comes to, alone, repeated, late or disputed."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from sqlalchemy import Connection, Engine, insert, text

from models.database import open_engine
from models.message import BATCH_CONTENT_TYPE, EventEnvelope, Refusal
from models.tables import InboxEvent
from tests.builders import KUKAR, apply_fund, pledge
from tests.event_builders import CONTEXT, NOW, VAULT, envelope, message, nik_of, worker_data, worker_event
from workflow.dead_letter import count_dead_letters, list_dead_letters, replay_dead_letters
from workflow.load_regions import load_regions
from workflow.outbox import (
    NewMessage,
    count_unsettled,
    enqueue_messages,
    mark_published,
    take_unpublished,
)
from workflow.outcome import BatchOutcome, Unavailable
from workflow.register import register_workers
from workflow.validate import validate_workers


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


def register(engine: Engine, *envelopes: EventEnvelope, refusals: tuple[Refusal, ...] = ()) -> BatchOutcome:
    return register_workers(engine, CONTEXT, envelopes, refusals)


def outcomes(engine: Engine, *envelopes: EventEnvelope) -> list[str]:
    return list(register(engine, *envelopes).outcomes)


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def needs(engine: Engine) -> list[Any]:
    return rows(engine, "SELECT months, priority, state, version FROM coverage_need ORDER BY id")


def move_need(engine: Engine, *states: str) -> None:
    """Take the one need there is through these states, as the later steps would."""
    for state in states:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE coverage_need SET state = :state, version = version + 1"), {"state": state}
            )


def test_an_event_becomes_a_worker_and_a_need_and_asks_for_an_allocation(engine: Engine) -> None:
    event = worker_event(1, event_id="e-1")
    assert outcomes(engine, event) == ["registered"]
    ((nik, name, nik_hash, village, reported_at),) = rows(
        engine, "SELECT nik_encrypted, name_encrypted, nik_hash, village_code, reported_at FROM worker"
    )
    assert VAULT.open_nik(nik) == nik_of(1)
    assert VAULT.open_name(name, nik_hash) == "Pekerja Rekaan 1"
    assert (village, reported_at) == ("64.02.05.2001", NOW)
    assert rows(
        engine,
        "SELECT regency_code, district_code, village_code, programmes, months, start_month, priority, state,"
        " version FROM coverage_need",
    ) == [("64.02", "64.02.05", "64.02.05.2001", 3, 3, dt.date(2026, 12, 1), 50, "waiting", 1)]
    assert rows(engine, "SELECT regency_code FROM allocation_signal") == [("64.02",)]
    assert rows(engine, "SELECT event_key, event_id, source, outcome FROM inbox_event") == [
        (event.key, "e-1", "/test", "registered")
    ]


def test_a_repeated_event_changes_nothing(engine: Engine) -> None:
    event = worker_event(1)
    everything = (
        "SELECT * FROM worker",
        "SELECT * FROM coverage_need",
        "SELECT * FROM inbox_event",
        "SELECT id FROM allocation_signal",
        "SELECT id FROM dead_letter",
    )
    register(engine, event)
    before = [rows(engine, query) for query in everything]
    again = replace(event, message=replace(event.message, offset=99, log_id="another"))
    assert outcomes(engine, again, again) == ["repeated", "repeated"]
    assert [rows(engine, query) for query in everything] == before


def test_the_same_facts_sealed_anew_and_written_otherwise_are_a_repeat(engine: Engine) -> None:
    register(engine, worker_event(1, event_id="e-1"))
    data = dict(reversed(worker_data(1).items()))
    again = envelope(orjson.dumps(data, option=orjson.OPT_INDENT_2), event_id="e-1")
    assert outcomes(engine, again) == ["repeated"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("change", [{"months": 4}, {"name": "Orang Lain"}, {"priority": 51}])
def test_the_same_id_with_other_content_is_a_conflict_and_the_first_stands(
    engine: Engine, together: bool, change: dict[str, Any]
) -> None:
    first, second = worker_event(1, event_id="e-1"), worker_event(1, event_id="e-1", **change)
    if together:
        assert outcomes(engine, first, second) == ["registered", "refused"]
    else:
        register(engine, first)
        assert outcomes(engine, second) == ["refused"]
    assert needs(engine) == [(3, 50, "waiting", 1)]
    assert [letter.reason for letter in list_dead_letters(engine)] == ["event_id_conflict"]
    ((name,),) = rows(engine, "SELECT name_encrypted FROM worker")
    assert VAULT.open_name(name, VAULT.hash_nik(nik_of(1))) == "Pekerja Rekaan 1"


@pytest.mark.parametrize("together", [True, False])
def test_a_newer_event_changes_the_need_and_an_older_one_does_not(engine: Engine, together: bool) -> None:
    events = (
        worker_event(1, priority=40),
        worker_event(1, days=-1, priority=10, months=12, occupation="petani"),
        worker_event(1, days=1, priority=90, months=6, occupation="buruh"),
    )
    expected = ["registered", "stale", "updated"]
    if together:
        assert outcomes(engine, *events) == expected
    else:
        assert [outcomes(engine, event)[0] for event in events] == expected
    assert needs(engine) == [(6, 90, "waiting", 2)]
    assert rows(engine, "SELECT occupation FROM worker") == [("buruh",)]


def test_of_two_events_with_the_same_time_the_later_arrival_counts(engine: Engine) -> None:
    assert outcomes(engine, worker_event(1, priority=40), worker_event(1, priority=41)) == [
        "registered",
        "updated",
    ]
    assert needs(engine) == [(3, 41, "waiting", 2)]


def test_a_name_that_is_not_repeated_is_kept(engine: Engine) -> None:
    register(engine, worker_event(1))
    register(engine, worker_event(1, days=1, name=None, occupation="petani"))
    assert rows(engine, "SELECT occupation, name_encrypted IS NULL FROM worker") == [("petani", False)]


def test_other_months_or_other_programmes_are_another_need(engine: Engine) -> None:
    assert outcomes(
        engine,
        worker_event(1, start_month="2026-12", months=3),
        worker_event(1, start_month="2027-03", months=3),
        worker_event(1, start_month="2026-12", months=3, programmes=["JKN"]),
        worker_event(1, start_month="2026-11", months=2, programmes=["JKN", "JHT"]),
    ) == ["registered", "registered", "registered", "updated"]
    assert len(needs(engine)) == 3


@pytest.mark.parametrize("state", ["approved", "enrolled"])
def test_a_need_that_is_paid_for_is_not_registered_again(engine: Engine, state: str) -> None:
    register(engine, worker_event(1))
    move_need(engine, "proposed", "approved", *(["enrolled"] if state == "enrolled" else []))
    assert outcomes(engine, worker_event(1, days=1, months=12)) == ["already_funded"]
    assert [need[:3] for need in needs(engine)] == [(3, 50, state)]


def test_a_closed_need_does_not_stand_in_the_way(engine: Engine) -> None:
    register(engine, worker_event(1))
    move_need(engine, "closed")
    assert outcomes(engine, worker_event(1, days=1)) == ["registered"]


def test_an_event_across_two_needs_is_refused_and_leaves_no_trace(engine: Engine) -> None:
    register(engine, worker_event(1, months=3), worker_event(1, start_month="2027-03"))
    both = worker_event(1, days=1, months=12, occupation="petani")
    assert outcomes(engine, both) == ["refused"]
    assert rows(engine, "SELECT occupation FROM worker") == [("nelayan",)]
    assert [letter.reason for letter in list_dead_letters(engine)] == ["overlaps_several_needs"]
    assert rows(engine, f"SELECT 1 FROM inbox_event WHERE event_key = '{both.key}'") == []


def test_a_village_of_a_regency_that_is_not_served_is_refused(engine: Engine) -> None:
    outcome = register(engine, worker_event(1, village="64.71.01.1001"), worker_event(2))
    assert list(outcome.outcomes) == ["refused", "registered"]
    assert outcome.refused == {"regency_not_served": 1}


def test_a_worker_who_moves_takes_the_need_along_and_the_reserved_money_returns(engine: Engine) -> None:
    load_regions(engine, [KUKAR, "64.71"])
    register(engine, worker_event(1))
    apply_fund(engine, pledge(amount_rupiah=100_000))
    _propose(engine, 50_400)
    assert outcomes(engine, worker_event(1, days=1, village="64.71.01.1001")) == ["updated"]
    assert rows(engine, "SELECT regency_code, state FROM coverage_need") == [("64.71", "waiting")]
    assert rows(engine, "SELECT state FROM proposal") == [("released",)]
    assert rows(engine, "SELECT reserved_rupiah FROM fund") == [(0,)]
    assert {regency for (regency,) in rows(engine, "SELECT regency_code FROM allocation_signal")} == {
        "64.02",
        "64.71",
    }
    from workflow.audit import audit

    assert audit(engine) == []


def _propose(engine: Engine, expected_rupiah: int) -> None:
    from tests.integration.test_allocate import allocate

    allocate(engine)
    assert rows(engine, "SELECT amount_rupiah, state FROM proposal") == [(expected_rupiah, "proposed")]


def test_one_bad_event_does_not_hinder_the_others_of_its_batch(engine: Engine) -> None:
    outcome = register(
        engine, worker_event(1), worker_event(2, months=13), worker_event(3, village="64.02.99.2001")
    )
    assert list(outcome.outcomes) == ["registered", "refused", "refused"]
    assert outcome.refused == {"months_out_of_range": 1, "village_unknown": 1}
    assert {(count.reason, count.total) for count in count_dead_letters(engine)} == {
        ("months_out_of_range", 1),
        ("village_unknown", 1),
    }


def test_a_redelivered_refusal_is_one_dead_letter(engine: Engine) -> None:
    bad = worker_event(1, months=13)
    for _ in range(3):
        assert outcomes(engine, bad, bad) == ["refused", "refused"]
    assert len(list_dead_letters(engine)) == 1
    with engine.begin() as connection:
        announced = [record.topic for record in take_unpublished(connection, 100)]
    assert announced == ["coverage.worker-uncovered.v1.dlq"]


def test_refusals_of_the_edge_are_stored_with_the_batch(engine: Engine) -> None:
    unreadable = message(b"\xff\xfe")
    early = Refusal(unreadable, "invalid_utf8", "byte 0 is not UTF-8")
    outcome = register(engine, worker_event(1), refusals=(early,))
    assert list(outcome.outcomes) == ["registered"]
    assert outcome.refused == {"invalid_utf8": 1}
    assert [letter.reason for letter in list_dead_letters(engine)] == ["invalid_utf8"]


def test_an_event_the_database_refuses_is_isolated_from_its_batch(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE coverage_need ADD CONSTRAINT surprise CHECK (priority <> 77)"))
    events = [worker_event(number, priority=77 if number in (3, 8) else 50) for number in range(11)]
    expected = ["refused" if number in (3, 8) else "registered" for number in range(11)]
    assert outcomes(engine, *events) == expected
    letters = list_dead_letters(engine)
    assert {letter.reason for letter in letters} == {"not_storable"}
    assert {letter.offset for letter in letters} == {events[3].message.offset, events[8].message.offset}
    assert outcomes(engine, *events) == ["refused" if o == "refused" else "repeated" for o in expected]


def test_a_database_that_is_not_ready_condemns_no_event(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE inbox_event RENAME TO hidden"))
    event = worker_event(1)
    with pytest.raises(Unavailable, match="UndefinedTable"):
        register(engine, event)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE hidden RENAME TO inbox_event"))
    assert outcomes(engine, event) == ["registered"]


def test_a_lost_connection_is_unavailable_and_the_batch_can_be_tried_again(engine: Engine) -> None:
    event = worker_event(1)
    with engine.connect() as blocker:
        blocker.execute(text("LOCK TABLE worker"))
        waiting: list[BaseException | None] = []

        def attempt() -> None:
            try:
                register(engine, event)
                waiting.append(None)
            except Unavailable as error:
                waiting.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as killer:
            killed = False
            while not killed:
                killed = bool(
                    killer.scalar(
                        text(
                            "SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity"
                            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
                        )
                    )
                )
        thread.join()
    assert isinstance(waiting[0], Unavailable)
    assert outcomes(engine, event) == ["registered"]


def test_two_processes_with_the_same_events_register_each_worker_once(engine: Engine) -> None:
    same_events = [worker_event(number) for number in range(40)]
    same_workers = [worker_event(number, days=1, priority=99) for number in range(40)]
    results: list[list[str]] = []
    start = threading.Barrier(4)

    def work(events: list[EventEnvelope]) -> None:
        start.wait()
        for attempt in range(5):
            try:
                results.append(outcomes(engine, *events))
                return
            except Unavailable:
                if attempt == 4:
                    raise

    threads = [
        threading.Thread(target=work, args=(events,))
        for events in (same_events, same_events[::-1], same_workers, same_workers[::-1])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert [need[:3] for need in needs(engine)] == [(3, 99, "waiting")] * 40
    assert rows(engine, "SELECT count(*) FROM worker") == [(40,)]
    assert rows(engine, "SELECT count(*) FROM inbox_event") == [(80,)]
    assert list_dead_letters(engine) == []


def while_blocked(engine: Engine, blocker: Connection, *events: EventEnvelope) -> list[str]:
    """Register in another thread; once it waits for ``blocker``, let that commit, and return the outcomes."""
    results: list[list[str]] = []
    thread = threading.Thread(target=lambda: results.append(outcomes(engine, *events)))
    thread.start()
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
        while thread.is_alive() and not observer.scalar(waiting):
            thread.join(0.01)
    blocker.commit()
    thread.join()
    return results[0]


def test_a_need_that_another_process_is_about_to_commit_is_waited_for(engine: Engine) -> None:
    register(engine, worker_event(1))
    move_need(engine, "closed")
    with engine.connect() as other:
        other.execute(text("SELECT FROM worker FOR UPDATE"))
        other.execute(
            text(
                "INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes,"
                " months, start_month, priority, reported_at) SELECT worker_id, regency_code, district_code,"
                " village_code, programmes, months, start_month, priority, reported_at FROM coverage_need"
            )
        )
        assert while_blocked(engine, other, worker_event(1, days=1)) == ["updated"]
    assert [need[2] for need in needs(engine)] == ["closed", "waiting"]


def test_an_event_that_another_process_is_about_to_commit_becomes_a_repeat(engine: Engine) -> None:
    event = worker_event(1)
    (report,) = validate_workers(CONTEXT, [event])
    assert not isinstance(report, Refusal)
    with engine.connect() as other:
        other.execute(
            insert(InboxEvent).values(
                event_key=event.key,
                type=event.type,
                source=event.source,
                event_id=event.id,
                content_hash=report.content_hash,
                log_id="test",
                topic="topic",
                partition=0,
                offset=0,
                outcome="registered",
            )
        )
        assert while_blocked(engine, other, event) == ["repeated"]
    assert needs(engine) == []
    assert list_dead_letters(engine) == []


def carried(engine: Engine, events: list[EventEnvelope]) -> list[EventEnvelope]:
    """The events as if they had come in one message from the outbox."""
    with engine.begin() as connection:
        enqueue_messages(connection, [NewMessage("topic", b"[...]", intake=True)])
        (record,) = take_unpublished(connection, 1)
        mark_published(connection, [record.id], "test")
    carrier = message(b"[...]", headers=record.headers)
    return [replace(event, message=carrier, position=number) for number, event in enumerate(events)]


def unsettled(engine: Engine) -> int:
    with engine.connect() as connection:
        return count_unsettled(connection)[1]


def test_an_outbox_message_is_settled_when_its_events_are_stored(engine: Engine) -> None:
    events = carried(engine, [worker_event(1), worker_event(2, months=13)])
    assert unsettled(engine) == 1
    assert outcomes(engine, *events) == ["registered", "refused"]
    assert unsettled(engine) == 0


def test_an_outbox_message_is_not_settled_while_one_of_its_events_is_not_stored(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE coverage_need ADD CONSTRAINT surprise CHECK (priority <> 77)"))
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION 'away' USING ERRCODE = 'admin_shutdown'; END $$"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER outage BEFORE INSERT ON coverage_need FOR EACH ROW"
                " WHEN (new.priority = 66) EXECUTE FUNCTION fail()"
            )
        )
    # Rows are stored in the order of the hash: the poison must be met before the outage.
    first, *others = sorted(range(4), key=lambda number: VAULT.hash_nik(nik_of(number)))
    poison, outage = worker_event(first, priority=77), worker_event(others[2], priority=66)
    events = carried(engine, [poison, worker_event(others[0]), worker_event(others[1]), outage])
    with pytest.raises(Unavailable):
        register(engine, *events)
    assert len(needs(engine)) == 1  # the first half was stored
    assert unsettled(engine) == 1
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER outage ON coverage_need"))
    assert outcomes(engine, *events) == ["refused", "repeated", "registered", "registered"]
    assert unsettled(engine) == 0


def test_of_a_batch_only_the_refused_event_is_kept_and_replayed(engine: Engine) -> None:
    good, bad = worker_data(1), worker_data(2, months=13)
    cloud_events = [
        {"specversion": "1.0", "id": f"e-{n}", "source": "/test", "type": "t", "data": data}
        for n, data in enumerate((good, bad))
    ]
    body = orjson.dumps(cloud_events)
    carrier = message(body, headers={"content-type": BATCH_CONTENT_TYPE.encode()})
    events = [
        replace(envelope(data, event_id=f"e-{n}"), message=carrier, position=n)
        for n, data in enumerate((good, bad))
    ]
    assert outcomes(engine, *events) == ["registered", "refused"]
    (letter,) = list_dead_letters(engine)
    assert letter.position == 1
    assert list(replay_dead_letters(engine, VAULT).replayed) == [letter.id]
    with engine.begin() as connection:
        records = [record for record in take_unpublished(connection, 10) if record.intake]
    (record,) = records
    assert orjson.loads(record.value) == cloud_events[1]
    assert record.headers["content-type"] == b"application/cloudevents+json"
    assert record.headers["gotong-attempt"] == b"2"
