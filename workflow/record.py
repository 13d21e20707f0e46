"""Record: who did what when, in an append-only chain that an auditor can check.

Journal entries say what money did; these records say what people did.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select, text

from models.journal import CHAIN_START
from models.review_tables import AuditRecord

# One chain, so one writer at a time: people act seldom, and a gap would look like a removed record.
_LOCK = text("SELECT pg_advisory_xact_lock(7308332183994953321)")


def record_action(
    connection: Connection,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    now: dt.datetime,
) -> None:
    """Append one record in the caller's transaction; ``detail`` holds no personal data."""
    connection.execute(_LOCK)
    last = connection.execute(
        select(AuditRecord.number, AuditRecord.hash).order_by(AuditRecord.number.desc()).limit(1)
    ).one_or_none()
    number, previous_hash = (last.number + 1, last.hash) if last else (1, CHAIN_START)
    connection.execute(
        insert(AuditRecord).values(
            number=number,
            actor=actor,
            action=action,
            subject=subject,
            detail=dict(detail),
            recorded_at=now,
            previous_hash=previous_hash,
            hash=seal_record(previous_hash, number, actor, action, subject, detail, now),
        )
    )


def seal_record(
    previous_hash: bytes,
    number: int,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    recorded_at: dt.datetime,
) -> bytes:
    """SHA-256 over the predecessor's hash and the record's content in canonical JSON."""
    moment = recorded_at.astimezone(dt.UTC).isoformat(timespec="microseconds")
    content = [number, actor, action, subject, dict(detail), moment]
    return hashlib.sha256(previous_hash + orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()
