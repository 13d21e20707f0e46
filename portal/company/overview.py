"""A company's own pledges: spent and left, month by month, whom they reach, and what has changed."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import altair as alt
from fastapi import APIRouter, Request, Response

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.company.figures import read_figures
from portal.page import page_language, render_page
from portal.plot import draw, plot_response, rupiah_axis
from portal.unit import open_unit
from portal.words import Language
from workflow.mark_messages import read_mark
from workflow.read_company import (
    SMALLEST_GROUP,
    MonthOfMoney,
    count_unread,
    counts_may_be_shown,
    read_funds,
    read_messages,
    read_months,
)
from workflow.sign_in import Visitor

router = APIRouter(prefix="/company")

CompanyReader = Annotated[Visitor, require(Permission.READ_OWN_FUNDS)]


@router.get("")
def show_company(request: Request, visitor: CompanyReader) -> Response:
    """Money first, then people, then what has changed."""
    portal, funder = request.app.state.portal, funder_of(visitor)
    mark = read_mark(portal.engine, visitor.account_id)
    with open_unit(portal.engine, visitor) as connection:
        figures = read_figures(request.app, connection, funder)
        funds = read_funds(connection, funder, figures.fund_workers)
        months = read_months(connection, funder, portal.timezone(portal.settings.regencies[0]))
        messages = read_messages(connection, funder, 12)
        unread = count_unread(connection, funder, mark)
    return render_page(
        request,
        "company/overview.html",
        visitor=visitor,
        funds=funds,
        by_fund=counts_may_be_shown(funds),
        smallest=SMALLEST_GROUP,
        impact=figures.impact,
        months=months,
        messages=messages,
        unread=unread,
        ending=[fund for fund in funds if fund.ends_soon(now().date())],
    )


@router.get("/months.svg")
def plot_months(request: Request, visitor: CompanyReader) -> Response:
    """Approved and paid rupiah per month, as the page's table has them."""
    portal, language = request.app.state.portal, page_language(request)
    with open_unit(portal.engine, visitor) as connection:
        months = read_months(connection, funder_of(visitor), portal.timezone(portal.settings.regencies[0]))
    return plot_response(draw_months(tuple(months), language))


@lru_cache(maxsize=64)
def draw_months(months: tuple[MonthOfMoney, ...], language: Language) -> bytes:
    """Approved and paid rupiah per month as SVG; the same figures are drawn once."""
    approved, paid = ("Disetujui", "Dibayarkan") if language == "id" else ("Approved", "Paid")
    values = [
        {"month": each.month.isoformat(), "what": what, "rupiah": rupiah}
        for each in months
        for what, rupiah in ((approved, each.committed_rupiah), (paid, each.disbursed_rupiah))
    ]
    chart = alt.Chart(alt.InlineData(values=values), width=720, height=220).mark_bar()
    encoded = chart.encode(
        x=alt.X("month:O", timeUnit="yearmonth", title=None),
        xOffset="what:N",
        y=alt.Y("rupiah:Q", title=None, axis=rupiah_axis(language)),
        color=alt.Color("what:N", sort=[approved, paid]),
    )
    return draw(encoded, language)


def funder_of(visitor: Visitor) -> str:
    """The company whose people this visitor belongs to."""
    if visitor.funder is None:
        raise NotFoundError
    return visitor.funder
