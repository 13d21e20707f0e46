"""Read enrolment: what may go to the social-security agency, and what it answered to what went."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, text

_UNSENT = text(
    """
    SELECT f.code, f.name, f.kind, count(*) AS lines, sum(p.amount_rupiah)::int8 AS amount_rupiah
    FROM fund f JOIN proposal p ON p.fund_id = f.id AND p.state = 'approved'
    LEFT JOIN enrolment_line e ON e.proposal_id = p.id
    WHERE f.regency_code = :regency AND e.proposal_id IS NULL
    GROUP BY f.id ORDER BY f.name, f.code
    """
)
_BATCHES = text(
    """
    WITH latest AS (
        SELECT b.id, f.code, f.name, b.exported_at, b.lines, b.total_rupiah
        FROM enrolment_batch b JOIN fund f ON f.id = b.fund_id
        WHERE f.regency_code = :regency ORDER BY b.exported_at DESC, b.id LIMIT :most
    )
    SELECT l.id, l.code, l.name, l.exported_at, l.lines, l.total_rupiah, a.enrolled, a.refused, a.paid_rupiah
    FROM latest l CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE e.answer = 'accepted') AS enrolled,
               count(*) FILTER (WHERE e.answer = 'refused') AS refused,
               coalesce(sum(e.paid_rupiah), 0)::int8 AS paid_rupiah
        FROM enrolment_line e WHERE e.batch_id = l.id
    ) a ORDER BY l.exported_at DESC, l.id
    """
)


@dataclass(frozen=True, slots=True)
class UnsentLines:
    """A fund's approved lines that no file holds yet, in rupiah."""

    code: str
    name: str
    kind: str
    lines: int
    amount_rupiah: int


@dataclass(frozen=True, slots=True)
class SentBatch:
    """A file for the agency with its control total, and the answers so far."""

    id: uuid.UUID
    fund_code: str
    fund_name: str
    exported_at: dt.datetime
    lines: int
    total_rupiah: int
    enrolled: int
    refused: int
    paid_rupiah: int

    @property
    def open_lines(self) -> int:
        """Lines without an answer."""
        return self.lines - self.enrolled - self.refused


def read_unsent(connection: Connection, regency: str) -> list[UnsentLines]:
    """The regency's funds with approved lines that are still to be sent."""
    return [UnsentLines(*row) for row in connection.execute(_UNSENT, {"regency": regency})]


def read_sent(connection: Connection, regency: str, most: int) -> list[SentBatch]:
    """The newest files, at most so many."""
    rows = connection.execute(_BATCHES, {"regency": regency, "most": most})
    return [SentBatch(*row) for row in rows]
