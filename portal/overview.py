"""The first page: how far a regency's vulnerable workers are covered, and by whose money.

The same figures as the demo's screen and ``gotong status``, all from ``workflow/report.py``.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.exc import SQLAlchemyError

from models.reason import REASONS
from portal.access import find_visitor
from portal.page import common_context
from portal.region_name import region_name
from portal.words import LANGUAGES, Language, choose_language
from workflow.report import FundFigures, Overview

router = APIRouter()

LANGUAGE_COOKIE: Final = "gotong_language"
FUNDS_SHOWN: Final = 12
_YEAR_SECONDS: Final = 365 * 24 * 3600


@router.get("/", response_class=HTMLResponse)
def show_overview(
    request: Request,
    lang: str | None = None,
    regency: str | None = None,
    funds: str | None = None,
) -> Response:
    """The whole page. ``lang`` is remembered in a cookie; ``funds=all`` lists every fund."""
    language = _language(request, lang)
    response = _render(request, "overview.html", language, regency, funds == "all")
    if lang in LANGUAGES:
        response.set_cookie(LANGUAGE_COOKIE, language, max_age=_YEAR_SECONDS, httponly=True, samesite="lax")
    return response


@router.get("/figures", response_class=HTMLResponse)
def show_figures(
    request: Request,
    regency: str | None = None,
    funds: str | None = None,
    lang: str | None = None,
    seen: Annotated[str, Query(max_length=64)] = "",
    hx_request: Annotated[str, Header()] = "",
) -> Response:
    """The figures alone, for the page to refresh itself; 204 when they are those the page has ``seen``."""
    language = _language(request, lang)
    response = _render(request, "_figures.html", language, regency, funds == "all")
    if seen and response.headers.get("X-Figures") == seen:
        return Response(status_code=204)
    return response


def _render(
    request: Request, template: str, language: Language, regency: str | None, all_funds: bool
) -> HTMLResponse:
    portal = request.app.state.portal
    code = regency or portal.settings.regencies[0]
    page = portal.templates[language].get_template
    visitor = find_visitor(request) if template == "overview.html" else None
    common = common_context(request, language, "UTC", visitor) | {"all_funds": all_funds}
    if code not in portal.settings.regencies:
        message = page("unavailable.html").render(**common, problem="unknown_regency")
        return HTMLResponse(message, status_code=404)
    try:
        figures: Overview = portal.overview(code)
        timezone = portal.timezone(code)
    except SQLAlchemyError:
        message = page("unavailable.html").render(**common, problem="database")
        return HTMLResponse(message, status_code=503)
    seen = hashlib.sha256(f"{language}{all_funds}{figures}".encode()).hexdigest()[:16]
    ordered = order_funds(figures.funds)
    html = page(template).render(
        common_context(request, language, timezone, visitor),
        all_funds=all_funds,
        figures=figures,
        regency=code,
        regencies=[(each, region_name(each)) for each in portal.settings.regencies],
        regency_name=region_name(code),
        seen=seen,
        funds=ordered if all_funds else ordered[:FUNDS_SHOWN],
        funds_total=len(ordered),
        pledged_rupiah=sum(fund.pledged_rupiah for fund in ordered),
        available_rupiah=sum(fund.available_rupiah for fund in ordered),
        reasons=REASONS,
    )
    return HTMLResponse(html, headers={"X-Figures": seen})


def order_funds(funds: tuple[FundFigures, ...]) -> list[FundFigures]:
    """Greatest total first. Totals change seldom, so rows do not move while somebody reads them."""
    return sorted(funds, key=lambda fund: (-fund.pledged_rupiah, fund.code))


def _language(request: Request, asked: str | None) -> Language:
    return choose_language(
        asked, request.cookies.get(LANGUAGE_COOKIE), request.app.state.portal.settings.language
    )
