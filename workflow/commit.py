"""Commit: approved lines become commitments; their money moves from reserved to committed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import ARRAY, BigInteger, Connection, bindparam, text
from sqlalchemy.exc import IntegrityError

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

# One row per worker, programme and month; the table's key refuses a month that stands already.
_WANTED_MONTHS = """
    SELECT n.worker_id, b.programme, (n.start_month + make_interval(months => m.month))::date AS month,
           p.id AS proposal_id
    FROM unnest(:lines) AS l(id)
    JOIN proposal p ON p.id = l.id
    JOIN coverage_need n ON n.id = p.need_id
    JOIN (VALUES (1), (2), (4), (8)) AS b(programme) ON n.programmes & b.programme <> 0
    JOIN (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9), (10), (11)) AS m(month)
        ON m.month < p.months
"""
_FUND_MONTHS = text(
    f"INSERT INTO funded_month (worker_id, programme, month, proposal_id) {_WANTED_MONTHS}"
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

# Lines that want a month which another line has, or which another of these lines wants too.
_TAKEN_LINES = text(
    f"""
    WITH wanted AS ({_WANTED_MONTHS})
    SELECT DISTINCT w.proposal_id FROM wanted w
    WHERE EXISTS (SELECT FROM funded_month f
                  WHERE f.worker_id = w.worker_id AND f.programme = w.programme AND f.month = w.month)
       OR EXISTS (SELECT FROM wanted o
                  WHERE o.worker_id = w.worker_id AND o.programme = w.programme AND o.month = w.month
                    AND o.proposal_id <> w.proposal_id)
    ORDER BY 1
    """  # noqa: S608 - put together from constants
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
    _fund_months(connection, chosen)
    total_rupiah = int(sum(amounts))
    move_money(connection, [Movement(fund_id, "post", total_rupiah)], cause=cause, recorded_at=now)
    return total_rupiah


def _fund_months(connection: Connection, lines: list[int]) -> None:
    # Looking for each of a large batch's hundred thousand months first would double the officer's wait.
    try:
        with connection.begin_nested():
            connection.execute(_FUND_MONTHS, {"lines": lines})
    except IntegrityError as error:
        if taken := connection.scalars(_TAKEN_LINES, {"lines": lines}).all():
            raise MonthAlreadyFundedError(taken) from error
        raise
