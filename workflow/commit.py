"""Commit: approved lines become commitments; their money moves from reserved to committed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, text

from models.journal import Cause
from workflow.move_money import Movement, move_money

_APPROVE_LINES = text(
    """
    UPDATE proposal SET state = 'approved', version = version + 1
    WHERE id = ANY(:lines) AND state IN ('proposed', 'confirming')
    RETURNING amount_rupiah
    """
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

_APPROVE_NEEDS = text(
    """
    UPDATE coverage_need n SET state = 'approved', version = n.version + 1
    FROM proposal p WHERE p.id = ANY(:lines) AND n.id = p.need_id
    """
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

# One row per worker, programme and month. A key that stands already belongs to another line.
_FUND_MONTHS = text(
    """
    WITH wanted AS (
        SELECT n.worker_id, b.programme, (n.start_month + make_interval(months => m.month))::date AS month,
               p.id AS proposal_id
        FROM proposal p
        JOIN coverage_need n ON n.id = p.need_id
        JOIN (VALUES (1), (2), (4), (8)) AS b(programme) ON n.programmes & b.programme <> 0
        CROSS JOIN LATERAL generate_series(0, p.months - 1) AS m(month)
        WHERE p.id = ANY(:lines)
    ), added AS (
        INSERT INTO funded_month (worker_id, programme, month, proposal_id)
        SELECT worker_id, programme, month, proposal_id FROM wanted
        ON CONFLICT DO NOTHING
        RETURNING worker_id, programme, month
    )
    SELECT DISTINCT w.proposal_id FROM wanted w
    LEFT JOIN added a USING (worker_id, programme, month) WHERE a.worker_id IS NULL
    ORDER BY 1
    """
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))


class MonthAlreadyFundedError(Exception):
    """A month of these lines' workers is paid by another line already; nothing may be committed."""

    def __init__(self, lines: Sequence[int]) -> None:
        super().__init__(f"{len(lines)} line(s) would pay a month twice, first line {lines[0]}")
        self.lines = tuple(lines)


def commit_lines(
    connection: Connection, fund_id: int, lines: Sequence[int], cause: Cause, now: dt.datetime
) -> int:
    """Commit lines of one fund in the caller's transaction; returns the rupiah committed.

    The lines must be locked by the caller. Raises ``MonthAlreadyFundedError`` when a
    worker x programme x month is paid already, ``LookupError`` when a line is not open; the
    transaction must then be rolled back.
    """
    chosen = list(lines)
    amounts = connection.scalars(_APPROVE_LINES, {"lines": chosen}).all()
    if len(amounts) != len(chosen):
        raise LookupError("a line is no longer open")
    connection.execute(_APPROVE_NEEDS, {"lines": chosen})
    if taken := connection.scalars(_FUND_MONTHS, {"lines": chosen}).all():
        raise MonthAlreadyFundedError(taken)
    total_rupiah = int(sum(amounts))
    move_money(connection, [Movement(fund_id, "post", total_rupiah)], cause=cause, recorded_at=now)
    return total_rupiah
