"""API key: a program's way in. Shown once, kept as a digest, with a role, a scope and an end.

A key reads and hands in what its role may. It never decides about money, changes a fund, confirms a
worker or gives rights: those take a person, in the first two cases with a second factor, so that whoever
issues keys cannot sign with one.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Engine, insert, select, text, update

from models.api_tables import ApiKey
from models.database import connect_alone
from models.role import Role
from workflow.account import AccountRefusedError, Scope, check_scope, digest, make_token
from workflow.record import record_action
from workflow.sign_in import Visitor

#: What a key begins with, so that one that leaked is recognised in a file or a log.
PREFIX: Final = "gotong_"
LASTS_DAYS: Final = (30, 90, 365)
_LONGEST_NAME: Final = 100
_USED_EVERY: Final = dt.timedelta(minutes=1)
_NAME_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 10))")

KeyState = Literal["active", "expired", "revoked"]


class KeyRefusedError(ValueError):
    """A key cannot be made so.

    ``reason`` is ``name_missing``, ``name_taken``, ``days_wrong`` or one of
    ``workflow.account.AccountRefusedError``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class KeyUnknownError(LookupError):
    """There is no such key, or it was revoked already."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key's secret; it is not stored and cannot be shown again."""

    id: uuid.UUID
    name: str
    token: str
    expires_at: dt.datetime


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as lists show it."""

    id: uuid.UUID
    name: str
    role: Role
    scope: str | None
    state: KeyState
    created_by: str
    created_at: dt.datetime
    expires_at: dt.datetime
    used_at: dt.datetime | None


def create_key(
    engine: Engine, actor: str, *, name: str, role: Role, scope: Scope, days: int, now: dt.datetime
) -> NewKey:
    """Make a key that is good for ``days`` (one of ``LASTS_DAYS``). Raises :class:`KeyRefusedError`."""
    name = " ".join(name.replace("\0", "").split())
    if not name or len(name) > _LONGEST_NAME:
        raise KeyRefusedError("name_missing")
    if days not in LASTS_DAYS:
        raise KeyRefusedError("days_wrong")
    key = NewKey(uuid.uuid4(), name, PREFIX + make_token(), now + dt.timedelta(days=days))
    with engine.begin() as connection:
        connection.execute(_NAME_LOCK, {"name": name})
        if connection.scalar(select(ApiKey.id).where(ApiKey.name == name, ApiKey.revoked_at.is_(None))):
            raise KeyRefusedError("name_taken")
        try:
            columns = check_scope(connection, role, scope, None)
        except AccountRefusedError as error:
            raise KeyRefusedError(error.reason) from None
        connection.execute(
            insert(ApiKey).values(
                id=key.id,
                name=name,
                token_hash=digest(key.token),
                role=role,
                created_by=actor,
                created_at=now,
                expires_at=key.expires_at,
                **columns,
            )
        )
        detail = {"name": name, "role": role, "days": days, "scope": _said(columns)}
        record_action(connection, actor, "create_api_key", str(key.id), detail, now)
    return key


def revoke_key(engine: Engine, actor: str, key_id: uuid.UUID, now: dt.datetime) -> None:
    """Shut a key out from its next request on. Raises :class:`KeyUnknownError`."""
    with engine.begin() as connection:
        name = connection.scalar(
            update(ApiKey)
            .where(ApiKey.id == key_id, ApiKey.revoked_at.is_(None))
            .values(revoked_at=now, revoked_by=actor)
            .returning(ApiKey.name)
        )
        if name is None:
            raise KeyUnknownError
        record_action(connection, actor, "revoke_api_key", str(key_id), {"name": name}, now)


def list_keys(engine: Engine, now: dt.datetime) -> list[KeyView]:
    """Every key, those in use first, then by name."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(ApiKey.__table__).order_by(ApiKey.revoked_at.is_not(None), ApiKey.name, ApiKey.id)
        ).all()
    return [_view(row, now) for row in rows]


def find_key(engine: Engine, key_id: uuid.UUID, now: dt.datetime) -> KeyView | None:
    """One key."""
    with engine.connect() as connection:
        row = connection.execute(select(ApiKey.__table__).where(ApiKey.id == key_id)).one_or_none()
    return None if row is None else _view(row, now)


def check_key(engine: Engine, token: str, now: dt.datetime) -> Visitor | None:
    """Who comes with this key; ``None`` when it is unknown, expired or revoked."""
    with connect_alone(engine) as connection:
        row = connection.execute(
            select(ApiKey.__table__).where(
                ApiKey.token_hash == digest(token), ApiKey.revoked_at.is_(None), ApiKey.expires_at > now
            )
        ).one_or_none()
        if row is None:
            return None
        if row.used_at is None or row.used_at < now - _USED_EVERY:
            _mark_used(connection, row.id, now)
    return Visitor(
        account_id=row.id,
        session_id=row.id,
        email=f"key:{row.name}",
        name=row.name,
        role=row.role,
        regency=row.regency_code,
        funder=row.funder,
        village=row.village_code,
        missing=None,
        demo=False,
        by_key=True,
    )


def _mark_used(connection: Connection, key_id: uuid.UUID, now: dt.datetime) -> None:
    connection.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now))


def _view(row: Any, now: dt.datetime) -> KeyView:
    state: KeyState = "revoked" if row.revoked_at else "expired" if row.expires_at <= now else "active"
    return KeyView(
        id=row.id,
        name=row.name,
        role=row.role,
        scope=row.regency_code or row.funder or row.village_code,
        state=state,
        created_by=row.created_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        used_at=row.used_at,
    )


def _said(columns: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in columns.items() if value is not None}
