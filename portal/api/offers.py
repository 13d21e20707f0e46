"""Offers through the API: a company offers and takes back, an officer confirms or declines."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.collection import Asked, Page, read_asked
from portal.api.problem import ProblemError
from portal.api.reading import one_of, page_of
from portal.company.overview import funder_of
from portal.office.regency import regency_of
from portal.unit import open_unit
from workflow.confirm_offer import confirm_offer, decline_offer
from workflow.offer_pledge import (
    OfferRefusedError,
    OfferRequest,
    OfferUnknownError,
    offer_pledge,
    withdraw_offer,
)
from workflow.read_company import read_funds
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

OfferReader = Annotated[Visitor, require(Permission.OFFER_PLEDGE, Permission.READ_FUNDS)]
Offerer = Annotated[Visitor, require(Permission.OFFER_PLEDGE)]
Changer = Annotated[Visitor, require(Permission.CHANGE_FUNDS)]
AskedPage = Annotated[Asked, Depends(read_asked)]
Month = Annotated[str, Field(pattern=r"^20\d{2}-(0[1-9]|1[0-2])$", examples=["2027-01"])]

_OFFERS: Final = """
    SELECT id, regency_code AS regency, name, fund_code AS fund, amount_rupiah, window_from, window_to, state,
           offered_at, closed_at, remark FROM pledge_offer
"""


class NewOffer(BaseModel):
    """A pledge or, with ``fund``, more money for an own one; months are inclusive."""

    model_config = ConfigDict(extra="forbid")

    funder_name: Annotated[str, Field(min_length=1, max_length=200)]
    regency: Annotated[str, Field(pattern=r"^\d{2}\.\d{2}$")]
    fund: Annotated[str | None, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] = None
    name: Annotated[str, Field(min_length=1, max_length=200)]
    amount_rupiah: Annotated[int, Field(ge=1, lt=10**15)]
    window_from: Month
    window_to: Month
    programmes: Annotated[list[Literal["JKK", "JKM", "JHT", "JKN"]], Field(max_length=4)] = []


class Refusal(BaseModel):
    """Why an officer says no; the company reads it."""

    model_config = ConfigDict(extra="forbid")

    remark: Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]*$")]


@router.get("/offers", response_model=Page[shapes.Offer])
def list_offers(request: Request, visitor: OfferReader, asked: AskedPage) -> dict[str, Any]:
    """What companies offer to the regency; a company's own offers."""
    keys = {"offered_at": "timestamptz", "id": "uuid"}
    return page_of(request, visitor, _OFFERS, keys, asked, descending=True)


@router.get("/offers/{offer_id}", response_model=shapes.Offer)
def show_offer(
    request: Request, visitor: OfferReader, offer_id: uuid.UUID, if_none_match: IfNoneMatch = None
) -> Response:
    """One offer; its ETag is what an answer to it names."""
    offer = _find(request, visitor, offer_id)
    return answer_tagged(offer, etag_of(offer), if_none_match)


@router.post("/offers", response_model=shapes.Offer, status_code=201)
def post_offer(
    request: Request, visitor: Offerer, asked: NewOffer, idempotency_key: IdempotencyKey = None
) -> Response:
    """Offer a pledge or a top-up; it is money once an officer has confirmed it."""
    engine, funder = request.app.state.portal.engine, funder_of(visitor)

    def find() -> None:
        if asked.fund is None:
            return
        with open_unit(engine, visitor) as connection:
            if asked.fund not in {fund.code for fund in read_funds(connection, funder)}:
                raise NotFoundError

    def act() -> dict[str, Any]:
        offer = OfferRequest(
            funder=funder,
            funder_name=asked.funder_name,
            regency=asked.regency,
            fund_code=asked.fund,
            name=asked.name,
            amount_rupiah=asked.amount_rupiah,
            window_from=_first_day(asked.window_from),
            window_to=_first_day(asked.window_to),
            programmes=tuple(asked.programmes),
        )
        try:
            offer_id = offer_pledge(engine, offer, visitor.email, now())
        except OfferRefusedError as error:
            raise _refused(error, 422) from None
        return _find(request, visitor, offer_id)

    return carry_out(
        request, visitor, asked.model_dump(), key=idempotency_key, find=find, act=act, status=201
    )


@router.post("/offers/{offer_id}/withdraw", response_model=shapes.Offer)
def post_withdrawal(
    request: Request,
    visitor: Offerer,
    offer_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take an own offer back while no officer has answered it."""
    engine, funder = request.app.state.portal.engine, funder_of(visitor)
    step = lambda: withdraw_offer(engine, funder, offer_id, visitor.email, now())  # noqa: E731
    return _answer(request, visitor, offer_id, step, None, if_match, idempotency_key)


@router.post("/offers/{offer_id}/confirm", response_model=shapes.Offer)
def post_confirmation(
    request: Request,
    visitor: Changer,
    offer_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make the offer a pledge: it leaves as an event, like a pledge from anywhere else."""
    engine, regency = request.app.state.portal.engine, regency_of(request, visitor)
    step = lambda: confirm_offer(engine, regency, offer_id, visitor.email, now())  # noqa: E731
    return _answer(request, visitor, offer_id, step, None, if_match, idempotency_key)


@router.post("/offers/{offer_id}/decline", response_model=shapes.Offer)
def post_refusal(
    request: Request,
    visitor: Changer,
    offer_id: uuid.UUID,
    asked: Refusal,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Say no, and why."""
    engine, regency = request.app.state.portal.engine, regency_of(request, visitor)
    step = lambda: decline_offer(engine, regency, offer_id, visitor.email, asked.remark, now())  # noqa: E731
    return _answer(request, visitor, offer_id, step, asked.model_dump(), if_match, idempotency_key)


def _answer(
    request: Request,
    visitor: Visitor,
    offer_id: uuid.UUID,
    step: Callable[[], None],
    content: Any,
    if_match: str | None,
    key: str | None,
) -> Response:
    def act() -> dict[str, Any]:
        try:
            step()
        except OfferUnknownError:
            raise NotFoundError from None
        except OfferRefusedError as error:
            raise _refused(error, 409) from None
        return _find(request, visitor, offer_id)

    return carry_out(
        request,
        visitor,
        content,
        key=key,
        find=lambda: etag_of(_find(request, visitor, offer_id)),
        if_match=if_match,
        act=act,
    )


def _find(request: Request, visitor: Visitor, offer_id: uuid.UUID) -> dict[str, Any]:
    return one_of(request, visitor, _OFFERS + "WHERE id = :id", id=offer_id)


def _refused(error: OfferRefusedError, status: int) -> ProblemError:
    return ProblemError(status, f"offer_{error.reason}", "This offer cannot stand as things are")


def _first_day(month: str) -> dt.date:
    return dt.date.fromisoformat(f"{month}-01")
