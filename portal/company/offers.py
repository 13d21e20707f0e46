"""New pledges and top-ups that a company offers; an officer confirms or declines them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.company.overview import funder_of
from portal.office.regency import regency_of
from portal.page import render_page
from portal.unit import open_unit
from workflow.confirm_offer import confirm_offer, decline_offer
from workflow.offer_pledge import (
    OfferRefusedError,
    OfferRequest,
    OfferUnknownError,
    list_offers,
    offer_pledge,
    withdraw_offer,
)
from workflow.read_company import read_funds
from workflow.sign_in import Visitor

router = APIRouter()

Offerer = Annotated[Visitor, require(Permission.OFFER_PLEDGE)]
Reader = Annotated[Visitor, require(Permission.READ_FUNDS)]
Changer = Annotated[Visitor, require(Permission.CHANGE_FUNDS)]
Text = Annotated[str, Form(max_length=500)]
Whole = Annotated[str, Form(max_length=20)]

_PROGRAMMES: Final = ("JKK", "JKM", "JHT", "JKN")


@router.get("/company/offers")
def show_company_offers(request: Request, visitor: Offerer) -> Response:
    """The company's offers and what became of them, and the form for another."""
    return _render_company(request, visitor)


@router.post("/company/offers")
def post_offer(
    request: Request,
    visitor: Offerer,
    name: Text,
    amount_rupiah: Whole,
    window_from: Whole,
    window_to: Whole,
    funder_name: Text = "",
    fund_code: Text = "",
    regency: Text = "",
    programmes: Annotated[tuple[str, ...], Form()] = (),
) -> Response:
    """Offer a new pledge, or more money for one of the own; it is money once an officer has confirmed it."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        own = {fund.code for fund in read_funds(connection, funder_of(visitor), {})}
    if fund_code and fund_code not in own:
        raise NotFoundError
    try:
        offer_pledge(
            request.app.state.portal.engine,
            OfferRequest(
                funder=funder_of(visitor),
                funder_name=funder_name.strip() or name.strip(),
                regency=regency or request.app.state.portal.settings.regencies[0],
                fund_code=fund_code or None,
                name=name.strip(),
                amount_rupiah=_rupiah(amount_rupiah),
                window_from=_month(window_from),
                window_to=_month(window_to),
                programmes=programmes,
            ),
            visitor.email,
            now(),
        )
    except OfferRefusedError as error:
        return _render_company(request, visitor, 422, problem=error.reason)
    return RedirectResponse("/company/offers", 303)


@router.post("/company/offers/{offer_id}/withdraw")
def post_withdrawal(request: Request, visitor: Offerer, offer_id: uuid.UUID) -> Response:
    """Take an offer back while no officer has answered it."""
    try:
        withdraw_offer(request.app.state.portal.engine, funder_of(visitor), offer_id, visitor.email, now())
    except OfferUnknownError as error:
        raise NotFoundError from error
    except OfferRefusedError as error:
        return _render_company(request, visitor, 409, problem=error.reason)
    return RedirectResponse("/company/offers", 303)


@router.get("/offers")
def show_offers(request: Request, visitor: Reader) -> Response:
    """What companies have offered to the regency, open offers first."""
    return _render_office(request, visitor)


@router.post("/offers/{offer_id}/confirm")
def post_confirmation(request: Request, visitor: Changer, offer_id: uuid.UUID) -> Response:
    """Make the offer a pledge: it leaves as an event, like a pledge from anywhere else."""
    try:
        confirm_offer(
            request.app.state.portal.engine, regency_of(request, visitor), offer_id, visitor.email, now()
        )
    except OfferUnknownError as error:
        raise NotFoundError from error
    except OfferRefusedError as error:
        return _render_office(request, visitor, 409, problem=error.reason)
    return RedirectResponse("/offers", 303)


@router.post("/offers/{offer_id}/decline")
def post_refusal(request: Request, visitor: Changer, offer_id: uuid.UUID, remark: Text = "") -> Response:
    """Say no, and why; the company reads it."""
    regency = regency_of(request, visitor)
    try:
        decline_offer(request.app.state.portal.engine, regency, offer_id, visitor.email, remark, now())
    except OfferUnknownError as error:
        raise NotFoundError from error
    except OfferRefusedError as error:
        return _render_office(request, visitor, 422, problem=error.reason)
    return RedirectResponse("/offers", 303)


def _render_company(
    request: Request, visitor: Visitor, status_code: int = 200, *, problem: str = ""
) -> Response:
    portal, funder = request.app.state.portal, funder_of(visitor)
    with open_unit(portal.engine, visitor) as connection:
        offers = list_offers(connection, funder=funder)
        funds = read_funds(connection, funder, {})
    return render_page(
        request,
        "company/offers.html",
        visitor=visitor,
        status_code=status_code,
        offers=offers,
        funds=funds,
        regencies=portal.settings.regencies,
        programmes=_PROGRAMMES,
        today=now().date(),
        problem=problem,
    )


def _render_office(
    request: Request, visitor: Visitor, status_code: int = 200, *, problem: str = ""
) -> Response:
    regency = regency_of(request, visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        offers = list_offers(connection, regency_code=regency)
    return render_page(
        request,
        "company/office_offers.html",
        visitor=visitor,
        status_code=status_code,
        offers=offers,
        regency=regency,
        may_change=visitor.role == "officer",
        problem=problem,
    )


def _rupiah(written: str) -> int:
    """Whole rupiah as people write them, ``1.500.000`` too. Raises :class:`OfferRefusedError`."""
    digits = written.replace(".", "").replace(" ", "")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 15:
        raise OfferRefusedError("amount")
    return int(digits)


def _month(written: str) -> dt.date:
    """The first day of ``2027-04``. Raises :class:`OfferRefusedError`."""
    try:
        return dt.datetime.strptime(written, "%Y-%m").replace(tzinfo=dt.UTC).date()
    except ValueError:
        raise OfferRefusedError("window") from None
