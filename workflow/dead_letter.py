"""Dead letters: what could not be accepted is kept, explained, and can be tried again after a fix.

Key, headers and bytes are kept sealed, because a refused event may hold anything, a plain NIK
included. Of a CloudEvents batch only the refused event is kept, as a message of its own. A copy
goes to ``<topic>.dlq`` with its reason in the headers, for whoever watches the cluster.
"""

from __future__ import annotations

import base64
import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert

from models.message import (
    ATTEMPT_HEADER,
    EVENT_CONTENT_TYPE,
    LARGEST_MESSAGE_BYTES,
    OUTBOX_HEADER,
    Refusal,
)
from models.tables import DeadLetter
from models.vault import UndecryptableError, Vault
from workflow.outbox import NewMessage, enqueue_messages

_KEY: Final = "dead-letter:key"
_HEADERS: Final = "dead-letter:headers"
_PAYLOAD: Final = "dead-letter:payload"

#: Sealed contents above this stay in the database only; a broker takes 1 MiB by default.
_LARGEST_COPY_BYTES: Final = 900_000
_REPLAY_ROWS: Final = 200
_SHOWN_CHARACTERS: Final = 4_000

# From eleven digits on: NIK, NPWP, telephone numbers; a village code has ten.
_LONG_NUMBER = re.compile(r"\d(?:[ .-]?\d){10,}")
_PERSONAL_FIELD = re.compile(r'("[^"]*(?:nik|nam[ae]|ktp)[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """One dead letter without its contents."""

    id: int
    log_id: str
    topic: str
    partition: int
    offset: int
    position: int
    reason: str
    detail: str
    attempt: int
    received_at: dt.datetime
    replayed_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter as a person may see it: digits of identity numbers and names are masked."""

    summary: DeadLetterSummary
    key: str | None
    headers: Mapping[str, str]
    payload: str
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """Dead letters of one topic and reason; ``replayed`` is the part of ``total`` that was tried again."""

    topic: str
    reason: str
    total: int
    replayed: int


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """``replayed`` and ``skipped`` ids; skipped ones are unknown, replayed already, or too large to send."""

    replayed: Sequence[int]
    skipped: Mapping[int, str]


def record_dead_letters(connection: Connection, vault: Vault, refusals: Sequence[Refusal]) -> int:
    """Store refusals and announce them on ``<topic>.dlq``, in the caller's transaction.

    Returns how many are new: one that is known by (log, topic, partition, offset, position) is left alone.
    """
    if not refusals:
        return 0
    batches: dict[int, list[Any]] = {}
    rows = {_place(refusal): _seal_row(vault, refusal, batches) for refusal in refusals}
    statement = insert(DeadLetter).on_conflict_do_nothing()
    stored = connection.execute(
        statement.returning(
            DeadLetter.id,
            DeadLetter.log_id,
            DeadLetter.topic,
            DeadLetter.partition,
            DeadLetter.offset,
            DeadLetter.position,
        ),
        list(rows.values()),
    ).all()
    enqueue_messages(
        connection,
        [
            _announce(row.id, rows[row.log_id, row.topic, row.partition, row.offset, row.position])
            for row in stored
        ],
    )
    return len(stored)


def list_dead_letters(
    engine: Engine,
    *,
    topic: str | None = None,
    reason: str | None = None,
    waiting_only: bool = True,
    limit: int = 100,
    before_id: int | None = None,
) -> list[DeadLetterSummary]:
    """Newest first; ``waiting_only`` leaves out those that were replayed."""
    statement = _filter(select(*_SUMMARY_COLUMNS), topic, reason, waiting_only=waiting_only)
    if before_id is not None:
        statement = statement.where(DeadLetter.id < before_id)
    with engine.connect() as connection:
        rows = connection.execute(statement.order_by(DeadLetter.id.desc()).limit(limit))
        return [DeadLetterSummary(*row) for row in rows]


def show_dead_letter(engine: Engine, vault: Vault, dead_letter_id: int) -> DeadLetterView | None:
    """One dead letter with masked contents; ``None`` when there is no such id.

    Long numbers, and texts in fields named like a NIK or name, are masked; very long contents are cut.
    Raises ``models.vault.UndecryptableError`` when the contents were sealed with a lost key.
    """
    sealed = (DeadLetter.key_encrypted, DeadLetter.headers_encrypted, DeadLetter.payload_encrypted)
    with engine.connect() as connection:
        row = connection.execute(
            select(*_SUMMARY_COLUMNS, *sealed).where(DeadLetter.id == dead_letter_id)
        ).one_or_none()
    if row is None:
        return None
    *summary, key, headers, payload = row
    message = _open_message(vault, key, headers, payload)
    return DeadLetterView(
        summary=DeadLetterSummary(*summary),
        key=None if message.key is None else _mask(message.key),
        headers={name: _mask(value) for name, value in message.headers.items()},
        payload=_mask(message.value),
        payload_bytes=len(message.value),
    )


def count_dead_letters(engine: Engine) -> list[DeadLetterCount]:
    """By topic and reason."""
    statement = (
        select(DeadLetter.topic, DeadLetter.reason, func.count(), func.count(DeadLetter.replayed_at))
        .group_by(DeadLetter.topic, DeadLetter.reason)
        .order_by(DeadLetter.topic, DeadLetter.reason)
    )
    with engine.connect() as connection:
        return [DeadLetterCount(*row) for row in connection.execute(statement)]


def replay_dead_letters(
    engine: Engine,
    vault: Vault,
    ids: Sequence[int] | None = None,
    *,
    topic: str | None = None,
    reason: str | None = None,
) -> ReplayOutcome:
    """Send the original bytes to the original topic again, by ids or filter (without any: all waiting ones).

    Through the outbox, and marked in the same transaction. An event that was refused out of a batch
    is sent alone. If it is refused again, that is a new dead letter of the next attempt; what arrives
    while this runs is left alone, or replays that fail at once would be sent again for ever.
    """
    with engine.connect() as connection:
        newest_id = connection.scalar(select(func.max(DeadLetter.id))) or 0
    replayed: list[int] = []
    skipped: dict[int, str] = {}
    last_id = 0
    while True:
        with engine.begin() as connection:
            statement = _filter(select(DeadLetter.__table__), topic, reason, waiting_only=True)
            if ids is not None:
                statement = statement.where(DeadLetter.id.in_(ids))
            rows = connection.execute(
                statement.where(DeadLetter.id > last_id, DeadLetter.id <= newest_id)
                .order_by(DeadLetter.id)
                .limit(_REPLAY_ROWS)
                .with_for_update()
            ).all()
            messages = []
            for row in rows:
                message = _prepare_replay(vault, row)
                if isinstance(message, str):
                    skipped[row.id] = message
                else:
                    messages.append(message)
                    replayed.append(row.id)
            enqueue_messages(connection, messages)
            connection.execute(
                update(DeadLetter)
                .where(DeadLetter.id.in_([row.id for row in rows if row.id not in skipped]))
                .values(replayed_at=func.clock_timestamp())
            )
        if not rows:
            break
        last_id = rows[-1].id
    for missing in set(ids or ()) - set(replayed) - set(skipped):
        skipped[missing] = "no such dead letter, or replayed already"
    return ReplayOutcome(replayed, skipped)


_SUMMARY_COLUMNS: Final = (
    DeadLetter.id,
    DeadLetter.log_id,
    DeadLetter.topic,
    DeadLetter.partition,
    DeadLetter.offset,
    DeadLetter.position,
    DeadLetter.reason,
    DeadLetter.detail,
    DeadLetter.attempt,
    DeadLetter.received_at,
    DeadLetter.replayed_at,
)


def _filter(statement: Any, topic: str | None, reason: str | None, *, waiting_only: bool) -> Any:
    if topic is not None:
        statement = statement.where(DeadLetter.topic == topic)
    if reason is not None:
        statement = statement.where(DeadLetter.reason == reason)
    if waiting_only:
        statement = statement.where(DeadLetter.replayed_at.is_(None))
    return statement


def _place(refusal: Refusal) -> tuple[str, str, int, int, int]:
    message = refusal.message
    return (message.log_id, message.topic, message.partition, message.offset, refusal.position)


def _seal_row(vault: Vault, refusal: Refusal, batches: dict[int, list[Any]]) -> dict[str, Any]:
    message = refusal.message
    headers = {
        name: value for name, value in message.headers.items() if name not in (ATTEMPT_HEADER, OUTBOX_HEADER)
    }
    payload = message.value or b""
    if refusal.in_batch:
        # The batch is parsed once, however many of its events are refused.
        events = batches.get(id(message))
        if events is None:
            events = batches[id(message)] = orjson.loads(payload)
        payload = orjson.dumps(events[refusal.position])
        headers["content-type"] = EVENT_CONTENT_TYPE.encode()
    sealed_headers = {name: base64.b64encode(value).decode() for name, value in headers.items()}
    return {
        "log_id": message.log_id,
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "position": refusal.position,
        "event_key": refusal.event_key,
        "reason": refusal.reason,
        "detail": refusal.detail.replace("\0", "\ufffd"),
        "key_encrypted": None if message.key is None else vault.encrypt(message.key, _KEY),
        "headers_encrypted": vault.encrypt(orjson.dumps(sealed_headers), _HEADERS),
        "payload_encrypted": vault.encrypt(payload, _PAYLOAD),
        "attempt": message.attempt,
    }


def _announce(dead_letter_id: int, row: Mapping[str, Any]) -> NewMessage:
    """The copy for ``<topic>.dlq``: the sealed bytes, and in headers where they came from and why."""
    payload: bytes = row["payload_encrypted"]
    copied = len(payload) <= _LARGEST_COPY_BYTES
    headers = {
        "gotong-dead-letter-id": dead_letter_id,
        "gotong-original-topic": row["topic"],
        "gotong-original-partition": row["partition"],
        "gotong-original-offset": row["offset"],
        "gotong-original-position": row["position"],
        "gotong-reason": row["reason"],
        ATTEMPT_HEADER: row["attempt"],
        "gotong-payload": "sealed" if copied else "omitted",
    }
    return NewMessage(
        topic=f"{row['topic']}.dlq",
        value=payload if copied else b"",
        headers={name: str(value).encode() for name, value in headers.items()},
    )


def _open_message(
    vault: Vault, key_encrypted: bytes | None, headers_encrypted: bytes, payload_encrypted: bytes
) -> NewMessage:
    headers: dict[str, str] = orjson.loads(vault.decrypt(headers_encrypted, _HEADERS))
    return NewMessage(
        topic="",
        value=vault.decrypt(payload_encrypted, _PAYLOAD),
        key=None if key_encrypted is None else vault.decrypt(key_encrypted, _KEY),
        headers={name: base64.b64decode(value) for name, value in headers.items()},
    )


def _prepare_replay(vault: Vault, row: Row[Any]) -> NewMessage | str:
    """The message to send again, or why it cannot be sent."""
    try:
        message = _open_message(vault, row.key_encrypted, row.headers_encrypted, row.payload_encrypted)
    except UndecryptableError as error:
        return f"its contents cannot be opened: {error}"
    if len(message.value) > LARGEST_MESSAGE_BYTES:
        return f"its {len(message.value)} bytes are more than a message may have"
    headers = {**message.headers, ATTEMPT_HEADER: str(row.attempt + 1).encode()}
    return NewMessage(row.topic, message.value, message.key, headers, intake=True)


def _mask(content: bytes) -> str:
    shown = content.decode(errors="replace")
    cut = shown[:_SHOWN_CHARACTERS]
    masked = _PERSONAL_FIELD.sub(r'\1"•••"', _LONG_NUMBER.sub("•••", cut))
    return masked if len(shown) == len(cut) else f"{masked} … ({len(content)} bytes)"
