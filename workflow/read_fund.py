"""Read funds for the office: the list, one fund with its rules, its journal and its lines."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, text

from models.database import stream_rows
from models.journal import CHAIN_START, Balances, Cause, chain_entry
from models.tables import Fund, JournalEntry
from workflow.read_today import LEFT_EFFECT

_LINES = text(
    "SELECT state, count(*) AS lines FROM proposal WHERE fund_id = :fund_id GROUP BY state ORDER BY state"
)
_LEFT = text(
    f"""
    SELECT day, sum(change) OVER (ORDER BY day)::int8 AS left_rupiah FROM (
        SELECT (recorded_at AT TIME ZONE :timezone)::date AS day,
               sum(amount_rupiah * CASE kind {LEFT_EFFECT} ELSE 0 END) AS change
        FROM journal_entry WHERE fund_id = :fund_id GROUP BY 1
    ) AS days ORDER BY day
    """  # noqa: S608 - built from the journal's own kinds
)
_DOCUMENTS = text(
    "SELECT id, name, kind, sha256, octet_length(content) AS size_bytes, added_by, added_at"
    " FROM fund_document WHERE fund_id = :fund_id ORDER BY added_at DESC, id"
)
_DOCUMENT = text(
    "SELECT d.name, d.kind, d.content, d.sha256 FROM fund_document d JOIN fund f ON f.id = d.fund_id"
    " WHERE d.id = :id AND f.regency_code = :regency"
)


@dataclass(frozen=True, slots=True)
class FundSheet:
    """A fund as it stands: the row of ``fund``, and its money."""

    row: Row[Any]
    balances: Balances


@dataclass(frozen=True, slots=True)
class ChainState:
    """A journal's chain: how many entries were checked, and the first that does not follow, if any."""

    entries: int
    broken_at: int | None
    head: bytes


def read_funds(connection: Connection, regency: str) -> Sequence[Row[Any]]:
    """Every fund of a regency, in order of its code; there are hundreds, not millions."""
    return connection.execute(
        select(Fund.__table__).where(Fund.regency_code == regency).order_by(Fund.code)
    ).all()


def read_fund(connection: Connection, regency: str, code: str) -> FundSheet | None:
    """One fund of the regency, or ``None``."""
    row = connection.execute(
        select(Fund.__table__).where(Fund.regency_code == regency, Fund.code == code)
    ).one_or_none()
    if row is None:
        return None
    return FundSheet(
        row,
        Balances(
            row.pledged_rupiah,
            row.reserved_rupiah,
            row.committed_rupiah,
            row.disbursed_rupiah,
            row.expired_rupiah,
        ),
    )


def read_lines(connection: Connection, fund_id: int) -> dict[str, int]:
    """State -> number of the fund's lines, past ones included."""
    return {row.state: row.lines for row in connection.execute(_LINES, {"fund_id": fund_id})}


def read_journal(connection: Connection, fund_id: int, before: int | None, limit: int) -> Sequence[Row[Any]]:
    """Journal entries, the newest first, those before number ``before`` alone."""
    statement = select(JournalEntry.__table__).where(JournalEntry.fund_id == fund_id)
    if before is not None:
        statement = statement.where(JournalEntry.number < before)
    return connection.execute(statement.order_by(JournalEntry.number.desc()).limit(limit)).all()


def stream_journal(connection: Connection, fund_id: int) -> Iterator[Row[Any]]:
    """The whole journal, the newest first, fetched while it is read."""
    statement = select(JournalEntry.__table__).where(JournalEntry.fund_id == fund_id)
    yield from stream_rows(connection, statement.order_by(JournalEntry.number.desc()))


def check_chain(connection: Connection, fund_id: int, code: str) -> ChainState:
    """Recompute the fund's whole chain from its entries."""
    number, previous = 0, CHAIN_START
    entries = connection.execute(
        select(JournalEntry.__table__).where(JournalEntry.fund_id == fund_id).order_by(JournalEntry.number)
    )
    for entry in entries:
        number += 1
        sealed = chain_entry(
            previous,
            fund_code=code,
            number=number,
            kind=entry.kind,
            amount_rupiah=entry.amount_rupiah,
            cause=Cause(entry.cause, entry.cause_id),
            recorded_at=entry.recorded_at,
        )
        if (entry.number, entry.previous_hash, entry.hash) != (number, previous, sealed):
            return ChainState(number, number, previous)
        previous = entry.hash
    return ChainState(number, None, previous)


def read_left(connection: Connection, fund_id: int, timezone: str) -> tuple[tuple[dt.date, int], ...]:
    """Rupiah neither committed, spent nor expired at the end of each day on which the fund's money moved."""
    rows = connection.execute(_LEFT, {"fund_id": fund_id, "timezone": timezone})
    return tuple((row.day, row.left_rupiah) for row in rows)


def read_documents(connection: Connection, fund_id: int) -> Sequence[Row[Any]]:
    """The fund's documents without their content, the newest first."""
    return connection.execute(_DOCUMENTS, {"fund_id": fund_id}).all()


def find_document(connection: Connection, regency: str, document_id: uuid.UUID) -> Row[Any] | None:
    """One document of a fund of the regency with its content, or ``None``."""
    return connection.execute(_DOCUMENT, {"id": document_id, "regency": regency}).one_or_none()
