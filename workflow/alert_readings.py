"""Readings of single funds and decisions: what one change of balance can say, from a few index look-ups."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Engine, select, text

from models.event import FundBalanceChanged
from models.message import EventEnvelope, Refusal
from models.tables import Fund
from workflow.alert import Reading
from workflow.alert_rules import WHOLE
from workflow.context import IntakeContext
from workflow.dead_letter import record_dead_letters
from workflow.outcome import watch_availability
from workflow.raise_alert import lock_scope, settle_alerts

_DECISIONS = text(
    """
    SELECT d.id, f.code AS fund, d.district_code, d.amount_rupiah, d.lines, d.run_id, d.decided_at
    FROM decision d JOIN fund f ON f.id = d.fund_id
    WHERE d.action = 'approve' AND d.state = 'done' AND f.regency_code = :regency
      AND (d.id = ANY(CAST(:ids AS uuid[])) OR d.decided_at > CAST(:since AS timestamptz))
    """
)

# What a fund lost by its funder's own change, by the event that brought it.
_REDUCTIONS = text(
    """
    SELECT f.code, j.number, j.amount_rupiah, f.pledged_rupiah FROM journal_entry j
    JOIN fund f ON f.id = j.fund_id
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
                readings += read_decisions(connection, regency, decided)
            events = {change.cause_id for change in of_regency if change.cause == "event"}
            if events:
                readings += read_reductions(connection, regency, events)
            opened += settle_alerts(connection, regency, readings, context.now())
        record_dead_letters(connection, context.vault, refusals)
    return opened


def read_funds(connection: Connection, regency: str, codes: Collection[str] | None = None) -> list[Reading]:
    """What is promised and what is committed of each fund, apart; all funds without ``codes``."""
    statement = select(Fund.__table__).where(Fund.regency_code == regency)
    if codes is not None:
        statement = statement.where(Fund.code.in_(codes))
    readings = []
    for fund in connection.execute(statement):
        spendable = fund.pledged_rupiah - fund.expired_rupiah
        committed = fund.committed_rupiah + fund.disbursed_rupiah
        used = fund.reserved_rupiah + committed
        facts = {
            "fund": fund.code,
            "available_rupiah": spendable - used,
            "reserved_rupiah": fund.reserved_rupiah,
            "committed_rupiah": committed,
        }
        period = period_of_fund(fund.window_to)
        for kind, amount in (("fund_reserved", used), ("fund_committed", committed)):
            share = amount * WHOLE // spendable if spendable else 0
            readings.append(Reading(kind, fund.code, period, share, facts))
    return readings


def read_decisions(
    connection: Connection, regency: str, ids: Collection[str] = (), since: dt.datetime | None = None
) -> list[Reading]:
    """Final approvals: those of ``ids``, and those decided after ``since``."""
    rows = connection.execute(_DECISIONS, {"regency": regency, "ids": sorted(ids), "since": since})
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
            {"fund": row.code, "reduced_rupiah": row.amount_rupiah},
            once=True,
        )
        for row in rows
    ]


def period_of_fund(window_to: dt.date) -> str:
    """A fund's alerts belong to its window; a stretched window is a new period."""
    return f"to {window_to:%Y-%m}"
