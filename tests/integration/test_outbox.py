"""The outbox gives a relay its messages in order, holds intake back, and forgets nothing a broker forgot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from models.event import AllocationRequested
from models.message import InboundMessage
from workflow.outbox import (
    NewMessage,
    OutboxRecord,
    count_unsettled,
    enqueue_event,
    enqueue_messages,
    hold_relay_lock,
    mark_published,
    purge_outbox,
    reopen_forgotten,
    settle_messages,
    take_unpublished,
)

LOG = "cluster-1"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def enqueue(engine: Engine, *values: bytes, intake: bool = True) -> None:
    with engine.begin() as connection:
        enqueue_messages(connection, [NewMessage("topic", value, intake=intake) for value in values])


def take(engine: Engine, limit: int = 100, in_flight_bytes: int | None = None) -> list[OutboxRecord]:
    with engine.begin() as connection:
        return take_unpublished(connection, limit, intake_in_flight_bytes=in_flight_bytes)


def publish(engine: Engine, records: list[OutboxRecord], log_id: str = LOG) -> list[InboundMessage]:
    """What a relay does, and the messages a consumer would then read."""
    with engine.begin() as connection:
        mark_published(connection, [record.id for record in records], log_id)
    return [
        InboundMessage(log_id, record.topic, 0, offset, record.key, record.headers, record.value)
        for offset, record in enumerate(records)
    ]


def settle(engine: Engine, messages: list[InboundMessage]) -> int:
    with engine.begin() as connection:
        return settle_messages(connection, messages)


def test_messages_leave_in_the_order_they_were_written(engine: Engine) -> None:
    enqueue(engine, b"1", b"2", b"3", intake=False)
    assert [record.value for record in take(engine, limit=2)] == [b"1", b"2"]
    publish(engine, take(engine, limit=2))
    assert [record.value for record in take(engine)] == [b"3"]


def test_a_message_of_an_aborted_transaction_is_never_published(engine: Engine) -> None:
    with engine.connect() as connection:
        enqueue_messages(connection, [NewMessage("topic", b"never")])
        connection.rollback()
    assert take(engine) == []


def test_an_event_is_published_as_a_cloud_event_in_binary_mode(engine: Engine) -> None:
    with engine.begin() as connection:
        enqueue_event(
            connection,
            "allocation.requested.v1",
            AllocationRequested(regency="64.02", request_number=7),
            key=b"64.02",
            event_id="request-7",
        )
    (record,) = take(engine)
    assert (record.topic, record.key) == ("allocation.requested.v1", b"64.02")
    assert record.value == b'{"regency":"64.02","request_number":7}'
    assert record.headers["ce_id"] == b"request-7"
    assert record.headers["ce_type"] == b"allocation.requested.v1"
    assert record.headers["ce_specversion"] == b"1.0"
    assert "gotong-outbox-id" not in record.headers


def test_headers_that_are_no_text_arrive_unchanged(engine: Engine) -> None:
    headers = {"plain": b"text", "bytes": b"\xff\xfe", "nul": b"a\0b", "empty": b""}
    with engine.begin() as connection:
        enqueue_messages(connection, [NewMessage("topic", b"x", None, headers)])
    assert dict(take(engine)[0].headers) == headers


def test_intake_is_held_back_until_the_consumer_settled_what_is_under_way(engine: Engine) -> None:
    enqueue(engine, *[bytes([number]) * 10_000 for number in range(5)])
    room = 25_000
    first = take(engine, in_flight_bytes=room)
    assert [record.value[0] for record in first] == [0, 1]
    messages = publish(engine, first)
    assert take(engine, in_flight_bytes=room) == []
    assert settle(engine, messages[:1]) == 1
    assert [record.value[0] for record in take(engine, in_flight_bytes=room)] == [2]


def test_intake_held_back_does_not_hold_back_the_workflows_own_messages(engine: Engine) -> None:
    enqueue(engine, b"a" * 10_000, b"b" * 10_000)
    publish(engine, take(engine, in_flight_bytes=12_000))
    enqueue(engine, b"own", intake=False)
    assert [record.value for record in take(engine, in_flight_bytes=12_000)] == [b"own"]


def test_a_message_larger_than_the_limit_goes_alone(engine: Engine) -> None:
    enqueue(engine, b"a" * 10_000, b"b")
    (record,) = take(engine, in_flight_bytes=5_000)
    assert record.value == b"a" * 10_000


def test_a_settled_message_is_never_published_again(engine: Engine) -> None:
    enqueue(engine, b"done", b"lost")
    messages = publish(engine, take(engine))
    assert settle(engine, messages[:1]) == 1
    assert settle(engine, messages[:1]) == 0
    with engine.begin() as connection:
        assert reopen_forgotten(connection, "cluster-2", patience_seconds=3600) == 1
    assert [record.value for record in take(engine)] == [b"lost"]


def test_a_message_nobody_settled_in_time_is_published_again(engine: Engine) -> None:
    enqueue(engine, b"slow")
    publish(engine, take(engine))
    with engine.begin() as connection:
        assert reopen_forgotten(connection, LOG, patience_seconds=60) == 0
        connection.execute(
            text("UPDATE outbox_message SET published_at = published_at - interval '2 minutes'")
        )
        assert reopen_forgotten(connection, LOG, patience_seconds=60) == 1
    assert len(take(engine)) == 1


def test_a_message_settled_while_it_waits_to_be_published_again_stays_unpublished(engine: Engine) -> None:
    enqueue(engine, b"late")
    messages = publish(engine, take(engine))
    with engine.begin() as connection:
        reopen_forgotten(connection, "cluster-2", patience_seconds=3600)
    assert settle(engine, messages) == 1
    assert take(engine) == []


def test_another_message_cannot_settle_a_row_by_claiming_its_id(engine: Engine) -> None:
    enqueue(engine, b"genuine")
    (message,) = publish(engine, take(engine))
    forged = InboundMessage(LOG, "topic", 0, 9, None, message.headers, b"forged")
    assert settle(engine, [forged]) == 0
    with engine.connect() as connection:
        assert count_unsettled(connection)[:2] == (0, 1)


def test_the_workflows_own_messages_are_not_published_twice_after_a_broker_restart(engine: Engine) -> None:
    enqueue(engine, b"own", intake=False)
    publish(engine, take(engine))
    with engine.begin() as connection:
        assert reopen_forgotten(connection, "cluster-2", patience_seconds=0) == 0


def test_only_one_relay_holds_the_lock(engine: Engine) -> None:
    with engine.connect() as one, engine.connect() as other:
        assert hold_relay_lock(one)
        assert not hold_relay_lock(other)
        one.invalidate()
    with engine.connect() as other:
        assert hold_relay_lock(other)
        other.invalidate()


def test_purging_removes_only_what_is_done(engine: Engine) -> None:
    enqueue(engine, b"own", intake=False)
    publish(engine, take(engine))
    enqueue(engine, b"settled", b"unsettled", b"unpublished")
    settle(engine, publish(engine, take(engine, limit=2))[:1])
    with engine.begin() as connection:
        assert purge_outbox(connection, older_than_seconds=3600) == 0
        assert purge_outbox(connection, older_than_seconds=-1) == 2
        left = connection.execute(text("SELECT value FROM outbox_message ORDER BY id")).scalars().all()
    assert left == [b"unsettled", b"unpublished"]
