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

import orjson
from sqlalchemy import ARRAY, BigInteger, Connection, LargeBinary, bindparam, text

from models.event import EventData
from models.message import OUTBOX_HEADER, InboundMessage

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
    raise NotImplementedError


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
    """Put one event into the caller's transaction, as a CloudEvent in binary mode on the topic of its type."""
    raise NotImplementedError


def hold_relay_lock(connection: Connection) -> bool:
    """Try to become the one relay; held until the connection closes."""
    raise NotImplementedError


def take_unpublished(
    connection: Connection, limit: int, *, intake_in_flight_bytes: int | None = None
) -> list[OutboxRecord]:
    """The next rows to publish, by id. Call it under :func:`hold_relay_lock`.

    Intake rows are held back while the unsettled intake already published would exceed
    ``intake_in_flight_bytes``; one row is always let through when none is under way, however large.
    """
    raise NotImplementedError


def mark_published(connection: Connection, ids: Sequence[int], log_id: str) -> None:
    """Note that the broker ``log_id`` has acknowledged these rows."""
    raise NotImplementedError


def settle_messages(connection: Connection, messages: Iterable[InboundMessage]) -> int:
    """Settle the outbox rows these messages came from; call it in the transaction of their outcomes.

    Every event of a message must have its outcome by the end of that transaction (or before).
    Returns the number of rows newly settled. Messages that came from elsewhere are ignored.
    """
    raise NotImplementedError


def reopen_forgotten(connection: Connection, log_id: str, *, patience_seconds: float) -> int:
    """Let intake rows be published again that the broker lost; returns their number.

    Lost means: published to another ``log_id``, or not settled within ``patience_seconds``.
    """
    raise NotImplementedError


def count_unsettled(connection: Connection) -> tuple[int, int, int]:
    """Intake not yet settled: rows waiting, rows in flight, bytes in flight."""
    raise NotImplementedError


def purge_outbox(connection: Connection, *, older_than_seconds: float, limit: int = 10_000) -> int:
    """Remove rows that are done (published, and settled if intake); returns their number."""
    raise NotImplementedError
