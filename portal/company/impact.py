"""Impact: whom a company's money covers, when and where, what that cover is, and by which law."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import altair as alt
from fastapi import APIRouter, Request, Response

from models.programme import Programme
from models.tariff import Payer, default_table
from portal.company.figures import read_figures
from portal.company.overview import CompanyReader, funder_of
from portal.page import page_language, render_page
from portal.plot import COLOURS, draw, plot_response
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.read_company import SMALLEST_GROUP, count_if_enough

router = APIRouter(prefix="/company/impact")

_OTHERS: Final = {"id": "Kecamatan lain", "en": "Other districts"}
_WORKERS: Final = {"id": "pekerja", "en": "workers"}


@router.get("")
def show_impact(request: Request, visitor: CompanyReader) -> Response:
    """People and months in all, by month, by programme and by district."""
    funder = funder_of(visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        figures = read_figures(request.app, connection, funder)
    return render_page(
        request,
        "company/impact.html",
        visitor=visitor,
        impact=figures.impact,
        months=figures.months,
        smallest=SMALLEST_GROUP,
        count_if_enough=count_if_enough,
        sources=legal_sources(),
    )


@router.get("/months.svg")
def plot_months(request: Request, visitor: CompanyReader) -> Response:
    """Workers covered in each month, as the page's table has them."""
    language = page_language(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        months = read_figures(request.app, connection, funder_of(visitor)).months
    values = [{"month": each.month.isoformat(), "workers": each.workers} for each in months if each.workers]
    chart = alt.Chart(alt.InlineData(values=values), width=720, height=220).mark_bar(color=COLOURS[0])
    encoded = chart.encode(
        x=alt.X("month:O", timeUnit="yearmonth", title=None),
        y=alt.Y("workers:Q", title=_WORKERS[language], axis=alt.Axis(tickMinStep=1)),
    )
    return plot_response(draw(encoded, language))


@router.get("/districts.svg")
def plot_districts(request: Request, visitor: CompanyReader) -> Response:
    """Workers covered in each district, as the page's table has them."""
    language = page_language(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        impact = read_figures(request.app, connection, funder_of(visitor)).impact
    values: list[dict[str, Any]] = [
        {"district": region_name(code) if code else _OTHERS[language], "workers": reach.workers}
        for code, reach in impact.districts.items()
    ]
    chart = alt.Chart(alt.InlineData(values=values), width=560, height=alt.Step(20)).mark_bar(
        color=COLOURS[0]
    )
    encoded = chart.encode(
        x=alt.X("workers:Q", title=_WORKERS[language], axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("district:N", title=None, sort="-x"),
    )
    return plot_response(draw(encoded, language))


@cache
def legal_sources() -> dict[str, str]:
    """Programme -> the law that its price in the tariff table goes by."""
    rows = default_table().rows
    return {
        programme: next(
            row.law.partition(" (")[0]
            for row in rows
            if row.programme == programme and row.payer in (None, Payer.CSR) and not row.switch
        )
        for programme in Programme
    }
