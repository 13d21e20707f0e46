"""Move a fund's money: the only place that writes the journal and the balances.

Every other step states *what* moves and why; this one locks the funds, checks
that the money is there, seals the entries into each fund's hash chain,
updates the balances and tells of them, in the caller's transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import distinct_on

from models.event import FundBalanceChanged
from models.journal import CHAIN_START, Balances, Cause, chain_entry
from models.tables import Fund, JournalEntry
from workflow.outbox import SOURCE, NewMessage, enqueue_messages, event_headers

_BALANCES = (
    Fund.pledged_rupiah,
    Fund.reserved_rupiah,
    Fund.committed_rupiah,
    Fund.disbursed_rupiah,
    Fund.expired_rupiah,
)


@dataclass(frozen=True, slots=True)
class Movement:
    """``amount_rupiah`` (> 0) of fund ``fund_id`` moves as ``kind`` (``models.journal.EFFECTS``)."""

    fund_id: int
    kind: str
    amount_rupiah: int


@dataclass(frozen=True, slots=True)
class LockedFund:
    """A fund held FOR NO KEY UPDATE in this transaction, with the end of its journal."""

    id: int
    code: str
    regency: str
    revision: int
    balances: Balances
    last_number: int
    last_hash: bytes


def lock_funds(connection: Connection, fund_ids: Iterable[int]) -> dict[int, LockedFund]:
    """Lock funds FOR NO KEY UPDATE in id order (one order for all, so writers never deadlock)."""
    wanted = sorted(set(fund_ids))
    if not wanted:
        return {}
    funds = connection.execute(
        select(Fund.id, Fund.code, Fund.regency_code, Fund.revision, *_BALANCES)
        .where(Fund.id.in_(wanted))
        .order_by(Fund.id)
        .with_for_update(key_share=True)
    ).all()
    # A second statement, so that its snapshot sees what the lock's former holder committed.
    ends = {
        row.fund_id: (row.number, row.hash)
        for row in connection.execute(
            select(JournalEntry.fund_id, JournalEntry.number, JournalEntry.hash)
            .where(JournalEntry.fund_id.in_(wanted))
            .ext(distinct_on(JournalEntry.fund_id))
            .order_by(JournalEntry.fund_id, JournalEntry.number.desc())
        )
    }
    return {
        fund.id: LockedFund(
            fund.id,
            fund.code,
            fund.regency_code,
            fund.revision,
            Balances(*fund[4:]),
            *ends.get(fund.id, (0, CHAIN_START)),
        )
        for fund in funds
    }


def move_money(
    connection: Connection,
    movements: Sequence[Movement],
    *,
    cause: Cause,
    recorded_at: dt.datetime,
) -> dict[int, Balances]:
    """Write one journal entry per movement and return the balances after, by fund id.

    Movements apply in the order given, so releases that pay for reservations come first. Raises
    ``OverdrawnError`` when a fund cannot carry a movement, ``LookupError`` for an
    unknown fund; the caller's transaction must then be rolled back.
    """
    funds = lock_funds(connection, (movement.fund_id for movement in movements))
    balances = {fund.id: fund.balances for fund in funds.values()}
    ends = {fund.id: (fund.last_number, fund.last_hash) for fund in funds.values()}
    entries = []
    for movement in movements:
        if movement.fund_id not in funds:
            raise LookupError(f"no fund with id {movement.fund_id}")
        balances[movement.fund_id] = balances[movement.fund_id].after(movement.kind, movement.amount_rupiah)
        number, previous_hash = ends[movement.fund_id]
        entry_hash = chain_entry(
            previous_hash,
            fund_code=funds[movement.fund_id].code,
            number=number + 1,
            kind=movement.kind,
            amount_rupiah=movement.amount_rupiah,
            cause=cause,
            recorded_at=recorded_at,
        )
        ends[movement.fund_id] = (number + 1, entry_hash)
        entries.append(
            {
                "fund_id": movement.fund_id,
                "number": number + 1,
                "kind": movement.kind,
                "amount_rupiah": movement.amount_rupiah,
                "cause": cause.kind,
                "cause_id": cause.id,
                "recorded_at": recorded_at,
                "previous_hash": previous_hash,
                "hash": entry_hash,
            }
        )
    if entries:
        connection.execute(insert(JournalEntry), entries)
        connection.execute(
            update(Fund)
            .where(Fund.id == bindparam("of_fund"))
            .values({column: bindparam(f"to_{column.key}") for column in _BALANCES}),
            [
                {"of_fund": fund_id, **{f"to_{name}": value for name, value in _named(after).items()}}
                for fund_id, after in sorted(balances.items())
            ],
        )
        _tell(connection, funds, balances, ends, cause, recorded_at)
    return balances


def _tell(
    connection: Connection,
    funds: Mapping[int, LockedFund],
    balances: Mapping[int, Balances],
    ends: Mapping[int, tuple[int, bytes]],
    cause: Cause,
    recorded_at: dt.datetime,
) -> None:
    """One ``funding.balance-changed.v1`` for each fund, in the same transaction."""
    event_type = "funding.balance-changed.v1"
    messages = []
    for fund in sorted(funds.values(), key=lambda fund: fund.id):
        entry = ends[fund.id][0]
        change = FundBalanceChanged.model_validate(
            {
                "fund_id": fund.code,
                "regency": fund.regency,
                "entry": entry,
                "cause": cause.kind,
                "cause_id": str(cause.id),
                "recorded_at": recorded_at.astimezone(dt.UTC).isoformat(),
                **_named(balances[fund.id]),
            }
        )
        headers = event_headers(event_type, source=SOURCE, event_id=f"{fund.code}/{entry}", time=recorded_at)
        messages.append(
            NewMessage(event_type, change.model_dump_json().encode(), fund.regency.encode(), headers)
        )
    enqueue_messages(connection, messages)


def _named(balances: Balances) -> dict[str, int]:
    return {column.key: getattr(balances, column.key) for column in _BALANCES}
