"""Edit a fund: an officer's change leaves as the fund's next event, the only way in which funds change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, Row, select, text

from models.event import BudgetChanged, FundRules, PledgeChanged
from models.programme import bundle_of_mask
from models.region import RegionTable
from models.tables import Fund
from workflow.outbox import enqueue_event
from workflow.record import record_action
from workflow.validate import BUDGET_TYPE, PLEDGE_TYPE

# As workflow/fund_change.py locks a fund's code, so that no event of this fund comes between.
_LOCK_CODE = text("SELECT pg_advisory_xact_lock(hashtextextended(:code, 3))")
# Each half has a partial index of its own.
_UNDER_WAY = text(
    """
    SELECT EXISTS (SELECT FROM outbox_message WHERE intake AND settled_at IS NULL
                   AND published_at IS NULL AND topic = :topic AND key = :key)
        OR EXISTS (SELECT FROM outbox_message WHERE intake AND settled_at IS NULL
                   AND published_at IS NOT NULL AND topic = :topic AND key = :key)
    """
)
_SOURCE = "/gotong/funds"


class EditRefusedError(Exception):
    """The change cannot be sent; ``reason`` says why, in the codes of ``models.reason`` and three more:
    ``ages_out_of_order`` (the youngest age is above the oldest),
    ``under_way`` (another change is not taken in yet, or came between) and ``same`` (nothing differs).
    ``fields`` names those that are not filled in as they should be, where that can be said."""

    def __init__(self, reason: str, *fields: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.fields = fields


def state_of(fund: Row[Any]) -> dict[str, Any]:
    """The fund as its next event would state it if nothing changed, but for the revision."""
    rules = {name: getattr(fund, name) for name in FundRules.model_fields}
    rules["programmes"] = list(bundle_of_mask(fund.programmes))
    state = {"fund_id": fund.code, "regency": fund.regency_code, "name": fund.name, "rules": rules}
    state |= {"window_from": f"{fund.window_from:%Y-%m}", "window_to": f"{fund.window_to:%Y-%m}"}
    if fund.kind == "csr":
        return state | {
            "funder": fund.funder,
            "npwp": fund.npwp,
            "amount_rupiah": fund.pledged_rupiah,
            "jkk_jkm_discount": fund.jkk_jkm_discount,
        }
    return state | {
        "fiscal_year": fund.fiscal_year,
        "account_code": fund.account_code,
        "ceiling_rupiah": fund.ceiling_rupiah,
        "released_rupiah": fund.released_rupiah,
    }


def edit_fund(
    engine: Engine,
    regency: str,
    code: str,
    revision: int,
    changes: Mapping[str, Any],
    officer: str,
    now: dt.datetime,
) -> None:
    """Send the fund's state with ``changes`` (their ``rules`` over the standing ones) as the next revision.

    ``revision`` is the one the officer saw. Event and record are one transaction. Raises
    :class:`EditRefusedError`, and ``LookupError`` when the regency has no such fund.
    """
    with engine.begin() as connection:
        connection.execute(_LOCK_CODE, {"code": code})
        fund = connection.execute(
            select(Fund.__table__).where(Fund.code == code, Fund.regency_code == regency)
        ).one_or_none()
        if fund is None:
            raise LookupError(code)
        standing = _change(fund, {})
        change = _change(fund, changes)
        if change == standing:
            raise EditRefusedError("same")
        _check(connection, fund, change, revision)
        event_type = PLEDGE_TYPE if fund.kind == "csr" else BUDGET_TYPE
        if connection.scalar(_UNDER_WAY, {"topic": event_type, "key": code.encode()}):
            raise EditRefusedError("under_way")
        enqueue_event(
            connection,
            event_type,
            change,
            key=code.encode(),
            source=_SOURCE,
            event_id=f"{code}-{change.revision}",
            time=now,
            intake=True,
        )
        detail = {"revision": change.revision, "changed": sorted(_differing(standing, change))}
        record_action(connection, officer, "edit_fund", code, detail, now)


def draft_change(
    connection: Connection, fund: Row[Any], changes: Mapping[str, Any]
) -> tuple[PledgeChanged | BudgetChanged, EditRefusedError | None]:
    """The fund's next event while it is being written, and why it could not be sent as it stands.

    Raises :class:`EditRefusedError` when the fields do not even make an event.
    """
    change = _change(fund, changes)
    try:
        _check(connection, fund, change, fund.revision)
    except EditRefusedError as refused:
        return change, refused
    return change, None


def _change(fund: Row[Any], changes: Mapping[str, Any]) -> PledgeChanged | BudgetChanged:
    state = state_of(fund)
    rules = state["rules"] | changes.get("rules", {})
    content = state | dict(changes) | {"rules": rules, "revision": fund.revision + 1}
    try:
        return (PledgeChanged if fund.kind == "csr" else BudgetChanged).model_validate(content)
    except ValidationError as error:
        names = [[part for part in each["loc"] if isinstance(part, str)] for each in error.errors()]
        raise EditRefusedError(
            "schema_violation", *dict.fromkeys(each[-1] for each in names if each)
        ) from None


def _check(
    connection: Connection, fund: Row[Any], change: PledgeChanged | BudgetChanged, revision: int
) -> None:
    """What intake would refuse is told now, while the officer still looks."""
    if fund.revision != revision:
        raise EditRefusedError("under_way")
    if change.window_to < change.window_from:
        raise EditRefusedError("window_out_of_order", "window_from", "window_to")
    rules = change.rules
    if rules.age_from is not None and rules.age_to is not None and rules.age_to < rules.age_from:
        raise EditRefusedError("ages_out_of_order", "age_from", "age_to")
    regions = RegionTable.read(connection)
    if not all(regions.known(region) for region in rules.regions):
        raise EditRefusedError("region_unknown", "regions")
    if fund.expired_rupiah and change.window_to != f"{fund.window_to:%Y-%m}":
        raise EditRefusedError("fund_expired", "window_to")
    if isinstance(change, PledgeChanged) and change.withdrawn:
        return
    total = (
        change.amount_rupiah
        if isinstance(change, PledgeChanged)
        else min(change.ceiling_rupiah, change.released_rupiah)
    )
    if total < fund.committed_rupiah + fund.disbursed_rupiah + fund.expired_rupiah:
        money = ("amount_rupiah",) if fund.kind == "csr" else ("ceiling_rupiah", "released_rupiah")
        raise EditRefusedError("below_committed", *money)


def _differing(before: PledgeChanged | BudgetChanged, after: PledgeChanged | BudgetChanged) -> set[str]:
    old, new = before.model_dump(), after.model_dump()
    return {name for name in new if new[name] != old[name]}
