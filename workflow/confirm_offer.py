"""Confirm an offer: an officer turns a company's promise into a pledge event, or declines it.

The event and the offer's new state are one transaction. Two top-ups that are confirmed before the first
was applied build on each other: the offer keeps the revision and total that it gave the fund.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from typing import Any

from sqlalchemy import Connection, Engine, select, text, update

from models.company_tables import PledgeOffer
from models.event import FundRules, PledgeChanged
from models.programme import bundle_of_mask
from models.tables import Fund
from workflow.offer_pledge import OfferRefusedError, lock_offer
from workflow.outbox import enqueue_event
from workflow.record import record_action
from workflow.validate import PLEDGE_TYPE

# As workflow/fund_change.py locks a fund's code, so that no event of this fund comes between.
_LOCK_CODE = text("SELECT pg_advisory_xact_lock(hashtextextended(:code, 3))")
_SOURCE = "/gotong/offers"


def confirm_offer(engine: Engine, regency: str, offer_id: uuid.UUID, officer: str, now: dt.datetime) -> None:
    """Send the offer on as a pledge event. Raises ``OfferUnknownError`` or ``OfferRefusedError``."""
    with engine.begin() as connection:
        offer = lock_offer(connection, offer_id, regency=regency)
        fund_code = offer.fund_code or f"tjslp-{offer_id.hex[:12]}"
        connection.execute(_LOCK_CODE, {"code": fund_code})
        change = (
            _new_pledge(offer, fund_code)
            if offer.fund_code is None
            else _top_up(connection, offer, _find_fund(connection, offer))
        )
        enqueue_event(
            connection,
            PLEDGE_TYPE,
            change,
            key=fund_code.encode(),
            source=_SOURCE,
            event_id=str(offer_id),
            time=now,
            intake=True,
        )
        connection.execute(
            update(PledgeOffer)
            .where(PledgeOffer.id == offer_id)
            .values(
                state="confirmed",
                closed_by=officer,
                closed_at=now,
                fund_code=fund_code,
                revision=change.revision,
                total_rupiah=change.amount_rupiah,
            )
        )
        detail = {"fund": fund_code, "amount_rupiah": offer.amount_rupiah}
        record_action(connection, officer, "confirm_offer", str(offer_id), detail, now)


def decline_offer(
    engine: Engine, regency: str, offer_id: uuid.UUID, officer: str, remark: str, now: dt.datetime
) -> None:
    """Say no, and why. Raises ``OfferUnknownError``; ``OfferRefusedError`` without a remark."""
    if not remark.strip():
        raise OfferRefusedError("remark")
    with engine.begin() as connection:
        lock_offer(connection, offer_id, regency=regency)
        connection.execute(
            update(PledgeOffer)
            .where(PledgeOffer.id == offer_id)
            .values(state="declined", closed_by=officer, closed_at=now, remark=remark.strip()[:500])
        )
        record_action(connection, officer, "decline_offer", str(offer_id), {}, now)


def _new_pledge(offer: Any, fund_code: str) -> PledgeChanged:
    return PledgeChanged(
        fund_id=fund_code,
        revision=1,
        regency=offer.regency_code,
        name=offer.name,
        funder=offer.funder_name,
        npwp=offer.funder,
        amount_rupiah=offer.amount_rupiah,
        window_from=f"{offer.window_from:%Y-%m}",
        window_to=f"{offer.window_to:%Y-%m}",
        rules=FundRules.model_validate({"programmes": list(bundle_of_mask(offer.programmes))}),
    )


def _find_fund(connection: Connection, offer: Any) -> Any:
    fund = connection.execute(
        select(Fund.__table__).where(Fund.code == offer.fund_code, Fund.kind == "csr")
    ).one_or_none()
    owner = "" if fund is None else re.sub(r"\D", "", fund.npwp or "").zfill(16)
    if fund is None or fund.expired_rupiah or owner != offer.funder:
        raise OfferRefusedError("fund")
    return fund


def _top_up(connection: Connection, offer: Any, fund: Any) -> PledgeChanged:
    """The fund as it stands, with more money; the rules are not the offer's to change."""
    under_way = connection.execute(
        select(PledgeOffer.revision, PledgeOffer.total_rupiah)
        .where(
            PledgeOffer.fund_code == fund.code,
            PledgeOffer.state == "confirmed",
            PledgeOffer.revision > fund.revision,
        )
        .order_by(PledgeOffer.revision.desc())
        .limit(1)
    ).one_or_none()
    revision: int = under_way.revision if under_way else fund.revision
    total: int = under_way.total_rupiah if under_way else fund.pledged_rupiah
    rules = {name: getattr(fund, name) for name in FundRules.model_fields}
    rules["programmes"] = list(bundle_of_mask(fund.programmes))
    return PledgeChanged(
        fund_id=fund.code,
        revision=revision + 1,
        regency=fund.regency_code,
        name=fund.name,
        funder=fund.funder,
        npwp=fund.npwp,
        amount_rupiah=total + offer.amount_rupiah,
        window_from=f"{fund.window_from:%Y-%m}",
        window_to=f"{fund.window_to:%Y-%m}",
        jkk_jkm_discount=fund.jkk_jkm_discount,
        rules=FundRules.model_validate(rules),
    )
