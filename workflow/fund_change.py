"""Fund change: a pledge or budget line was made, raised, cut or re-ruled.

The event carries the fund's whole state and a revision, so that repeated and
late events cannot add money twice: the journal receives the difference between
what the event says and what stands.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip
from sqlalchemy.exc import DataError, IntegrityError

from models.company_tables import TermsChange
from models.event import BudgetChanged, FundRules, PledgeChanged
from models.journal import Balances, Cause
from models.message import EventEnvelope, Refusal, refuse_event
from models.programme import Programme, bundle_mask
from models.tables import Fund, InboxEvent, Regency
from workflow.context import IntakeContext
from workflow.dead_letter import record_dead_letters
from workflow.move_money import Movement, move_money
from workflow.outbox import settle_messages
from workflow.outcome import REFUSED, BatchOutcome, watch_availability
from workflow.release import lock_undecided, release_fund
from workflow.request import raise_signal
from workflow.validate import FundReport, validate_funds

_LOCK_CODE = text("SELECT pg_advisory_xact_lock(hashtextextended(:code, 3))")

#: Columns that say what the fund accepts and what it would pay.
_RULES = (
    "window_from",
    "window_to",
    "regions",
    "occupations",
    "programmes",
    "sexes",
    "age_from",
    "age_to",
    "max_months",
    "head_count_cap",
    "district_cap",
    "min_workers",
    "jkk_jkm_discount",
)


class FundChangeRefusedError(Exception):
    """The change cannot stand; ``reason`` is the dead letter's code, the message its detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def change_funds(
    engine: Engine,
    context: IntakeContext,
    envelopes: Sequence[EventEnvelope],
    refusals: Sequence[Refusal] = (),
) -> BatchOutcome:
    """Apply a batch of fund events in one transaction, each in its own savepoint, in the order given.

    Outcomes: ``created``, ``changed``, ``stale``, ``repeated``, ``refused``. Raises
    ``workflow.outcome.Unavailable`` when the database is away and
    ``workflow.pause_intake.IntakePausedError`` when the topic stands still; nothing is stored then.
    """
    reports = validate_funds(context, envelopes)
    outcomes: list[str] = []
    refused = list(refusals)
    with watch_availability(), engine.begin() as connection:
        for report in reports:
            outcome = report if isinstance(report, Refusal) else _receive(connection, report, context)
            if isinstance(outcome, Refusal):
                refused.append(outcome)
                outcome = REFUSED
            outcomes.append(outcome)
        record_dead_letters(connection, context.vault, refused)
        messages = [envelope.message for envelope in envelopes] + [refusal.message for refusal in refusals]
        settle_messages(connection, messages)
        context.guard.judge(connection, messages, refused)
    return BatchOutcome(outcomes, Counter(refusal.reason for refusal in refused))


def _receive(connection: Connection, report: FundReport, context: IntakeContext) -> str | Refusal:
    """One fund event against the inbox: a repeat changes nothing, a conflict or refusal is returned."""
    envelope, message = report.envelope, report.envelope.message
    content_hash = envelope.content_hash
    try:
        with connection.begin_nested():
            # Inserted first: of two processes with the same event, one waits here and finds it known.
            claimed = connection.scalar(
                insert_or_skip(InboxEvent)
                .values(
                    event_key=envelope.key,
                    type=envelope.type,
                    source=envelope.source,
                    event_id=envelope.id,
                    content_hash=content_hash,
                    log_id=message.log_id,
                    topic=message.topic,
                    partition=message.partition,
                    offset=message.offset,
                    outcome="received",
                )
                .on_conflict_do_nothing()
                .returning(InboxEvent.event_key)
            )
            if claimed is not None:
                outcome = change_fund(connection, report.change, envelope.key, context.now())
                connection.execute(
                    update(InboxEvent).where(InboxEvent.event_key == envelope.key).values(outcome=outcome)
                )
                return outcome
    except FundChangeRefusedError as error:
        return refuse_event(envelope, error.reason, str(error))
    except (DataError, IntegrityError) as error:
        detail = f"the database refused the event: {type(error.orig).__name__}"
        return refuse_event(envelope, "not_storable", detail)
    known = connection.scalar(select(InboxEvent.content_hash).where(InboxEvent.event_key == envelope.key))
    if known == content_hash:
        return "repeated"
    detail = "an event with this source and id but other content was accepted before"
    return refuse_event(envelope, "event_id_conflict", detail)


def change_fund(
    connection: Connection, change: PledgeChanged | BudgetChanged, event_key: uuid.UUID, now: dt.datetime
) -> str:
    """Apply one change in the caller's transaction; returns its outcome.

    ``created``, ``changed``, or ``stale`` when a revision as high stands already. Raises
    ``FundChangeRefusedError``: an unserved regency, a fund that would change its kind or
    regency, or a total below what is already committed.
    """
    # Two events that both make the fund: the second one waits here and finds it standing.
    connection.execute(_LOCK_CODE, {"code": change.fund_id})
    if connection.scalar(select(Regency.code).where(Regency.code == change.regency)) is None:
        raise FundChangeRefusedError("regency_not_served", f"regency {change.regency} is not served here")
    kind = "csr" if isinstance(change, PledgeChanged) else "apbd"
    values = _fund_columns(change, kind)
    this_fund = select(Fund.__table__).where(Fund.code == change.fund_id)
    seen = connection.execute(this_fund).one_or_none()
    if seen is not None and _may_release(seen, change, values):
        lock_undecided(connection, seen.id)
    standing = connection.execute(this_fund.with_for_update(key_share=True)).one_or_none()
    if standing is None:
        fund_id = connection.execute(insert(Fund).values(values).returning(Fund.id)).scalar_one()
        if total_rupiah := _total_rupiah(change):
            move_money(
                connection,
                [Movement(fund_id, "pledge", total_rupiah)],
                cause=Cause("event", event_key),
                recorded_at=now,
            )
        raise_signal(connection, change.regency)
        return "created"
    if change.revision <= standing.revision:
        return "stale"
    if standing.kind != kind:
        raise FundChangeRefusedError("fund_kind_changed", f"fund {change.fund_id} is of kind {standing.kind}")
    if standing.regency_code != change.regency:
        raise FundChangeRefusedError(
            "fund_regency_changed", f"fund {change.fund_id} belongs to regency {standing.regency_code}"
        )
    balances = Balances(
        standing.pledged_rupiah,
        standing.reserved_rupiah,
        standing.committed_rupiah,
        standing.disbursed_rupiah,
        standing.expired_rupiah,
    )
    if standing.expired_rupiah and values["window_to"] != standing.window_to:
        raise FundChangeRefusedError(
            "fund_expired",
            f"fund {change.fund_id} has expired; money for later months needs a fund of its own",
        )
    changed = _changed_terms(standing, values)
    _change_total(
        connection,
        standing.id,
        balances,
        change,
        event_key,
        now,
        lambda: _set(connection, values),
        ruled_anew=bool(changed),
    )
    if changed and kind == "csr":
        connection.execute(
            insert(TermsChange).values(
                fund_id=standing.id, revision=change.revision, changed=changed, recorded_at=now
            )
        )
    raise_signal(connection, change.regency)
    return "changed"


def _change_total(
    connection: Connection,
    fund_id: int,
    balances: Balances,
    change: PledgeChanged | BudgetChanged,
    event_key: uuid.UUID,
    now: dt.datetime,
    set_columns: Callable[[], None],
    *,
    ruled_anew: bool,
) -> None:
    """Journal the difference. A raised ceiling is set before its money, a cut one after it.

    Undecided lines are released when their money is needed, and when the rules under which they
    were proposed are no longer the fund's: nobody may sign what the funder does not accept any more.
    """
    cause = Cause("event", event_key)
    withdrawn = isinstance(change, PledgeChanged) and change.withdrawn
    difference = _total_rupiah(change) - balances.pledged_rupiah
    movements: list[Movement] = []
    available_rupiah = balances.available_rupiah
    if withdrawn or ruled_anew or -difference > available_rupiah:
        released = release_fund(connection, fund_id, cause, now)
        movements += [Movement(fund_id, "release", released)] if released else []
        available_rupiah += released
    if withdrawn:
        difference = -available_rupiah
    elif -difference > available_rupiah:
        raise FundChangeRefusedError(
            "below_committed",
            f"fund {change.fund_id}: a total of {_total_rupiah(change)} rupiah is below the"
            f" {balances.pledged_rupiah - available_rupiah} already committed",
        )
    if difference > 0:
        set_columns()
        movements.append(Movement(fund_id, "top_up", difference))
    elif difference:
        movements.append(Movement(fund_id, "reduce", -difference))
    move_money(connection, movements, cause=cause, recorded_at=now)
    if difference <= 0:
        set_columns()


def _may_release(fund: Row[Any], change: PledgeChanged | BudgetChanged, values: dict[str, object]) -> bool:
    return (
        (isinstance(change, PledgeChanged) and change.withdrawn)
        or _total_rupiah(change) < fund.pledged_rupiah
        or bool(_changed_terms(fund, values))
    )


def _changed_terms(fund: Row[Any], values: dict[str, object]) -> list[str]:
    """The columns of the fund's window and rules that would become others."""
    return [name for name in _RULES if name in values and _plain(values[name]) != _plain(getattr(fund, name))]


def _plain(value: object) -> object:
    """Lists of codes are the same in any order."""
    return sorted(value) if isinstance(value, list) else value


def _set(connection: Connection, values: dict[str, object]) -> None:
    connection.execute(update(Fund).where(Fund.code == values["code"]).values(values))


def _total_rupiah(change: PledgeChanged | BudgetChanged) -> int:
    """What the fund may spend in all: the pledge, or the lesser of pagu and released funds (SPD)."""
    if isinstance(change, PledgeChanged):
        return change.amount_rupiah
    return min(change.ceiling_rupiah, change.released_rupiah)


def _fund_columns(change: PledgeChanged | BudgetChanged, kind: str) -> dict[str, object]:
    rules: FundRules = change.rules
    columns: dict[str, object] = {
        "code": change.fund_id,
        "regency_code": change.regency,
        "kind": kind,
        "name": change.name,
        "revision": change.revision,
        "window_from": dt.date.fromisoformat(f"{change.window_from}-01"),
        "window_to": dt.date.fromisoformat(f"{change.window_to}-01"),
        "regions": list(rules.regions),
        "occupations": list(rules.occupations),
        "programmes": bundle_mask(Programme(code) for code in rules.programmes),
        "sexes": list(rules.sexes),
        "age_from": rules.age_from,
        "age_to": rules.age_to,
        "max_months": rules.max_months,
        "head_count_cap": rules.head_count_cap,
        "district_cap": rules.district_cap,
        "min_workers": rules.min_workers,
    }
    if isinstance(change, PledgeChanged):
        return columns | {
            "funder": change.funder,
            "npwp": change.npwp,
            "jkk_jkm_discount": change.jkk_jkm_discount,
        }
    return columns | {
        "fiscal_year": change.fiscal_year,
        "account_code": change.account_code,
        "ceiling_rupiah": change.ceiling_rupiah,
        "released_rupiah": change.released_rupiah,
    }
