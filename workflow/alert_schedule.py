"""Alerts by the clock: what no change of a balance tells, read for a whole regency at a time."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from models.alert_tables import AlertJob, CoverageDay
from models.tables import Regency
from models.tariff import TariffTable
from workflow.alert import Reading
from workflow.alert_readings import period_of_fund, propose_raise, read_decisions, read_funds
from workflow.alert_rules import HOUSE, WHOLE, read_rules
from workflow.forecast_funds import FundOutlook, forecast_regency
from workflow.raise_alert import escalate_alerts, fiscal_year, lock_scope, settle_alerts

#: Fewer answers or messages than this make no share.
_FEWEST = 20

_WAITING = text(
    """
    SELECT district_code AS subject, count(*) AS value FROM coverage_need
    WHERE regency_code = :regency AND state = 'waiting'
      AND registered_at < :now - make_interval(days => :days)
    GROUP BY 1
    """
)
_COVERAGE = text(
    """
    SELECT district_code, count(*) AS workers,
           count(*) FILTER (WHERE state IN ('approved', 'enrolled')) AS covered
    FROM coverage_need WHERE regency_code = :regency AND state <> 'closed' GROUP BY 1
    """
)
_FALLING = text(
    """
    SELECT now.district_code AS subject, before.covered AS covered_before, before.workers AS workers_before,
           now.covered, now.workers
    FROM coverage_day now
    JOIN LATERAL (SELECT covered, workers FROM coverage_day b
                  WHERE b.district_code = now.district_code AND b.day <= :today - CAST(:days AS int)
                  ORDER BY b.day DESC LIMIT 1) before ON true
    WHERE now.regency_code = :regency AND now.day = :today AND now.workers > 0 AND before.workers > 0
    """
)
# Cover ends with the worker's last paid month; whoever has another need open or paid for later is renewing.
_LAPSING = text(
    """
    WITH cover AS (
        SELECT n.district_code, n.worker_id,
               max(n.start_month + make_interval(months => n.months))::date AS ends_on
        FROM coverage_need n WHERE n.regency_code = :regency AND n.state IN ('approved', 'enrolled')
        GROUP BY 1, 2
    )
    SELECT district_code AS subject, count(*) AS covered,
           count(*) FILTER (WHERE ends_on <= :today + CAST(:days AS int)) AS lapsing
    FROM cover WHERE ends_on > :today GROUP BY 1
    """
)
_UNPAID = text(
    """
    SELECT f.code AS subject, f.committed_rupiah, f.window_to, min(d.closed_at) AS since
    FROM fund f JOIN decision d ON d.fund_id = f.id AND d.action = 'approve' AND d.state = 'done'
    JOIN decision_line l ON l.decision_id = d.id
    JOIN proposal p ON p.id = l.proposal_id AND p.state = 'approved'
    WHERE f.regency_code = :regency AND f.kind = 'csr' AND f.committed_rupiah > 0
    GROUP BY f.id
    """
)
_REFUSED = text(
    """
    SELECT f.code AS subject, f.window_to, count(*) AS answered,
           count(*) FILTER (WHERE e.answer = 'refused') AS refused
    FROM enrolment_line e JOIN enrolment_answer a ON a.id = e.answered_by
    JOIN enrolment_batch b ON b.id = e.batch_id JOIN fund f ON f.id = b.fund_id
    WHERE f.regency_code = :regency AND a.imported_at > :now - make_interval(days => :days)
    GROUP BY f.id HAVING count(*) >= :fewest
    """
)
_RUN = text(
    """
    SELECT id, tiers, extract(epoch FROM finished_at - started_at)::int8 AS seconds FROM allocation_run
    WHERE regency_code = :regency AND status IN ('OPTIMAL', 'FEASIBLE') ORDER BY generation DESC LIMIT 1
    """
)
_DEAD_LETTERS = text(
    """
    SELECT topic AS subject, sum(refused)::int8 AS refused, sum(received)::int8 AS received FROM (
        SELECT topic, count(*) AS refused, count(*) AS received FROM dead_letter
        WHERE received_at > :now - make_interval(days => :days) GROUP BY 1
        UNION ALL
        SELECT topic, 0, count(*) FROM inbox_event
        WHERE received_at > :now - make_interval(days => :days) GROUP BY 1
    ) AS judged GROUP BY 1 HAVING sum(received) >= :fewest
    """
)
_USUAL_LINE = text(
    """
    SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY o.line_rupiah) FROM fund_forecast o
    JOIN fund f ON f.id = o.fund_id WHERE f.regency_code = :regency AND o.line_rupiah > 0
    """
)
_CHANNELS = text("SELECT id, label, failures FROM alert_channel WHERE enabled AND failures > 0")


def run_alert_job(engine: Engine, job: str, tariffs: TariffTable, slot: dt.datetime, now: dt.datetime) -> int:
    """Do ``minute`` or ``hour`` once for ``slot``, whoever of several processes comes first.

    Returns the alerts opened. One transaction for each regency: what fails for one is done for the others.
    """
    if not _take(engine, job, slot):
        return 0
    with engine.connect() as connection:
        regencies = connection.execute(select(Regency.code, Regency.timezone).order_by(Regency.code)).all()
    opened = 0
    for regency in regencies:
        with engine.begin() as connection:
            if job == "minute":
                opened += judge_minute(connection, regency.code, now)
            else:
                opened += judge_hour(connection, regency.code, regency.timezone, tariffs, now)
    with engine.begin() as connection:
        lock_scope(connection, HOUSE)
        opened += judge_house(connection, now)
        escalate_alerts(connection, now)
    return opened


def _take(engine: Engine, job: str, slot: dt.datetime) -> bool:
    with engine.begin() as connection:
        statement = insert_or_update(AlertJob).values(name=job, done_for=slot)
        return bool(
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"], set_={"done_for": slot}, where=AlertJob.done_for < slot
                )
            ).rowcount
        )


def judge_minute(connection: Connection, regency: str, now: dt.datetime) -> int:
    """The newest run; and, should an event have been lost with its broker, the funds and decisions."""
    lock_scope(connection, regency)
    period = fiscal_year(connection, regency, now)
    readings = read_funds(connection, regency)
    readings += read_decisions(connection, regency, since=now - dt.timedelta(days=1))
    run = connection.execute(_RUN, {"regency": regency}).one_or_none()
    if run is not None:
        gap = next((tier["gap"] for tier in run.tiers or () if tier["name"] == "coverage"), 0.0)
        facts = {"run": str(run.id)}
        readings.append(Reading("run_gap", regency, period, -int(-gap * WHOLE // 1), facts))
        readings.append(Reading("run_time", regency, period, run.seconds, facts))
    return settle_alerts(connection, regency, readings, now)


def judge_hour(
    connection: Connection, regency: str, timezone: str, tariffs: TariffTable, now: dt.datetime
) -> int:
    """Forecasts, districts, waiting lists, payments and refusals.

    Forecasting takes seconds. Nobody but this job judges these kinds, so it reads in a seat of its own and
    takes the regency's only to judge: balance events do not wait for the forecasts.
    """
    lock_scope(connection, f"{regency} by the hour")
    today = now.astimezone(ZoneInfo(timezone)).date()
    period = str(today.year)
    keep_coverage(connection, regency, today)
    readings = [
        reading
        for outlook in forecast_regency(connection, regency, timezone, tariffs, today, now)
        for reading in read_outlook(outlook, today, _spans(connection, regency, "fund_lapse"))
    ]
    values = {"regency": regency, "now": now, "today": today, "fewest": _FEWEST}
    # What a usual line costs here, for saying what a district's workers would take.
    line = int(connection.scalar(_USUAL_LINE, values) or 0)
    year_end = today.replace(month=12, day=1)
    for days in _spans(connection, regency, "waiting_long"):
        for row in connection.execute(_WAITING, values | {"days": days}):
            facts: dict[str, Any] = propose_raise(row.value * line, line, year_end)
            readings.append(Reading("waiting_long", row.subject, period, row.value, facts, days))
    for days in _spans(connection, regency, "coverage_falling"):
        for row in connection.execute(_FALLING, values | {"days": days}):
            before, share = (
                row.covered_before * WHOLE // row.workers_before,
                row.covered * WHOLE // row.workers,
            )
            lost = (before - share) * row.workers // WHOLE
            facts = {"points": max(0, before - share) / 100, "now_share": share}
            facts |= propose_raise(lost * line, line, year_end)
            fell = max(0, before - share)
            readings.append(Reading("coverage_falling", row.subject, period, fell, facts, days))
    for days in _spans(connection, regency, "coverage_lapsing"):
        for row in connection.execute(_LAPSING, values | {"days": days}):
            facts = {"lapsing": row.lapsing, "covered": row.covered}
            facts |= propose_raise(row.lapsing * line, line, year_end)
            share = row.lapsing * WHOLE // row.covered
            readings.append(Reading("coverage_lapsing", row.subject, period, share, facts, days))
    for row in connection.execute(_UNPAID, values):
        waited = (now - row.since).days
        facts = {"unpaid_rupiah": row.committed_rupiah}
        readings.append(Reading("pledge_unpaid", row.subject, period_of_fund(row.window_to), waited, facts))
    for days in _spans(connection, regency, "enrolment_refused"):
        for row in connection.execute(_REFUSED, values | {"days": days}):
            share = row.refused * WHOLE // row.answered
            facts = {"answered": row.answered, "refused": row.refused}
            readings.append(
                Reading("enrolment_refused", row.subject, period_of_fund(row.window_to), share, facts, days)
            )
    whole = (
        "fund_exhaustion",
        "fund_lapse",
        "waiting_long",
        "coverage_falling",
        "coverage_lapsing",
        "pledge_unpaid",
        "enrolment_refused",
    )
    lock_scope(connection, regency)
    return settle_alerts(connection, regency, readings, now, whole)


def judge_house(connection: Connection, now: dt.datetime) -> int:
    """Dead letters by topic, and channels that fail."""
    period = fiscal_year(connection, HOUSE, now)
    readings = []
    for days in _spans(connection, HOUSE, "dead_letters"):
        for row in connection.execute(_DEAD_LETTERS, {"now": now, "days": days, "fewest": _FEWEST}):
            facts = {"refused": row.refused, "received": row.received}
            share = row.refused * WHOLE // row.received
            readings.append(Reading("dead_letters", row.subject, period, share, facts, days))
    for row in connection.execute(_CHANNELS):
        facts = {"label": row.label}
        readings.append(Reading("channel_failing", str(row.id), period, row.failures, facts))
    return settle_alerts(connection, HOUSE, readings, now, ("dead_letters", "channel_failing"))


def read_outlook(outlook: FundOutlook, today: dt.date, lapse_days: list[int]) -> list[Reading]:
    """What a fund's forecast says of its end: money gone too early, or money left over."""
    forecast, period = outlook.forecast, period_of_fund(outlook.window_to)

    def day(days: int | None) -> str | None:
        return None if days is None else str(today + dt.timedelta(days=days))

    line = outlook.line_rupiah
    readings = [
        Reading(
            "fund_exhaustion",
            outlook.code,
            period,
            round(forecast.exhaustion_chance * WHOLE),
            {
                "early": day(forecast.early_days),
                "likely": day(forecast.likely_days),
                "late": day(forecast.late_days),
                "ends_on": str(outlook.ends_on),
                "missing_rupiah": forecast.missing_rupiah,
                "more_workers": forecast.missing_rupiah // line if line else None,
            },
        )
    ]
    left = forecast.left_likely_rupiah
    share = left * WHOLE // outlook.spendable_rupiah if outlook.spendable_rupiah else 0
    facts = {
        "left_rupiah": left,
        "left_low_rupiah": forecast.left_low_rupiah,
        "left_high_rupiah": forecast.left_high_rupiah,
        "ends_on": str(outlook.ends_on),
        "waiting": outlook.acceptable.workers,
        "stopped": outlook.acceptable.stopped_workers,
        "rule": outlook.acceptable.stopped_by,
        "could_carry": left // line if line else None,
    }
    near = (outlook.ends_on - today).days
    readings += [
        Reading("fund_lapse", outlook.code, period, share, facts, days) for days in lapse_days if near <= days
    ]
    return readings


def keep_coverage(connection: Connection, regency: str, today: dt.date) -> None:
    """Note the districts' cover of today; asked again the same day, the later count stands."""
    for row in connection.execute(_COVERAGE, {"regency": regency}).all():
        counts = {"workers": row.workers, "covered": row.covered}
        connection.execute(
            insert_or_update(CoverageDay)
            .values(district_code=row.district_code, day=today, regency_code=regency, **counts)
            .on_conflict_do_update(index_elements=["district_code", "day"], set_=counts)
        )


def _spans(connection: Connection, scope: str, kind: str) -> list[int]:
    rules = read_rules(connection, scope)
    return sorted({rule.days for rule in rules if rule.kind == kind and rule.days is not None})
