"""The officers' first page: what waits for them, where the money is, how coverage moves."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Annotated, Final

import altair as alt
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import GRANTS, Permission, require
from portal.kept import Kept, kept_figures
from portal.office.regency import regency_of
from portal.page import page_language, render_page
from portal.plot import COLOURS, draw, plot_response, rupiah_axis
from portal.unit import open_unit
from portal.words import Language
from workflow.alert_list import list_alerts
from workflow.alert_words import path_of, say
from workflow.cancel_match import NothingRunsError, cancel_match
from workflow.read_today import DistrictCoverage, MoneyLeft, Today, read_districts, read_today
from workflow.report import FundFigures
from workflow.sign_in import Visitor

router = APIRouter()
Reader = Annotated[Visitor, require(Permission.READ_REVIEW)]
Decider = Annotated[Visitor, require(Permission.DECIDE)]

_FUNDS_SHOWN: Final = 8
_ALERTS_SHOWN: Final = 5
#: Series of the burn-down by the fund's kind, as the legend says them.
_NAMES: Final[dict[Language, dict[str, str]]] = {
    "id": {"": "Semua", "csr": "TJSLP", "apbd": "APBD", "plan": "pemakaian merata"},
    "en": {"": "All", "csr": "CSR", "apbd": "APBD", "plan": "even use"},
}


@dataclass(frozen=True, slots=True)
class MoneyTotal:
    """Funds of one kind together (or all: empty kind), in rupiah."""

    kind: str
    funds: int
    pledged_rupiah: int
    available_rupiah: int
    reserved_rupiah: int
    committed_rupiah: int
    disbursed_rupiah: int
    expired_rupiah: int


@dataclass(frozen=True, slots=True)
class BurnDown:
    """One line of the plot: what is left at the end of each day, and the month in which it must be used."""

    kind: str
    left: tuple[tuple[dt.date, int], ...]
    ends: dt.date


@router.get("/today")
def show_today(request: Request, visitor: Reader) -> Response:
    """The whole page."""
    return _render(request, visitor, "office/today.html")


@router.get("/today/figures")
def show_figures(request: Request, visitor: Reader) -> Response:
    """The figures alone, for the page to refresh itself."""
    return _render(request, visitor, "office/today_figures.html")


@router.get("/today/burn-down.svg")
def show_burn_down(request: Request, visitor: Reader) -> Response:
    """Money left day by day, against an even use until the window ends."""
    today = _read(request, regency_of(request, visitor), ())
    return plot_response(draw_burn_downs(burn_downs(today), page_language(request)))


@router.post("/today/cancel-match")
def post_cancel(request: Request, visitor: Decider) -> Response:
    """Stop the match that is under way; one that ended meanwhile is left as it is."""
    with suppress(NothingRunsError):
        cancel_match(
            request.app.state.portal.engine,
            regency_of(request, visitor),
            visitor.email,
            dt.datetime.now(dt.UTC),
        )
    return RedirectResponse("/today#run-title", 303)


def _render(request: Request, visitor: Visitor, template: str) -> Response:
    regency = regency_of(request, visitor)
    districts = read_coverage(request.app, regency)
    today = _read(request, regency, districts.value)
    language = page_language(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        alerts = list_alerts(connection, visitor, "open", _ALERTS_SHOWN)
    return render_page(
        request,
        template,
        visitor=visitor,
        regency=regency,
        today=today,
        read_at=districts.read_at,
        totals=[add_up("", today.funds)]
        + [add_up(kind, funds) for kind, funds in groupby(today.funds, key=lambda fund: fund.kind)],
        largest=sorted(today.funds, key=lambda fund: (-fund.pledged_rupiah, fund.code))[:_FUNDS_SHOWN],
        burn_downs=burn_downs(today),
        may_cancel=Permission.DECIDE in GRANTS[visitor.role],
        alerts=[
            (
                alert.severity,
                say(alert.kind, alert.subject, alert.value, alert.facts, language),
                path_of(alert.kind, alert.subject, alert.facts, visitor.role),
            )
            for alert in alerts
        ],
    )


def _read(request: Request, regency: str, districts: Sequence[DistrictCoverage]) -> Today:
    return read_today(request.app.state.portal.engine, regency, districts)


def read_coverage(app: FastAPI, regency: str) -> Kept[tuple[DistrictCoverage, ...]]:
    """The districts' coverage, kept for a while: at a million workers counting takes a second."""
    engine = app.state.portal.engine

    def read(code: str) -> tuple[DistrictCoverage, ...]:
        with engine.connect() as connection:
            return read_districts(connection, code, dt.datetime.now(dt.UTC))

    return kept_figures(app, "coverage", read).of(regency)


def add_up(kind: str, funds: Iterable[FundFigures]) -> MoneyTotal:
    """The money of several funds together."""
    funds = list(funds)
    return MoneyTotal(
        kind,
        len(funds),
        sum(fund.pledged_rupiah for fund in funds),
        sum(fund.available_rupiah for fund in funds),
        sum(fund.reserved_rupiah for fund in funds),
        sum(fund.committed_rupiah for fund in funds),
        sum(fund.disbursed_rupiah for fund in funds),
        sum(fund.expired_rupiah for fund in funds),
    )


def burn_downs(today: Today) -> tuple[BurnDown, ...]:
    """All funds together, then each kind. ``ends`` is the first day after the last window."""
    lines = []
    for kind in ("", *sorted({each.kind for each in today.money})):
        left = _left_by_day([each for each in today.money if kind in ("", each.kind)])
        windows = [fund.window_to for fund in today.funds if kind in ("", fund.kind)]
        if left and windows:
            last = max(windows)
            lines.append(BurnDown(kind, tuple(left), first_day_after(last)))
    return tuple(lines)


def first_day_after(month: dt.date) -> dt.date:
    """The first day of the next month."""
    return dt.date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _left_by_day(money: Sequence[MoneyLeft]) -> list[tuple[dt.date, int]]:
    """The sum over the kinds at the end of each day on which one of them moved."""
    standing: dict[str, int] = {}
    left = []
    for day, changes in groupby(sorted(money, key=lambda each: each.day), key=lambda each: each.day):
        standing |= {change.kind: change.left_rupiah for change in changes}
        left.append((day, sum(standing.values())))
    return left


@lru_cache(maxsize=32)
def draw_burn_downs(lines: tuple[BurnDown, ...], language: Language) -> bytes:
    """The lines as SVG, each with a dashed one to nothing at its end; the same ones are drawn once."""
    names = _NAMES[language]
    left = [
        {"day": day.isoformat(), "left": amount, "of": names[line.kind]}
        for line in lines
        for day, amount in line.left
    ]
    even = [
        {"day": day.isoformat(), "left": amount, "of": names[line.kind]}
        for line in lines
        for day, amount in (line.left[-1], (line.ends, 0))
    ]
    axes = {
        "x": alt.X("day:T", title=None, axis=alt.Axis(format="%b %Y", tickCount=7, labelOverlap=True)),
        "y": alt.Y("left:Q", title=None, axis=rupiah_axis(language)),
        "color": alt.Color(
            "of:N",
            title=None,
            scale=alt.Scale(domain=[names[kind] for kind in ("", "csr", "apbd")], range=list(COLOURS[:3])),
        ),
    }
    stands = (
        alt.Chart(alt.InlineData(values=left)).mark_line(interpolate="step-after", point=True).encode(**axes)
    )
    goes = alt.Chart(alt.InlineData(values=even)).mark_line(strokeDash=[4, 4], opacity=0.7).encode(**axes)
    return draw(alt.LayerChart(layer=[stands, goes]).properties(width=760, height=240), language)
