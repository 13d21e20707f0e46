"""What passes between the Kafka edge and the workflow: messages, envelopes, refusals."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import orjson

#: Content type of a message that carries a JSON array of CloudEvents.
BATCH_CONTENT_TYPE: Final = "application/cloudevents-batch+json"
#: Content type of a message that carries one CloudEvent with its envelope (structured mode).
EVENT_CONTENT_TYPE: Final = "application/cloudevents+json"
#: How often the event was tried before, plus one; set when a dead letter is replayed.
ATTEMPT_HEADER: Final = "gotong-attempt"
#: Which outbox row the message came from; set by the relay (``workflow.outbox``).
OUTBOX_HEADER: Final = "gotong-outbox-id"

#: Anybody can write a header; a number the database cannot hold must not stop a dead letter.
_MOST_ATTEMPTS: Final = 1_000_000

LARGEST_MESSAGE_BYTES: Final = 1024 * 1024
LARGEST_BATCH_EVENTS: Final = 500


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One Kafka record as it arrived. ``log_id`` names the cluster that numbered it."""

    log_id: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Mapping[str, bytes]
    value: bytes | None
    #: When it was sent by the record's own time stamp, in milliseconds since 1970; 0 if it has none.
    sent_ms: int = 0

    @property
    def carries_batch(self) -> bool:
        """Whether the sender declared a JSON array of CloudEvents."""
        return self.headers.get("content-type", b"").lower().startswith(BATCH_CONTENT_TYPE.encode())

    @property
    def attempt(self) -> int:
        """1 for a first delivery, one more for each replay from the dead letters."""
        return min(max(1, _header_number(self.headers, ATTEMPT_HEADER) or 1), _MOST_ATTEMPTS)

    @property
    def outbox_id(self) -> int | None:
        """The outbox row this message says it came from, if any; unproven (see ``settle_messages``)."""
        return _header_number(self.headers, OUTBOX_HEADER)


@dataclass(frozen=True, slots=True)
class EventEnvelope:
    """A CloudEvents 1.0 event, its ``data`` still JSON bytes to be validated by type.

    ``position`` is its place in a CloudEvents batch, 0 for a single event.
    """

    source: str
    id: str
    type: str
    time: dt.datetime
    data: bytes
    message: InboundMessage
    position: int = 0

    @property
    def key(self) -> uuid.UUID:
        """Inbox key: the same source and id always give the same key."""
        return derive_event_key(self.source, self.id)

    @property
    def content_hash(self) -> bytes:
        """SHA-256 over type and data: tells a harmless repeat from a conflicting one.

        Taken from the canonical form (sorted keys, no blanks), so that the same event sent
        alone and in a batch is the same. Raises ``ValueError`` when ``data`` is not JSON.
        """
        data = orjson.dumps(orjson.loads(self.data), option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(self.type.encode() + b"\0" + data).digest()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event (or whole message) that cannot be accepted.

    ``reason`` is a stable code (``models.reason``), ``detail`` a sentence for people; neither may
    hold personal data. ``in_batch`` says that only the event at ``position`` of a CloudEvents batch
    is refused; otherwise the message as a whole is.
    """

    message: InboundMessage
    reason: str
    detail: str
    position: int = 0
    event_key: uuid.UUID | None = None
    in_batch: bool = False


def refuse_event(envelope: EventEnvelope, reason: str, detail: str) -> Refusal:
    """The refusal of one decoded event."""
    return Refusal(
        message=envelope.message,
        reason=reason,
        detail=detail,
        position=envelope.position,
        event_key=envelope.key,
        in_batch=envelope.message.carries_batch,
    )


def derive_event_key(source: str, event_id: str) -> uuid.UUID:
    """128 bits of SHA-256 over source and id, as CloudEvents makes that pair unique."""
    digest = hashlib.sha256(f"{source}\0{event_id}".encode()).digest()
    return uuid.UUID(bytes=digest[:16])


def _header_number(headers: Mapping[str, bytes], name: str) -> int | None:
    value = headers.get(name, b"")
    return int(value) if value.isdigit() and len(value) < 19 else None
