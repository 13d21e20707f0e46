"""The portal's application: pages in Jinja2, live figures by htmx, nothing from other servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from sqlalchemy import Engine, select
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.database import open_engine
from models.tables import Regency
from models.vault import Vault
from portal.access import check_routes, require_overview
from portal.accounts.links import router as links_router
from portal.accounts.oidc import OidcSettings
from portal.accounts.oidc import router as oidc_router
from portal.accounts.own import router as own_router
from portal.accounts.people import router as people_router
from portal.accounts.sign_in import router as sign_in_router
from portal.administration.dead_letters import router as dead_letters_router
from portal.administration.health import router as house_health_router
from portal.administration.keys import router as keys_router
from portal.administration.policies import router as policies_router
from portal.alert_overrides import router as alert_overrides_router
from portal.alert_rules import router as alert_rules_router
from portal.alerts import router as alerts_router
from portal.api.problem import install_problems
from portal.api.resources import router as api_router
from portal.company.impact import router as impact_router
from portal.company.messages import router as messages_router
from portal.company.offers import router as offers_router
from portal.company.overview import router as company_router
from portal.company.statement import router as statement_router
from portal.company.workers import router as company_workers_router
from portal.components import router as components_router
from portal.health import router as health_router
from portal.home import router as home_router
from portal.kept import KeptFigures
from portal.live import ChangeWatch
from portal.live import router as live_router
from portal.metrics import install_metrics
from portal.metrics import router as metrics_router
from portal.office.audit import router as audit_router
from portal.office.desk import Desk
from portal.office.enrolment import router as enrolment_router
from portal.office.funds import router as funds_router
from portal.office.imports import router as imports_router
from portal.office.review import router as review_router
from portal.office.today import router as today_router
from portal.office.unfunded import router as unfunded_router
from portal.office.what_if import router as what_if_router
from portal.overview import router as overview_router
from portal.page import render_refusal
from portal.security import RequestLimits, install_security
from portal.village.workers import router as village_router
from portal.words import LANGUAGES, Language, read_translations
from workflow.report import Overview, read_overview

#: Everything comes from this server; no inline script or style, no frames around or inside.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
#: Kept open; as many more may be opened for a while. Opening one costs more than most pages.
_CONNECTIONS: Final = 10
#: A server that restarts takes longer than this, so a restart still costs a reconnect and no error page.
_TRUSTED_SECONDS: Final = 0.5
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_ROUTERS: Final = (
    home_router,
    sign_in_router,
    links_router,
    own_router,
    people_router,
    oidc_router,
    live_router,
    today_router,
    review_router,
    funds_router,
    enrolment_router,
    imports_router,
    unfunded_router,
    what_if_router,
    audit_router,
    alert_rules_router,
    alert_overrides_router,
    alerts_router,
    company_router,
    company_workers_router,
    impact_router,
    messages_router,
    statement_router,
    offers_router,
    village_router,
    house_health_router,
    dead_letters_router,
    policies_router,
    keys_router,
    api_router,
    components_router,
    metrics_router,
)


@dataclass(frozen=True, slots=True)
class PortalSettings:
    """What the portal needs to know. The first of ``regencies`` is shown first."""

    database_url: str
    regencies: tuple[str, ...]
    language: Language = "id"
    demo: bool = False  # shows accounts to try, and the figures to everybody
    master_keys: tuple[bytes, ...] = field(default=(), repr=False)  # newest first, for second factors
    oidc: OidcSettings | None = None
    webhook_networks: tuple[str, ...] = ()  # internal networks that a webhook may reach
    metrics_networks: tuple[str, ...] = ()  # networks whose machines read /metrics without a key
    has_mail: bool = False  # whether the house has a mail server
    changes_per_minute: int = 300  # of one account or network address
    sign_ins_per_minute: int = 30  # of one network address
    reads_per_minute: int = 600  # of one API key or its network address


@dataclass(slots=True)
class PortalState:
    """What requests share: the engine, the templates per language, and figures that are kept for a while."""

    settings: PortalSettings
    engine: Engine
    templates: dict[Language, Environment]
    vault: Vault | None
    limits: RequestLimits
    changes: ChangeWatch
    overviews: KeptFigures[Overview]
    large_companies: set[str] = field(default_factory=set)  # whose people a page does not count itself
    _timezones: dict[str, str] = field(default_factory=dict)

    def overview(self, regency: str) -> Overview:
        """The regency's figures. However many screens are open, the database is asked twice a second at most,
        and less often the longer it takes."""
        return self.overviews.of(regency).value

    def timezone(self, regency: str) -> str:
        """The regency's time zone; it never changes while the portal runs."""
        if regency not in self._timezones:
            with self.engine.connect() as connection:
                statement = select(Regency.timezone).where(Regency.code == regency)
                self._timezones[regency] = connection.scalar(statement) or "UTC"
        return self._timezones[regency]


def create_portal(settings: PortalSettings) -> FastAPI:
    """Build the application. It opens no connection before the first request."""
    app = FastAPI(title="Gotong", docs_url=None, redoc_url=None, openapi_url=None)
    engine = open_engine(
        settings.database_url,
        pool_size=_CONNECTIONS,
        application_name="gotong-portal",
        trusted_seconds=_TRUSTED_SECONDS,
    )
    app.state.portal = PortalState(
        settings,
        engine,
        {language: _make_templates(language) for language in LANGUAGES},
        Vault(settings.master_keys[0], retired_keys=settings.master_keys[1:])
        if settings.master_keys
        else None,
        RequestLimits(settings.changes_per_minute, settings.sign_ins_per_minute, settings.reads_per_minute),
        ChangeWatch(engine),
        KeptFigures(lambda regency: read_overview(engine, regency)),
    )
    app.state.desk = Desk(settings.database_url)
    install_security(app)
    install_problems(app)
    app.add_middleware(_AddHeaders)
    install_metrics(app)
    app.include_router(overview_router, dependencies=[require_overview()])
    app.include_router(health_router)
    for router in _ROUTERS:
        app.include_router(router)
    with resources.as_file(resources.files("portal") / "static") as folder:
        app.mount("/static", StaticFiles(directory=folder), name="static")
    app.exception_handler(Exception)(_answer_mistake)
    check_routes(app)
    return app


def _answer_mistake(request: Request, error: Exception) -> Response:
    """What nobody foresaw: a page that tells nothing of it. Outermost, so it sets its headers itself."""
    response = render_refusal(request, 500, "failed")
    response.headers.update(_HEADERS)
    return response


def _make_templates(language: Language) -> Environment:
    templates = Environment(
        loader=PackageLoader("portal"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.install_gettext_translations(read_translations(language), newstyle=True)  # type: ignore[attr-defined]
    return templates


class _AddHeaders:
    """Sets the headers that every answer has, unless its page set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
