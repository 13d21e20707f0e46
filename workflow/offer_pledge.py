"""Offer a pledge: a company promises money, new or on top of a pledge; an officer confirms it.

An offer moves nothing. Confirmed, it becomes ``funding.pledge-changed.v1`` in the outbox, watched until
its outcome is stored, like a pledge from a file: one way through the house (``workflow/confirm_offer.py``).
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, insert, select, update

from models.company_tables import PledgeOffer
from models.event import PledgeChanged
from models.programme import Programme, bundle_mask
from models.tables import Regency
from workflow.record import record_action


class OfferRefusedError(Exception):
    """Why an offer cannot stand; ``reason``: ``wrong``, ``window``, ``amount``, ``fund``, ``closed``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OfferUnknownError(Exception):
    """There is no such offer within what the visitor may see."""


@dataclass(frozen=True, slots=True)
class OfferRequest:
    """What a company fills in. ``fund_code`` is the own pledge to top up, else a new one is meant."""

    funder: str
    funder_name: str
    regency: str
    fund_code: str | None
    name: str
    amount_rupiah: int
    window_from: dt.date
    window_to: dt.date
    programmes: tuple[str, ...] = ()


def offer_pledge(engine: Engine, request: OfferRequest, offered_by: str, now: dt.datetime) -> uuid.UUID:
    """Keep an open offer; returns its id. Raises :class:`OfferRefusedError`."""
    if request.window_to < request.window_from or request.window_to < now.date().replace(day=1):
        raise OfferRefusedError("window")
    if request.amount_rupiah <= 0:
        raise OfferRefusedError("amount")
    try:
        PledgeChanged(
            fund_id="offered",
            revision=1,
            regency=request.regency,
            name=request.name,
            window_from=f"{request.window_from:%Y-%m}",
            window_to=f"{request.window_to:%Y-%m}",
            funder=request.funder_name,
            npwp=request.funder,
            amount_rupiah=request.amount_rupiah,
        )
        programmes = bundle_mask(Programme(code) for code in request.programmes)
    except (ValidationError, ValueError):
        raise OfferRefusedError("wrong") from None
    offer_id = uuid.uuid4()
    with engine.begin() as connection:
        if connection.scalar(select(Regency.code).where(Regency.code == request.regency)) is None:
            raise OfferRefusedError("wrong")
        connection.execute(
            insert(PledgeOffer).values(
                id=offer_id,
                funder=request.funder,
                funder_name=request.funder_name,
                regency_code=request.regency,
                fund_code=request.fund_code,
                name=request.name,
                amount_rupiah=request.amount_rupiah,
                window_from=request.window_from,
                window_to=request.window_to,
                programmes=programmes,
                offered_by=offered_by,
                offered_at=now,
            )
        )
        detail = {"amount_rupiah": request.amount_rupiah}
        record_action(connection, offered_by, "offer_pledge", str(offer_id), detail, now)
    return offer_id


def withdraw_offer(
    engine: Engine, funder: str, offer_id: uuid.UUID, withdrawn_by: str, now: dt.datetime
) -> None:
    """Take the own open offer back. Raises :class:`OfferUnknownError`, :class:`OfferRefusedError`."""
    with engine.begin() as connection:
        lock_offer(connection, offer_id, funder=funder)
        connection.execute(
            update(PledgeOffer)
            .where(PledgeOffer.id == offer_id)
            .values(state="withdrawn", closed_by=withdrawn_by, closed_at=now)
        )
        record_action(connection, withdrawn_by, "withdraw_offer", str(offer_id), {}, now)


def list_offers(connection: Connection, **of: str) -> list[Any]:
    """Offers of a ``funder`` or to a ``regency_code``, open ones first, then the latest."""
    return list(
        connection.execute(
            select(PledgeOffer.__table__)
            .filter_by(**of)
            .order_by((PledgeOffer.state == "open").desc(), PledgeOffer.offered_at.desc())
            .limit(200)
        )
    )


def lock_offer(
    connection: Connection, offer_id: uuid.UUID, *, funder: str | None = None, regency: str | None = None
) -> Any:
    """An open offer within the scope, held FOR UPDATE. Raises as :func:`withdraw_offer` does."""
    statement = select(PledgeOffer.__table__).where(PledgeOffer.id == offer_id)
    if funder is not None:
        statement = statement.where(PledgeOffer.funder == funder)
    if regency is not None:
        statement = statement.where(PledgeOffer.regency_code == regency)
    offer = connection.execute(statement.with_for_update()).one_or_none()
    if offer is None:
        raise OfferUnknownError
    if offer.state != "open":
        raise OfferRefusedError("closed")
    return offer
