"""Access: who may do what. Every route names its permission here or is listed as public.

``require(Permission.X)`` is the only place where a request is let through. ``check_routes`` refuses to
start a portal with a route that names none, so that a forgotten guard is not an open door.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts

from models.role import Role
from portal.cookies import read_session_cookie
from workflow.api_key import PREFIX, check_key
from workflow.sign_in import Missing, Visitor, check_session


class Permission(StrEnum):
    """What a route may need. Objects are narrowed further by the visitor's scope (``portal.unit``)."""

    OWN_ACCOUNT = "own_account"
    READ_OVERVIEW = "read_overview"
    READ_FUNDS = "read_funds"
    CHANGE_FUNDS = "change_funds"
    READ_REVIEW = "read_review"
    DECIDE = "decide"
    ENROL = "enrol"
    ASK_WHAT_IF = "ask_what_if"
    READ_UNFUNDED = "read_unfunded"
    READ_AUDIT = "read_audit"
    READ_ALERTS = "read_alerts"
    MANAGE_ALERTS = "manage_alerts"
    MANAGE_HOUSE_ALERTS = "manage_house_alerts"
    READ_OWN_FUNDS = "read_own_funds"
    OFFER_PLEDGE = "offer_pledge"
    MARK_MESSAGES = "mark_messages"
    VERIFY_WORKERS = "verify_workers"
    MANAGE_PEOPLE = "manage_people"
    MANAGE_API_KEYS = "manage_api_keys"
    MANAGE_POLICIES = "manage_policies"
    READ_HEALTH = "read_health"
    READ_METRICS = "read_metrics"
    REPLAY_DEAD_LETTERS = "replay_dead_letters"
    OPERATE = "operate"
    SUBMIT_EVENTS = "submit_events"


_EVERYBODY = frozenset({Permission.OWN_ACCOUNT, Permission.READ_OVERVIEW})
_OFFICE_READS = frozenset(
    {
        Permission.READ_FUNDS,
        Permission.READ_REVIEW,
        Permission.ASK_WHAT_IF,
        Permission.READ_UNFUNDED,
        Permission.READ_AUDIT,
        Permission.READ_ALERTS,
    }
)
_COMPANY = frozenset({Permission.READ_OWN_FUNDS, Permission.OFFER_PLEDGE, Permission.MARK_MESSAGES})

#: Money and accounts are apart: who names officers does not decide, and the reverse.
GRANTS: Final[dict[Role, frozenset[Permission]]] = {
    "officer": _EVERYBODY
    | _OFFICE_READS
    | {
        Permission.CHANGE_FUNDS,
        Permission.DECIDE,
        Permission.ENROL,
        Permission.MANAGE_ALERTS,
        Permission.SUBMIT_EVENTS,
    },
    "company_user": _EVERYBODY | _COMPANY,
    "company_admin": _EVERYBODY | _COMPANY | {Permission.MANAGE_PEOPLE},
    "verifier": _EVERYBODY | {Permission.VERIFY_WORKERS},
    "auditor": _EVERYBODY | _OFFICE_READS,
    "administrator": _EVERYBODY
    | {
        Permission.MANAGE_PEOPLE,
        Permission.MANAGE_API_KEYS,
        Permission.MANAGE_POLICIES,
        Permission.READ_AUDIT,
        Permission.READ_ALERTS,
        Permission.MANAGE_HOUSE_ALERTS,
        Permission.READ_HEALTH,
        Permission.READ_METRICS,
        Permission.REPLAY_DEAD_LETTERS,
        Permission.OPERATE,
        Permission.SUBMIT_EVENTS,
    },
}

#: What takes a person: an API key never has it, whatever its role (``workflow.api_key`` says why).
PEOPLE_ONLY: Final = frozenset(
    {
        Permission.OWN_ACCOUNT,
        Permission.DECIDE,
        Permission.ENROL,
        Permission.CHANGE_FUNDS,
        Permission.MARK_MESSAGES,
        Permission.VERIFY_WORKERS,
        Permission.MANAGE_ALERTS,
        Permission.MANAGE_PEOPLE,
        Permission.MANAGE_API_KEYS,
    }
)

#: Whoever is not signed in needs these.
PUBLIC_PATHS: Final = frozenset(
    {
        "/healthz",
        "/login",
        "/login/oidc",
        "/login/oidc/callback",
        "/logout",
        "/invitation/{token}",
        "/reset/{token}",
        "/verify/{code}",
    }
)


class NotSignedInError(Exception):
    """401: nobody is signed in, or what ``missing`` says is still owed."""

    def __init__(self, missing: Missing | None = None) -> None:
        super().__init__(missing or "nobody is signed in")
        self.missing = missing


class ForbiddenError(Exception):
    """403: the role does not have the permission."""


class NotFoundError(Exception):
    """404: there is no such object, or it is none of the visitor's; both look the same."""


def find_visitor(request: Request) -> Visitor | None:
    """Who asks, read from the database once per request; half signed-in visitors too."""
    state = request.state
    if not hasattr(state, "visitor"):
        portal, now = request.app.state.portal, dt.datetime.now(dt.UTC)
        if (key := read_api_key(request)) is not None:
            state.visitor = check_key(portal.engine, key, now)
        elif (token := read_session_cookie(request)) is not None:
            state.visitor = check_session(portal.engine, token, now, demo=portal.settings.demo)
        else:
            state.visitor = None
    visitor: Visitor | None = state.visitor
    return visitor


def read_api_key(request: Request) -> str | None:
    """The API key that a program shows. Pages take none; where there is one, cookies do not count."""
    if not request.url.path.startswith("/api/") and request.url.path != "/metrics":
        return None
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip().startswith(PREFIX) else None


def is_granted(visitor: Visitor, permission: Permission) -> bool:
    """Whether the visitor's role has the permission, and may use it the way it came."""
    return permission in GRANTS[visitor.role] and not (visitor.by_key and permission in PEOPLE_ONLY)


def require(permission: Permission, *others: Permission) -> Any:
    """The dependency that lets through whoever has ``permission`` or one of ``others``::

    def show(visitor: Annotated[Visitor, require(Permission.READ_FUNDS)]) -> Response: ...
    """

    def check(request: Request) -> Visitor:
        visitor = find_visitor(request)
        if visitor is None or visitor.missing is not None:
            raise NotSignedInError(visitor.missing if visitor else None)
        if not any(is_granted(visitor, each) for each in (permission, *others)):
            raise ForbiddenError
        request.app.state.portal.limits.check_account(request, visitor)
        return visitor

    check.access = permission  # type: ignore[attr-defined]
    return Depends(check)


def require_missing(missing: Missing) -> Any:
    """The dependency for the steps between password and session: lets through who still owes ``missing``."""

    def check(request: Request) -> Visitor:
        visitor = find_visitor(request)
        if visitor is None or visitor.missing != missing:
            raise NotSignedInError(visitor.missing if visitor else None)
        return visitor

    check.access = missing  # type: ignore[attr-defined]
    return Depends(check)


def require_overview() -> Any:
    """Figures without personal data: every role's, and in the demo everybody's."""

    def check(request: Request) -> None:
        if request.app.state.portal.settings.demo:
            return
        visitor = find_visitor(request)
        if visitor is None or visitor.missing is not None:
            raise NotSignedInError(visitor.missing if visitor else None)
        if Permission.READ_OVERVIEW not in GRANTS[visitor.role]:
            raise ForbiddenError

    check.access = Permission.READ_OVERVIEW  # type: ignore[attr-defined]
    return Depends(check)


def require_network_or(permission: Permission) -> Any:
    """The dependency for programs that show no key: lets the networks of ``metrics_networks`` through, and
    whoever has ``permission`` from anywhere."""
    granted = require(permission).dependency

    def check(request: Request) -> None:
        networks = request.app.state.portal.settings.metrics_networks
        if not is_within(request.client.host if request.client else None, networks):
            granted(request)

    check.access = permission  # type: ignore[attr-defined]
    return Depends(check)


def is_within(host: str | None, networks: tuple[str, ...]) -> bool:
    """Whether a machine's address lies in one of the networks."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(network) for network in networks)


def routes_of(app: FastAPI) -> Iterator[RouteContext]:
    """Every route, those of included routers too; static files are public by nature."""
    for route in iter_route_contexts(app.routes):
        if not (route.path == "/static" and route.methods is None):
            yield route


def access_of(route: RouteContext) -> str | None:
    """The permission or step a route names, ``public``, or ``None`` when it was forgotten."""
    if route.path in PUBLIC_PATHS:
        return "public"
    dependant: Dependant | None = getattr(route, "dependant", None)
    return None if dependant is None else next(_named(dependant), None)


def _named(dependant: Dependant) -> Iterator[str]:
    for each in dependant.dependencies:
        access = getattr(each.call, "access", None)
        if access is not None:
            yield str(access)
        yield from _named(each)


def check_routes(app: FastAPI) -> None:
    """Refuse a portal with a route that names no permission. Raises ``RuntimeError``."""
    open_doors = [str(route.path) for route in routes_of(app) if access_of(route) is None]
    if open_doors:
        raise RuntimeError(f"routes without a permission: {', '.join(sorted(open_doors))}")


OwnAccount = Annotated[Visitor, require(Permission.OWN_ACCOUNT)]
PeopleManager = Annotated[Visitor, require(Permission.MANAGE_PEOPLE)]
