"""Outbox: a Kafka message is a row, written in the transaction that caused it; a relay publishes rows.

Two kinds of rows:

* What the workflow says (``intake`` false): published once; a crash between publishing and marking
  publishes it again, which every reader of Gotong's events must and does take as a repeat.
* What enters through Gotong (``intake`` true: files, HTTP, replays): published, and watched until
  its events have an outcome. The consumer *settles* the row in the transaction that stores the
  outcomes (:func:`settle_messages`), so a row is settled exactly when nothing can be lost any more.
  Until then it is published again when the broker forgot it (:func:`reopen_forgotten`).

The link between a Kafka message and its row is a header with the row's id, which the relay sets.
A header alone would let a stray producer settle somebody else's row, so settling also compares
the digest of the message's bytes: only the same bytes can settle a row, and those are the same events.
No event key is needed, so a message that cannot be read at all settles like any other.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, insert, text

from models.event import EventData
from models.message import OUTBOX_HEADER, InboundMessage
from models.pg_array import write_bytes, write_numbers
from models.tables import OutboxMessage

SOURCE: Final = "/gotong"
#: Arbitrary, shared by every relay: only one may publish at a time.
_RELAY_LOCK: Final = 0x676F746F_6F757462
#: What a record costs the broker beside its value: key, headers, bookkeeping.
_OVERHEAD_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to enqueue. ``intake`` marks one that must be watched until its events have an outcome."""

    topic: str
    value: bytes
    key: bytes | None = None
    headers: Mapping[str, bytes] = field(default_factory=dict)
    intake: bool = False


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """A row for the relay to publish; ``headers`` already hold the row's id where it must be settled."""

    id: int
    topic: str
    key: bytes | None
    headers: Mapping[str, bytes]
    value: bytes
    intake: bool


_TAKE_OWN = text(
    """
    SELECT id, topic, key, headers, value, intake FROM outbox_message
    WHERE published_at IS NULL AND settled_at IS NULL AND NOT intake
    ORDER BY id LIMIT :limit
    """
)

_TAKE_INTAKE = text(
    """
    WITH next AS (
        SELECT id, octet_length(value) + :overhead AS size_bytes FROM outbox_message
        WHERE published_at IS NULL AND intake AND settled_at IS NULL
        ORDER BY id LIMIT :limit
    ), fitting AS (
        SELECT id FROM (SELECT id, sum(size_bytes) OVER (ORDER BY id) AS until_here FROM next) AS running
        WHERE CAST(:room AS int8) IS NULL OR until_here <= :room
           OR (:idle AND id = (SELECT min(id) FROM next))
    )
    SELECT id, topic, key, headers, value, intake FROM outbox_message
    WHERE id IN (SELECT id FROM fitting) ORDER BY id
    """
)

_IN_FLIGHT = text(
    """
    SELECT count(*), coalesce(sum(octet_length(value) + :overhead), 0)::int8 FROM outbox_message
    WHERE intake AND published_at IS NOT NULL AND settled_at IS NULL
    """
)

_WAITING = text(
    "SELECT count(*) FROM outbox_message WHERE intake AND published_at IS NULL AND settled_at IS NULL"
)

_MARK_PUBLISHED = text(
    """
    UPDATE outbox_message SET published_at = clock_timestamp(), published_log_id = :log_id
    WHERE id = ANY(CAST(:ids AS int8[]))
    """
)

_SETTLE = text(
    """
    UPDATE outbox_message o SET settled_at = clock_timestamp()
    FROM (SELECT * FROM unnest(CAST(:ids AS int8[]), CAST(:hashes AS bytea[])) AS u (id, value_hash)) AS m
    WHERE o.id = m.id AND o.value_hash = m.value_hash AND o.intake AND o.settled_at IS NULL
    """
)

_REOPEN = text(
    """
    UPDATE outbox_message SET published_at = NULL, published_log_id = NULL
    WHERE intake AND settled_at IS NULL AND published_at IS NOT NULL
      AND (published_log_id IS DISTINCT FROM :log_id
           OR published_at < clock_timestamp() - make_interval(secs => :patience))
    """
)

_PURGE = text(
    """
    DELETE FROM outbox_message WHERE id IN (
        SELECT id FROM outbox_message
        WHERE (CASE WHEN intake THEN settled_at ELSE published_at END)
              < clock_timestamp() - make_interval(secs => :age)
        ORDER BY id LIMIT :limit)
    """
)


def enqueue_message(
    connection: Connection,
    topic: str,
    key: bytes | None,
    headers: Mapping[str, bytes],
    value: bytes,
    *,
    intake: bool = False,
) -> None:
    """Put one message into the caller's transaction."""
    enqueue_messages(connection, [NewMessage(topic, value, key, headers, intake)])


def enqueue_messages(connection: Connection, messages: Sequence[NewMessage]) -> None:
    """Put messages into the caller's transaction, in this order."""
    if not messages:
        return
    connection.execute(
        insert(OutboxMessage),
        [
            {
                "topic": message.topic,
                "key": message.key,
                "headers": _write_headers(message.headers),
                "value": message.value,
                "value_hash": hashlib.sha256(message.value).digest(),
                "intake": message.intake,
            }
            for message in messages
        ],
    )


def enqueue_event(
    connection: Connection,
    event_type: str,
    data: EventData,
    *,
    key: bytes | None,
    source: str = SOURCE,
    event_id: str | None = None,
    time: dt.datetime | None = None,
    intake: bool = False,
) -> None:
    """Put one event into the caller's transaction: a CloudEvent in binary mode on the topic of its type."""
    headers = event_headers(
        event_type,
        source=source,
        event_id=event_id or str(uuid.uuid4()),
        time=time or dt.datetime.now(dt.UTC),
    )
    enqueue_message(
        connection, event_type, key, headers, data.model_dump_json(exclude_none=True).encode(), intake=intake
    )


def event_headers(event_type: str, *, source: str, event_id: str, time: dt.datetime) -> dict[str, bytes]:
    """Headers of a CloudEvent in binary mode (CloudEvents 1.0, Kafka protocol binding)."""
    return {
        "ce_specversion": b"1.0",
        "ce_id": event_id.encode(),
        "ce_source": source.encode(),
        "ce_type": event_type.encode(),
        "ce_time": time.astimezone(dt.UTC).isoformat().encode(),
        "content-type": b"application/json",
    }


def hold_relay_lock(connection: Connection) -> bool:
    """Try to become the one relay; held until the connection closes or ``release_relay_lock``."""
    return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _RELAY_LOCK}))


def release_relay_lock(connection: Connection) -> None:
    """Give the relay's place free; harmless when not held."""
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _RELAY_LOCK})


def take_unpublished(
    connection: Connection, limit: int, *, intake_in_flight_bytes: int | None = None
) -> list[OutboxRecord]:
    """The next rows to publish: the workflow's own by id, then intake by id. Needs :func:`hold_relay_lock`.

    Intake is held back while the unsettled intake that was published already would exceed
    ``intake_in_flight_bytes``; one row is let through when none is under way, however large. The
    workflow's own messages never wait for intake.
    """
    rows = list(connection.execute(_TAKE_OWN, {"limit": limit}))
    if len(rows) < limit:
        in_flight, bytes_in_flight = 0, 0
        if intake_in_flight_bytes is not None:
            in_flight, bytes_in_flight = connection.execute(_IN_FLIGHT, {"overhead": _OVERHEAD_BYTES}).one()
        rows += connection.execute(
            _TAKE_INTAKE,
            {
                "limit": limit - len(rows),
                "overhead": _OVERHEAD_BYTES,
                "room": None if intake_in_flight_bytes is None else intake_in_flight_bytes - bytes_in_flight,
                "idle": in_flight == 0,
            },
        )
    return [_read_record(*row) for row in rows]


def mark_published(connection: Connection, ids: Sequence[int], log_id: str) -> None:
    """Note that the broker ``log_id`` has acknowledged these rows."""
    if ids:
        connection.execute(_MARK_PUBLISHED, {"ids": write_numbers(ids), "log_id": log_id})


def settle_messages(connection: Connection, messages: Iterable[InboundMessage]) -> int:
    """Settle the outbox rows these messages came from; call it in the transaction of their outcomes.

    Every event of a message must have its outcome by the end of that transaction (or before).
    Returns the number of rows newly settled. Messages that came from elsewhere are ignored.
    """
    claimed = {
        message.outbox_id: hashlib.sha256(message.value).digest()
        for message in messages
        if message.outbox_id is not None and message.value is not None
    }
    if not claimed:
        return 0
    in_order = sorted(claimed.items())  # one order for all, so that two consumers never deadlock
    return connection.execute(
        _SETTLE,
        {
            "ids": write_numbers(row for row, _ in in_order),
            "hashes": write_bytes(value_hash for _, value_hash in in_order),
        },
    ).rowcount


def reopen_forgotten(connection: Connection, log_id: str, *, patience_seconds: float) -> int:
    """Let intake rows be published again that the broker lost; returns their number.

    Lost means: published to another ``log_id``, or not settled within ``patience_seconds``.
    """
    return connection.execute(_REOPEN, {"log_id": log_id, "patience": patience_seconds}).rowcount


def count_unsettled(connection: Connection) -> tuple[int, int, int]:
    """Intake not yet settled: rows waiting, rows in flight, bytes in flight."""
    waiting = connection.scalar(_WAITING)
    rows, size_bytes = connection.execute(_IN_FLIGHT, {"overhead": _OVERHEAD_BYTES}).one()
    return int(waiting or 0), int(rows), int(size_bytes)


def purge_outbox(connection: Connection, *, older_than_seconds: float, limit: int = 10_000) -> int:
    """Remove rows that are done (settled if intake, else published) that long; returns their number."""
    return connection.execute(_PURGE, {"age": older_than_seconds, "limit": limit}).rowcount


def _write_headers(headers: Mapping[str, bytes]) -> dict[str, Any]:
    """Headers as JSON: text where they are text, else base64 in an object of its own."""
    written: dict[str, Any] = {}
    for name, value in headers.items():
        try:
            text_value = value.decode()
        except UnicodeDecodeError:
            text_value = "\0"
        # PostgreSQL's jsonb holds no NUL character.
        written[name] = {"base64": base64.b64encode(value).decode()} if "\0" in text_value else text_value
    return written


def _read_record(
    row_id: int, topic: str, key: bytes | None, headers: dict[str, Any], value: bytes, intake: bool
) -> OutboxRecord:
    read = {
        name: base64.b64decode(content["base64"]) if isinstance(content, dict) else str(content).encode()
        for name, content in headers.items()
    }
    if intake:
        read[OUTBOX_HEADER] = str(row_id).encode()
    return OutboxRecord(row_id, topic, key, read, value, intake)
