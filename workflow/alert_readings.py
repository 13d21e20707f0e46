"""Readings of single funds and decisions: what one change of balance can say, from a few index look-ups."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, select, text

from models.alert_tables import FundForecast
from models.event import FundBalanceChanged
from models.message import EventEnvelope, Refusal
from models.tables import Fund
from workflow.alert import Reading
from workflow.alert_rules import WHOLE
from workflow.context import IntakeContext
from workflow.dead_letter import record_dead_letters
from workflow.outcome import watch_availability
from workflow.raise_alert import lock_scope, settle_alerts

_DECISION = """
    SELECT d.id, f.code AS fund, d.district_code, d.amount_rupiah, d.lines, d.run_id, d.decided_at
    FROM decision d JOIN fund f ON f.id = d.fund_id
    WHERE d.action = 'approve' AND d.state = 'done' AND f.regency_code = :regency AND """
# Two questions, not one with OR: a batch of events names its decisions, and only those may be read.
_NAMED_DECISIONS = text(_DECISION + "d.id = ANY(CAST(:ids AS uuid[]))")
_LATE_DECISIONS = text(_DECISION + "d.decided_at > :since")

# What a fund lost by its funder's own change, by the event that brought it.
_REDUCTIONS = text(
    """
    SELECT f.code, f.window_to, j.number, j.amount_rupiah, f.pledged_rupiah, o.line_rupiah
    FROM journal_entry j JOIN fund f ON f.id = j.fund_id LEFT JOIN fund_forecast o ON o.fund_id = f.id
    WHERE f.kind = 'csr' AND j.kind = 'reduce' AND f.regency_code = :regency
      AND j.cause_id = ANY(CAST(:ids AS uuid[]))
    """
)


def judge_balances(
    engine: Engine,
    context: IntakeContext,
    envelopes: Sequence[EventEnvelope],
    refusals: Sequence[Refusal] = (),
) -> int:
    """Judge the funds that a batch of ``funding.balance-changed.v1`` names; returns the alerts opened.

    However many events name a fund, it is read once, as it stands now: a repeated or late event changes
    nothing. The work grows with the funds of the batch and their rules, not with the database.
    """
    changes = [FundBalanceChanged.model_validate_json(envelope.data) for envelope in envelopes]
    opened = 0
    with watch_availability(), engine.begin() as connection:
        for regency in sorted({change.regency for change in changes}):
            of_regency = [change for change in changes if change.regency == regency]
            lock_scope(connection, regency)
            readings = read_funds(connection, regency, {change.fund_id for change in of_regency})
            decided = {change.cause_id for change in of_regency if change.cause == "decision"}
            if decided:
                readings += read_decisions(connection, regency, ids=decided)
            events = {change.cause_id for change in of_regency if change.cause == "event"}
            if events:
                readings += read_reductions(connection, regency, events)
            opened += settle_alerts(connection, regency, readings, context.now())
        record_dead_letters(connection, context.vault, refusals)
    return opened


def read_funds(connection: Connection, regency: str, codes: Collection[str] | None = None) -> list[Reading]:
    """What is promised and what is committed of each fund, apart; all funds without ``codes``."""
    foreseen = (FundForecast.missing_rupiah, FundForecast.line_rupiah, FundForecast.acceptable_workers)
    statement = (
        select(Fund.__table__, *foreseen)
        .outerjoin(FundForecast, FundForecast.fund_id == Fund.id)
        .where(Fund.regency_code == regency)
    )
    if codes is not None:
        statement = statement.where(Fund.code.in_(codes))
    readings = []
    for fund in connection.execute(statement):
        spendable = fund.pledged_rupiah - fund.expired_rupiah
        committed = fund.committed_rupiah + fund.disbursed_rupiah
        used = fund.reserved_rupiah + committed
        facts: dict[str, Any] = {
            "fund": fund.code,
            "available_rupiah": spendable - used,
            "reserved_rupiah": fund.reserved_rupiah,
            "committed_rupiah": committed,
        }
        if fund.line_rupiah:
            # What likely demand will miss; else what the waiting workers would cost whom its rules let in.
            waiting_rupiah = (fund.acceptable_workers or 0) * fund.line_rupiah - facts["available_rupiah"]
            facts |= propose_raise(fund.missing_rupiah or waiting_rupiah, fund.line_rupiah, fund.window_to)
        period = period_of_fund(fund.window_to)
        for kind, amount in (("fund_reserved", used), ("fund_committed", committed)):
            share = amount * WHOLE // spendable if spendable else 0
            readings.append(Reading(kind, fund.code, period, share, facts))
    return readings


def read_decisions(
    connection: Connection, regency: str, ids: Collection[str] = (), since: dt.datetime | None = None
) -> list[Reading]:
    """Final approvals: those of ``ids``, and those decided after ``since``."""
    rows = list(connection.execute(_NAMED_DECISIONS, {"regency": regency, "ids": sorted(ids)})) if ids else []
    if since is not None:
        rows += connection.execute(_LATE_DECISIONS, {"regency": regency, "since": since})
    return [
        Reading(
            "large_decision",
            str(row.id),
            str(row.decided_at.year),
            row.amount_rupiah,
            {"fund": row.fund, "district": row.district_code, "lines": row.lines, "run": str(row.run_id)},
            once=True,
        )
        for row in rows
    ]


def read_reductions(connection: Connection, regency: str, event_ids: Collection[str]) -> list[Reading]:
    """Pledges that their funder reduced or withdrew by one of these events."""
    rows = connection.execute(_REDUCTIONS, {"regency": regency, "ids": sorted(event_ids)})
    return [
        Reading(
            "pledge_reduced",
            row.code,
            f"entry {row.number}",
            row.amount_rupiah * WHOLE // (row.amount_rupiah + row.pledged_rupiah),
            {"fund": row.code, "reduced_rupiah": row.amount_rupiah}
            | propose_raise(row.amount_rupiah, row.line_rupiah or 0, row.window_to),
            once=True,
        )
        for row in rows
    ]


def period_of_fund(window_to: dt.date) -> str:
    """A fund's alerts belong to its window; a stretched window is a new period."""
    return f"to {window_to:%Y-%m}"


def propose_raise(rupiah: int, line_rupiah: int, window_to: dt.date) -> dict[str, int | str]:
    """The facts that make "raise it by so much: so many more workers until then"; none where nobody gains."""
    if not line_rupiah or rupiah < line_rupiah:
        return {}
    until = window_to.replace(day=calendar.monthrange(window_to.year, window_to.month)[1])
    return {"raise_rupiah": rupiah, "more_workers": rupiah // line_rupiah, "until": str(until)}
