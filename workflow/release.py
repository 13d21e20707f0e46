"""Release: take a fund's undecided lines back, all at once, and return their needs to the pool.

Nobody has finally signed these lines, so a fund that shrinks, ends or is withdrawn simply gives them
up; the next run finds the best use of what is left. An approval that awaits its second officer
is undone with them.
"""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Connection, text

from models.journal import Cause

_LOCK_DECISIONS = text(
    "SELECT id FROM decision WHERE fund_id = :fund_id AND state = 'awaiting_second' ORDER BY id FOR UPDATE"
)

_LOCK_LINES = text(
    """
    SELECT p.id FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    WHERE p.fund_id = :fund_id AND p.state IN ('proposed', 'confirming')
    ORDER BY n.id FOR UPDATE OF n, p
    """
)

_UNDO_DECISIONS = text(
    """
    UPDATE decision SET state = 'undone', closed_at = :now
    WHERE fund_id = :fund_id AND state = 'awaiting_second'
    """
)

_RELEASE_LINES = text(
    """
    WITH released AS (
        UPDATE proposal SET state = 'released', version = version + 1,
               closed_at = :now, closed_cause = :cause, closed_cause_id = :cause_id
        WHERE fund_id = :fund_id AND state IN ('proposed', 'confirming')
        RETURNING need_id, amount_rupiah
    ), returned AS (
        UPDATE coverage_need n SET state = 'waiting', version = n.version + 1, unfunded_reason = NULL
        FROM released r WHERE n.id = r.need_id
    )
    SELECT coalesce(sum(amount_rupiah), 0)::int8 FROM released
    """
)


def lock_undecided(connection: Connection, fund_id: int) -> None:
    """Hold the fund's undecided decisions, needs and lines, before the fund itself is locked.

    That is the order in which officers and runs lock them, so nobody waits for anybody in a ring.
    """
    connection.execute(_LOCK_DECISIONS, {"fund_id": fund_id})
    connection.execute(_LOCK_LINES, {"fund_id": fund_id})


def release_fund(connection: Connection, fund_id: int, cause: Cause, now: dt.datetime) -> int:
    """Close the fund's undecided lines in the caller's transaction; returns their rupiah.

    The journal's ``release`` entry is the caller's: it knows what else moves for the same cause.
    """
    connection.execute(_UNDO_DECISIONS, {"fund_id": fund_id, "now": now})
    released = connection.scalar(
        _RELEASE_LINES, {"fund_id": fund_id, "now": now, "cause": cause.kind, "cause_id": cause.id}
    )
    return int(released or 0)
