"""Read the audit record: who did what when, the newest first, paged by number."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Select, select

from models.database import stream_rows
from models.review_tables import AuditRecord


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """What narrows the record; empty means everything. ``day`` is one of the regency's own days."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    day: dt.date | None = None


def read_records(
    connection: Connection,
    wanted: RecordFilter,
    timezone: str,
    *,
    before: int | None = None,
    limit: int | None = None,
) -> Sequence[Row[Any]]:
    """Records that fit, those before number ``before`` alone. The caller's role decides which it may see."""
    statement = _narrow(select(AuditRecord.__table__), wanted, timezone)
    if before is not None:
        statement = statement.where(AuditRecord.number < before)
    return connection.execute(statement.order_by(AuditRecord.number.desc()).limit(limit)).all()


def stream_records(
    connection: Connection, wanted: RecordFilter, timezone: str, *, limit: int
) -> Iterator[Row[Any]]:
    """As :func:`read_records`, fetched while it is read, so that memory does not grow with the rows."""
    statement = _narrow(select(AuditRecord.__table__), wanted, timezone)
    yield from stream_rows(connection, statement.order_by(AuditRecord.number.desc()).limit(limit))


def _narrow(statement: Select[Any], wanted: RecordFilter, timezone: str) -> Select[Any]:
    for column, value in (
        (AuditRecord.actor, wanted.actor),
        (AuditRecord.action, wanted.action),
        (AuditRecord.subject, wanted.subject),
    ):
        if value:
            statement = statement.where(column == value)
    if wanted.day is not None:
        begins = dt.datetime.combine(wanted.day, dt.time(), ZoneInfo(timezone))
        statement = statement.where(
            AuditRecord.recorded_at >= begins, AuditRecord.recorded_at < begins + dt.timedelta(days=1)
        )
    return statement
