"""Page: a template with the reader's language, and the words of every refusal."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from models.database import connect_alone
from portal.access import Permission, is_granted
from portal.navigation import menu_of
from portal.region_name import region_name
from portal.unit import open_unit
from portal.words import LANGUAGES, Language, Words, choose_language
from workflow.alert_list import count_concerning
from workflow.mark_messages import read_mark
from workflow.read_company import count_unread
from workflow.sign_in import Visitor

LANGUAGE_COOKIE: Final = "gotong_language"
_YEAR_SECONDS: Final = 365 * 24 * 3600
_BADGE_COUNTS_TO: Final = 100

#: Reason -> title of an API's problem; pages have their own words in refused.html.
_TITLES: Final = {
    "not_signed_in": "Sign in first",
    "second_factor": "The second factor is missing",
    "enrolment": "A second factor must be set up first",
    "forbidden": "Your role does not allow this",
    "cross_site": "The request came from another site",
    "not_found": "There is no such thing here",
    "method_not_allowed": "This cannot be done here",
    "too_many": "Too many attempts",
    "invalid": "The request is not complete",
    "unavailable": "The database does not answer",
    "failed": "The portal made a mistake",
}


def page_language(request: Request) -> Language:
    """The language asked for, else the remembered one, else the house's."""
    return choose_language(
        request.query_params.get("lang"),
        request.cookies.get(LANGUAGE_COOKIE),
        request.app.state.portal.settings.language,
    )


def render_page(
    request: Request, template: str, *, visitor: Visitor | None = None, status_code: int = 200, **context: Any
) -> HTMLResponse:
    """The template in the reader's language and time zone; ``lang`` in the address is remembered."""
    portal = request.app.state.portal
    language = page_language(request)
    timezone = portal.timezone((visitor.regency if visitor else None) or portal.settings.regencies[0])
    response = _render(request, template, language, timezone, visitor, status_code, context)
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie(
            LANGUAGE_COOKIE,
            language,
            max_age=_YEAR_SECONDS,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
    return response


def render_refusal(request: Request, status_code: int, reason: str, **context: Any) -> Response:
    """Why not, as a page or, for programs, as application/problem+json. It never says what was asked for,
    so that an object of somebody else's and one that does not exist look the same."""
    if _wants_json(request):
        title = _TITLES[reason]
        body = {"type": f"urn:gotong:problem:{reason}", "title": title, "status": status_code}
        return JSONResponse(body, status_code, media_type="application/problem+json")
    context = {"reason": reason, "next": _return_address(request), "seconds": 0} | context
    response = _render(request, "refused.html", page_language(request), "UTC", None, status_code, context)
    if status_code == 401 and request.headers.get("hx-request"):
        response.headers["HX-Redirect"] = "/login"
    return response


def _render(
    request: Request,
    template: str,
    language: Language,
    timezone: str,
    visitor: Visitor | None,
    status_code: int,
    context: dict[str, Any],
) -> HTMLResponse:
    template_context = common_context(request, language, timezone, visitor) | context
    html = request.app.state.portal.templates[language].get_template(template).render(template_context)
    return HTMLResponse(html, status_code)


def common_context(
    request: Request, language: Language, timezone: str, visitor: Visitor | None
) -> dict[str, Any]:
    """What every template may use: words in the reader's language, the visitor and the menu."""

    def language_address(code: str) -> str:
        """This very page, search and all, in another language."""
        return "?" + urlencode({**request.query_params, "lang": code})

    return {
        "language": language,
        "other": "en" if language == "id" else "id",
        "words": Words(language, timezone),
        # A part that htmx puts into a page; the same address opened by itself is a whole page.
        "part": request.headers.get("hx-request") == "true",
        "visitor": visitor,
        "menu": menu_of(visitor.role, request.url.path) if visitor and visitor.missing is None else [],
        "language_address": language_address,
        "count_alerts": lambda: _count_alerts(request, visitor),
        "count_messages": lambda: _count_messages(request, visitor),
        "region_name": region_name,
    }


def _count_alerts(request: Request, visitor: Visitor | None) -> int | None:
    """Open alerts that concern the visitor; ``None`` for who reads none. Whole pages ask, parts do not."""
    if visitor is None or not is_granted(visitor, Permission.READ_ALERTS):
        return None
    with connect_alone(request.app.state.portal.engine) as connection:
        return count_concerning(connection, visitor)


def _count_messages(request: Request, visitor: Visitor | None) -> int | None:
    """Messages that are new to a company's person, as far as a badge counts; ``None`` for others."""
    if visitor is None or visitor.funder is None or not is_granted(visitor, Permission.READ_OWN_FUNDS):
        return None
    engine = request.app.state.portal.engine
    mark = read_mark(engine, visitor.account_id)
    with open_unit(engine, visitor) as connection:
        return count_unread(connection, visitor.funder, mark, most=_BADGE_COUNTS_TO)


def _return_address(request: Request) -> str:
    """Where to go after signing in: only pages, for a form cannot be sent again."""
    if request.method != "GET":
        return "/"
    query = f"?{request.url.query}" if request.url.query else ""
    return request.url.path + query


def _wants_json(request: Request) -> bool:
    return request.url.path.startswith("/api/") or "application/json" in request.headers.get("accept", "")
