"""Forecast funds: read a fund's past and calendar, foresee it, and keep the newest forecast."""

from __future__ import annotations

import calendar
import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from models.alert_tables import FundForecast
from models.tables import Fund
from models.tariff import TariffTable
from optimizer.problem import AllocationProblem
from optimizer.rules import PAIR_RULES
from workflow.forecast import Forecast, FundHistory, Term, forecast_fund
from workflow.snapshot import read_snapshot

_PAST_DAYS = 365
_DAYS_OF_MONTH = 365.25 / 12

# A line renews when committed money paid the month before its first.
_LINES = text(
    """
    SELECT p.fund_id, (p.opened_at AT TIME ZONE :timezone)::date AS day, p.amount_rupiah, p.months,
           n.worker_id, n.start_month, (n.start_month + make_interval(months => p.months))::date AS ends_on,
           EXISTS (SELECT FROM funded_month m WHERE m.worker_id = n.worker_id
                   AND m.month = (n.start_month - interval '1 month')::date) AS renews,
           EXISTS (SELECT FROM coverage_need later WHERE later.worker_id = n.worker_id
                   AND later.start_month = (n.start_month + make_interval(months => p.months))::date)
               AS renewed
    FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    JOIN fund f ON f.id = p.fund_id
    WHERE f.regency_code = :regency AND p.state IN ('proposed', 'confirming', 'approved', 'enrolled')
      AND p.opened_at > CAST(:today AS date) - 400
    """
)


@dataclass(frozen=True, slots=True)
class Acceptable:
    """Waiting workers that a fund's rules let through, and the rule that stops most of the others."""

    workers: int
    stopped_by: str | None
    stopped_workers: int


@dataclass(frozen=True, slots=True)
class FundOutlook:
    """A fund's forecast with what one can do about it."""

    code: str
    ends_on: dt.date
    window_to: dt.date
    spendable_rupiah: int
    forecast: Forecast
    line_rupiah: int
    acceptable: Acceptable


def forecast_regency(
    connection: Connection,
    regency: str,
    timezone: str,
    tariffs: TariffTable,
    today: dt.date,
    now: dt.datetime,
) -> list[FundOutlook]:
    """Foresee every fund of the regency whose window has not ended, and store the newest forecasts."""
    funds = connection.execute(
        select(Fund.__table__).where(Fund.regency_code == regency).order_by(Fund.id)
    ).all()
    lines: dict[int, list[Row[Any]]] = {fund.id: [] for fund in funds}
    for line in connection.execute(_LINES, {"regency": regency, "timezone": timezone, "today": today}):
        lines[line.fund_id].append(line)
    acceptable = count_acceptable(connection, regency, tariffs, today)
    outlooks = []
    for fund in funds:
        ends_on = end_of(fund)
        if ends_on < today:
            continue
        outlook = _foresee(fund, lines[fund.id], acceptable[fund.code], ends_on, today)
        outlooks.append(outlook)
        _store(connection, fund.id, outlook, today, now)
    return outlooks


def end_of(fund: Row[Any]) -> dt.date:
    """The last day its money may be spent: of its window, and for a budget line of the fiscal year."""
    last = fund.window_to
    if fund.fiscal_year is not None:
        last = min(last, dt.date(fund.fiscal_year, 12, 1))
    return dt.date(last.year, last.month, calendar.monthrange(last.year, last.month)[1])


def _foresee(
    fund: Row[Any], lines: list[Row[Any]], acceptable: Acceptable, ends_on: dt.date, today: dt.date
) -> FundOutlook:
    days_left = (ends_on - today).days
    first = min((line.day for line in lines), default=today)
    past = min(_PAST_DAYS, max(1, (today - first).days))
    arrivals = np.zeros(past, dtype=np.int64)
    terms = sorted({line.months for line in lines})
    ending = {months: np.zeros(max(1, days_left), dtype=np.int64) for months in terms}
    taken = dict.fromkeys(terms, 0)
    ended = renewed = 0
    for line in lines:
        at = past - (today - line.day).days
        if not line.renews and 0 <= at < past:
            arrivals[at] += line.amount_rupiah
            taken[line.months] += line.amount_rupiah
        until = (line.ends_on - today).days
        if 0 <= until < days_left:
            ending[line.months][until] += 0 if line.renewed else line.amount_rupiah
        elif until < 0:
            ended += 1
            renewed += line.renewed
    spendable = fund.pledged_rupiah - fund.expired_rupiah
    available = spendable - fund.reserved_rupiah - fund.committed_rupiah - fund.disbursed_rupiah
    of_all = max(1, sum(taken.values()))
    calendar_of_terms = [
        Term(round(months * _DAYS_OF_MONTH), taken[months] / of_all, ending[months]) for months in terms
    ]
    history = FundHistory(available, days_left, arrivals, calendar_of_terms, ended, renewed)
    usual = int(np.median([line.amount_rupiah for line in lines])) if lines else 0
    # The fund's id and the day make the seed: asked again today, the answer is the same.
    forecast = forecast_fund(history, seed=fund.id * 1_000_003 + today.toordinal())
    return FundOutlook(fund.code, ends_on, fund.window_to, spendable, forecast, usual, acceptable)


def count_acceptable(
    connection: Connection, regency: str, tariffs: TariffTable, today: dt.date
) -> dict[str, Acceptable]:
    """By fund: what its rules do with the workers who wait, each counted at the first rule that stops it."""
    snapshot = read_snapshot(connection, regency, tariffs, today)
    waiting = np.flatnonzero(snapshot.needs["fund_id"] < 0)
    return {code: _count(snapshot.problem, waiting, index) for index, code in enumerate(snapshot.fund_codes)}


def _count(problem: AllocationProblem, waiting: Any, fund: int) -> Acceptable:
    funds = np.full(len(waiting), fund)
    left = np.ones(len(waiting), dtype=np.bool_)
    stopped: Counter[str] = Counter()
    for rule in PAIR_RULES:
        passes = rule(problem, waiting, funds)
        stopped[rule.__name__] = int((left & ~passes).sum())
        left &= passes
    name, workers = max(stopped.items(), key=lambda item: item[1])
    return Acceptable(int(left.sum()), name if workers else None, workers)


def _store(
    connection: Connection, fund_id: int, outlook: FundOutlook, today: dt.date, now: dt.datetime
) -> None:
    forecast = outlook.forecast
    values = {
        "made_at": now,
        "ends_on": outlook.ends_on,
        "exhaustion_chance": round(forecast.exhaustion_chance * 10_000),
        "exhausted_early": _day(today, forecast.early_days),
        "exhausted_likely": _day(today, forecast.likely_days),
        "exhausted_late": _day(today, forecast.late_days),
        "left_low_rupiah": forecast.left_low_rupiah,
        "left_likely_rupiah": forecast.left_likely_rupiah,
        "left_high_rupiah": forecast.left_high_rupiah,
        "missing_rupiah": forecast.missing_rupiah,
        "line_rupiah": outlook.line_rupiah,
        "acceptable_workers": outlook.acceptable.workers,
        "stopped_by": outlook.acceptable.stopped_by,
        "stopped_workers": outlook.acceptable.stopped_workers,
    }
    connection.execute(
        insert_or_update(FundForecast)
        .values(fund_id=fund_id, **values)
        .on_conflict_do_update(index_elements=["fund_id"], set_=values)
    )


def _day(today: dt.date, days: int | None) -> dt.date | None:
    return None if days is None else today + dt.timedelta(days=days)
