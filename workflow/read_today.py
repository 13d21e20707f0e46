"""Today: what waits for a decision, where the money is, and how coverage has moved.

The state of an earlier day follows from the history of the lines: a need was covered at a moment
when one of its lines stood open then. A need has at most one such line, so lines count needs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text

from models.journal import EFFECTS
from workflow.report import FundFigures, RunFigures, read_last_run
from workflow.run_progress import RunProgress, read_progress

_DAYS = (7, 30)


@dataclass(frozen=True, slots=True)
class ToDecide:
    """Lines that wait for an officer, and decisions that wait for a second one."""

    batches: int
    lines: int
    amount_rupiah: int
    oldest: dt.datetime | None
    second: int
    second_rupiah: int
    second_oldest: dt.datetime | None


@dataclass(frozen=True, slots=True)
class DistrictCoverage:
    """A district's workers in need and covered now, and covered ``_DAYS`` ago by the lines open then."""

    code: str
    workers: int
    covered: int
    covered_7_days_ago: int
    covered_30_days_ago: int

    @property
    def change_7_days(self) -> int:
        """Workers more (or fewer) than seven days ago."""
        return self.covered - self.covered_7_days_ago

    @property
    def change_30_days(self) -> int:
        """Workers more (or fewer) than thirty days ago."""
        return self.covered - self.covered_30_days_ago


@dataclass(frozen=True, slots=True)
class MoneyLeft:
    """A kind's rupiah neither committed nor spent nor expired at the end of ``day``."""

    kind: str
    day: dt.date
    left_rupiah: int


@dataclass(frozen=True, slots=True)
class Today:
    """A regency at one moment. ``money`` is in order of kind and day."""

    to_decide: ToDecide
    funds: tuple[FundFigures, ...]
    districts: tuple[DistrictCoverage, ...]
    money: tuple[MoneyLeft, ...]
    open_alerts: int
    last_run: RunFigures | None
    under_way: RunProgress | None


_FUNDS = text(
    """
    SELECT code, name, kind, pledged_rupiah, reserved_rupiah, committed_rupiah, disbursed_rupiah,
           expired_rupiah, window_to, 0 AS workers
    FROM fund WHERE regency_code = :regency ORDER BY kind, code
    """
)
# Triggers keep the batches' counts (migration 0008).
_LINES = text(
    """
    SELECT count(*) AS batches, coalesce(sum(b.open_lines), 0)::int8 AS lines,
           coalesce(sum(b.open_rupiah), 0)::int8 AS amount_rupiah, min(b.created_at) AS oldest
    FROM review_batch b JOIN fund f ON f.id = b.fund_id
    WHERE f.regency_code = :regency AND b.open_lines > 0
    """
)
_SECOND = text(
    """
    SELECT count(*) AS decisions, coalesce(sum(d.amount_rupiah), 0)::int8 AS amount_rupiah,
           min(d.decided_at) AS oldest
    FROM decision d JOIN fund f ON f.id = d.fund_id
    WHERE d.state = 'awaiting_second' AND f.regency_code = :regency
    """
)
_WORKERS = text(
    """
    SELECT district_code, count(*) AS workers FROM coverage_need
    WHERE regency_code = :regency AND state <> 'closed' GROUP BY district_code
    """
)
_COVERED = text(
    """
    SELECT n.district_code, count(*) FILTER (WHERE p.closed_at IS NULL) AS now,
           count(*) FILTER (WHERE p.opened_at <= :week AND (p.closed_at IS NULL OR p.closed_at > :week))
               AS week,
           count(*) FILTER (WHERE p.opened_at <= :month AND (p.closed_at IS NULL OR p.closed_at > :month))
               AS month
    FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    WHERE n.regency_code = :regency AND (p.closed_at IS NULL OR p.closed_at > :month)
    GROUP BY n.district_code
    """
)
#: Rupiah that an entry adds to what is neither committed nor gone, for a CASE over its kind.
LEFT_EFFECT: Final = " ".join(
    f"WHEN '{kind}' THEN {pledged - committed - disbursed - expired:+d}"
    for kind, (pledged, _, committed, disbursed, expired) in EFFECTS.items()
)
_MONEY = text(
    f"""
    SELECT kind, day, sum(change) OVER (PARTITION BY kind ORDER BY day)::int8 AS left_rupiah FROM (
        SELECT f.kind, (j.recorded_at AT TIME ZONE r.timezone)::date AS day,
               sum(j.amount_rupiah * CASE j.kind {LEFT_EFFECT} ELSE 0 END) AS change
        FROM fund f JOIN regency r ON r.code = f.regency_code JOIN journal_entry j ON j.fund_id = f.id
        WHERE f.regency_code = :regency GROUP BY 1, 2
    ) AS days ORDER BY kind, day
    """  # noqa: S608 - built from the journal's own kinds
)
_ALERTS = text("SELECT count(*) FROM alert WHERE state <> 'resolved' AND scope = :regency")


def read_today(engine: Engine, regency: str, districts: Sequence[DistrictCoverage]) -> Today:
    """The figures in one snapshot, so that they agree with each other.

    ``districts`` are counted apart (:func:`read_districts`): at a million workers that takes longer than a
    page may.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        where = {"regency": regency}
        lines = connection.execute(_LINES, where).one()
        second = connection.execute(_SECOND, where).one()
        return Today(
            to_decide=ToDecide(
                lines.batches,
                lines.lines,
                lines.amount_rupiah,
                lines.oldest,
                second.decisions,
                second.amount_rupiah,
                second.oldest,
            ),
            funds=tuple(FundFigures(*row) for row in connection.execute(_FUNDS, where)),
            districts=tuple(districts),
            money=tuple(MoneyLeft(*row) for row in connection.execute(_MONEY, where)),
            open_alerts=connection.scalar(_ALERTS, where) or 0,
            last_run=read_last_run(connection, regency),
            under_way=read_progress(connection, regency),
        )


def read_districts(connection: Connection, regency: str, now: dt.datetime) -> tuple[DistrictCoverage, ...]:
    """Every district of the regency in order of its code, and how its cover has moved."""
    week, month = (now - dt.timedelta(days=days) for days in _DAYS)
    districts: Sequence[str] = connection.scalars(
        text("SELECT code FROM region WHERE parent_code = :regency ORDER BY code"), {"regency": regency}
    ).all()
    workers = {row.district_code: row.workers for row in connection.execute(_WORKERS, {"regency": regency})}
    rows = connection.execute(_COVERED, {"regency": regency, "week": week, "month": month})
    covered = {row.district_code: (row.now, row.week, row.month) for row in rows}
    return tuple(
        DistrictCoverage(code, workers.get(code, 0), *covered.get(code, (0, 0, 0))) for code in districts
    )
