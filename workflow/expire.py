"""Expire: what a fund has not spent when its window ends is gone, and the journal says so.

A budget line (APBD) ends with its fiscal year, a pledge with its window. Undecided lines are
released first; committed money stays committed until the agency has answered.
"""

from __future__ import annotations

import datetime as dt
import uuid
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select

from models.journal import Cause
from models.tables import Fund, Regency
from workflow.deadlock import ask_again
from workflow.move_money import Movement, lock_funds, move_money
from workflow.record import record_action
from workflow.release import lock_undecided, release_fund
from workflow.request import raise_signal

_NAMESPACE = uuid.UUID("5f2f0a3e-6f0f-4f49-9d5b-6b1f6f8f2c11")


def expire_funds(engine: Engine, now: dt.datetime) -> list[str]:
    """Expire every fund whose last month has passed in its regency; returns their codes.

    Each fund in its own transaction; a fund without money left is passed over, so calling again
    changes nothing.
    """
    with engine.connect() as connection:
        ended = [
            row.id
            for row in connection.execute(
                select(Fund.id, Fund.window_to, Regency.timezone)
                .join(Regency, Regency.code == Fund.regency_code)
                .where(
                    Fund.pledged_rupiah > Fund.committed_rupiah + Fund.disbursed_rupiah + Fund.expired_rupiah
                )
                .order_by(Fund.id)
            )
            if _has_ended(row.window_to, row.timezone, now)
        ]
    expired = []
    for fund_id in ended:
        if code := _expire_fund(engine, fund_id, now):
            expired.append(code)
    return expired


@ask_again
def _expire_fund(engine: Engine, fund_id: int, now: dt.datetime) -> str | None:
    with engine.begin() as connection:
        return _expire_within(connection, fund_id, now)


def _expire_within(connection: Connection, fund_id: int, now: dt.datetime) -> str | None:
    lock_undecided(connection, fund_id)
    fund = lock_funds(connection, [fund_id])[fund_id]
    window_to, timezone = connection.execute(
        select(Fund.window_to, Regency.timezone)
        .join(Regency, Regency.code == Fund.regency_code)
        .where(Fund.id == fund_id)
    ).one()
    if not _has_ended(window_to, timezone, now):
        return None  # its window was stretched since it was listed
    # One id per fund and end of the journal: the entries of one expiry share it.
    cause = Cause("schedule", uuid.uuid5(_NAMESPACE, f"{fund.code}:{fund.last_number}"))
    released = release_fund(connection, fund_id, cause, now)
    left = fund.balances.available_rupiah + released
    if not left:
        return None
    movements = [Movement(fund_id, "release", released)] if released else []
    movements.append(Movement(fund_id, "expire", left))
    move_money(connection, movements, cause=cause, recorded_at=now)
    regency = connection.scalar(select(Fund.regency_code).where(Fund.id == fund_id))
    assert regency is not None
    raise_signal(connection, regency)
    record_action(connection, "schedule", "expire_fund", fund.code, {"expired_rupiah": left}, now)
    return fund.code


def _has_ended(window_to: dt.date, timezone: str, now: dt.datetime) -> bool:
    return _month_after(window_to) <= now.astimezone(ZoneInfo(timezone)).date()


def _month_after(month: dt.date) -> dt.date:
    return (month.replace(day=1) + dt.timedelta(days=32)).replace(day=1)
