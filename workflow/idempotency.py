"""Idempotency: a change asked for twice under one key happens once and is answered twice, alike.

Follows the IETF draft "The Idempotency-Key HTTP Header Field": the same key with other content is
refused, and so is a repeat that comes while the first is still being carried out. A refusal is not
kept: whoever mends the cause may try again with the same key.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, select, text, update
from sqlalchemy.dialects.postgresql import insert

from models.api_tables import IdempotentRequest

#: A request that was begun and never answered: its process is gone, and a repeat may take over.
_GIVEN_UP_AFTER: Final = dt.timedelta(minutes=2)
_NEVER: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:caller || ' ' || :key, 10))")


class KeyReusedError(Exception):
    """The key belongs to a request with other content."""


class StillUnderWayError(Exception):
    """The first request with this key has no answer yet."""


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An answer as it was given: ``body`` is its JSON, with the headers that matter."""

    status: int
    body: dict[str, Any]


def begin_request(
    engine: Engine, caller: uuid.UUID, key: str, content_hash: bytes, now: dt.datetime
) -> StoredAnswer | None:
    """The answer given before, or ``None``: this request is the first and must be answered or given up.

    Raises :class:`KeyReusedError` or :class:`StillUnderWayError`.
    """
    place = {"caller": caller, "key": key}
    with engine.begin() as connection:
        connection.execute(_LOCK, {"caller": str(caller), "key": key})
        known = connection.execute(select(IdempotentRequest.__table__).filter_by(**place)).one_or_none()
        if known is None or (known.status is None and known.begun_at == _NEVER):
            values = {"content_hash": content_hash, "begun_at": now}
            statement = insert(IdempotentRequest).values(**place, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["caller", "key"], set_=values))
            return None
        if known.content_hash != content_hash:
            raise KeyReusedError
        if known.status is not None:
            return StoredAnswer(known.status, known.body)
        if known.begun_at > now - _GIVEN_UP_AFTER:
            raise StillUnderWayError
        connection.execute(update(IdempotentRequest).filter_by(**place).values(begun_at=now))
    return None


def keep_answer(engine: Engine, caller: uuid.UUID, key: str, answer: StoredAnswer) -> None:
    """Keep the first request's answer for its repeats."""
    _change(engine, caller, key, status=answer.status, body=answer.body)


def give_up_request(engine: Engine, caller: uuid.UUID, key: str) -> None:
    """Nothing was changed: the key is free for another try."""
    _change(engine, caller, key, begun_at=_NEVER)


def _change(engine: Engine, caller: uuid.UUID, key: str, **values: Any) -> None:
    with engine.begin() as connection:
        connection.execute(update(IdempotentRequest).filter_by(caller=caller, key=key).values(**values))
