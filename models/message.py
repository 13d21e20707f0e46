"""What passes between the Kafka edge and the workflow: messages, envelopes, refusals."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass


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
        """SHA-256 over type and data: tells a harmless repeat from a conflicting one."""
        return hashlib.sha256(self.type.encode() + b"\0" + self.data).digest()


@dataclass(frozen=True, slots=True)
class Refusal:
    """An event (or whole message) that cannot be accepted.

    ``reason`` is a stable code for machines, ``detail`` a sentence for people; neither may hold
    personal data.
    """

    message: InboundMessage
    reason: str
    detail: str
    position: int = 0
    event_key: uuid.UUID | None = None


def derive_event_key(source: str, event_id: str) -> uuid.UUID:
    """128 bits of SHA-256 over source and id, as CloudEvents makes that pair unique."""
    digest = hashlib.sha256(f"{source}\0{event_id}".encode()).digest()
    return uuid.UUID(bytes=digest[:16])
