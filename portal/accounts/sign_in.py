"""Signing in: password, second factor, its enrolment, signing out."""

from __future__ import annotations

import datetime as dt
import io
from typing import Annotated
from urllib.parse import parse_qs, quote, urlsplit

import segno
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from models.vault import Vault
from portal.access import find_visitor, require_missing
from portal.cookies import clear_session_cookie, read_session_cookie, set_session_cookie
from portal.page import render_page
from workflow.account import DEMO_PASSWORD, list_demo_accounts
from workflow.lock_out import LockedOutError
from workflow.sign_in import (
    SessionGoneError,
    SignInRefusedError,
    Visitor,
    confirm_totp,
    give_second_factor,
    show_demo_code,
    sign_in,
    sign_out,
    start_totp,
)

router = APIRouter()

Enrolling = Annotated[Visitor, require_missing("enrolment")]
Confirming = Annotated[Visitor, require_missing("second_factor")]
ShortText = Annotated[str, Form(max_length=300)]


@router.get("/login")
def show_login(request: Request, next: str = "/") -> Response:
    """The sign-in form; in the demo with the accounts to try."""
    visitor = find_visitor(request)
    if visitor is not None:
        return go_on(visitor.missing, next)
    return _render_login(request, next)


@router.post("/login")
def post_login(
    request: Request,
    email: ShortText,
    password: Annotated[str, Form(max_length=1000)],
    next: ShortText = "/",
) -> Response:
    """Sign in; wrong ones get the form again, in the same words and time for every e-mail address."""
    portal = request.app.state.portal
    try:
        signed_in = sign_in(
            portal.engine,
            email=email,
            password=password,
            address=address_of(request),
            device=device_of(request),
            now=now(),
            demo=portal.settings.demo,
        )
    except SignInRefusedError:
        return _render_login(request, next, 401, problem="wrong", email=email)
    except LockedOutError as error:
        answer = _render_login(request, next, 429, problem="locked", seconds=error.retry_after_seconds)
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
        return answer
    _forget_present_session(request)
    response = go_on(signed_in.missing, next)
    set_session_cookie(request, response, signed_in.token)
    return response


@router.post("/logout")
def post_logout(request: Request) -> Response:
    """End the session, here and in the database."""
    _forget_present_session(request)
    response = RedirectResponse("/login", 303)
    clear_session_cookie(request, response)
    return response


@router.get("/login/second-factor")
def show_second_factor(request: Request, visitor: Confirming, next: str = "/") -> Response:
    """Ask for the code of the authenticator."""
    return _render_factor(request, visitor, next)


@router.post("/login/second-factor")
def post_second_factor(
    request: Request, visitor: Confirming, code: ShortText, next: ShortText = "/"
) -> Response:
    """Check the code; the session gets a new token."""
    portal = request.app.state.portal
    try:
        signed_in = give_second_factor(
            portal.engine, vault_of(request), visitor, code, address_of(request), now()
        )
    except (SignInRefusedError, SessionGoneError):
        return _render_factor(request, visitor, next, 401, problem="wrong")
    response = RedirectResponse(begin_at(local_address(next)), 303)
    set_session_cookie(request, response, signed_in.token)
    return response


@router.get("/login/enrolment")
def show_enrolment(request: Request, visitor: Enrolling, next: str = "/") -> Response:
    """Show the secret as a QR code and as text, and ask for the first code."""
    return _render_enrolment(request, visitor, next)


@router.get("/login/enrolment/qr.svg")
def show_qr(request: Request, visitor: Enrolling) -> Response:
    """The secret for an authenticator's camera. From this server, so no policy has to be loosened."""
    uri = start_totp(request.app.state.portal.engine, vault_of(request), visitor)
    image = io.BytesIO()
    segno.make(uri, error="m").save(image, kind="svg", scale=5, border=4, light="#fff", dark="#000")
    return Response(image.getvalue(), media_type="image/svg+xml")


@router.post("/login/enrolment")
def post_enrolment(request: Request, visitor: Enrolling, code: ShortText, next: ShortText = "/") -> Response:
    """Confirm the authenticator and show the recovery codes, this once."""
    portal = request.app.state.portal
    try:
        signed_in, codes = confirm_totp(
            portal.engine, vault_of(request), visitor, code, address_of(request), now()
        )
    except (SignInRefusedError, SessionGoneError):
        return _render_enrolment(request, visitor, next, 401, problem="wrong")
    response = render_page(
        request, "accounts/recovery_codes.html", visitor=visitor, codes=codes, next=local_address(next)
    )
    set_session_cookie(request, response, signed_in.token)
    return response


def go_on(missing: str | None, address: str) -> RedirectResponse:
    """To the next step of signing in, or where the visitor wanted to go."""
    address = begin_at(local_address(address))
    step = {"second_factor": "/login/second-factor", "enrolment": "/login/enrolment"}.get(missing or "")
    if step is None:
        return RedirectResponse(address, 303)
    return RedirectResponse(f"{step}?next={quote(address, safe='/')}", 303)


def begin_at(address: str) -> str:
    """Whoever wanted nothing in particular begins at the page of the role (``portal.navigation``)."""
    return "/home" if address == "/" else address


def local_address(address: str) -> str:
    """The address when it stays on this site, else the first page: no open redirect."""
    stays = address.startswith("/") and not address.startswith("//") and address.isprintable()
    return address if stays and "\\" not in address else "/"


def address_of(request: Request) -> str:
    """The visitor's network address; behind a proxy the one it forwards, where uvicorn trusts it."""
    return request.client.host if request.client else "unknown"


def device_of(request: Request) -> str:
    """The browser in its own words."""
    return request.headers.get("user-agent", "")[:200]


def now() -> dt.datetime:
    """This moment."""
    return dt.datetime.now(dt.UTC)


def vault_of(request: Request) -> Vault:
    """The keys, without which no second factor can be read. Raises ``RuntimeError``."""
    vault: Vault | None = request.app.state.portal.vault
    if vault is None:
        raise RuntimeError("the portal was started without GOTONG_MASTER_KEY")
    return vault


def _forget_present_session(request: Request) -> None:
    token = read_session_cookie(request)
    if token is not None:
        sign_out(request.app.state.portal.engine, token)


def _render_login(
    request: Request,
    address: str,
    status_code: int = 200,
    *,
    problem: str = "",
    email: str = "",
    seconds: int = 0,
) -> Response:
    portal = request.app.state.portal
    return render_page(
        request,
        "accounts/login.html",
        status_code=status_code,
        problem=problem,
        next=local_address(address),
        demo_accounts=list_demo_accounts(portal.engine) if portal.settings.demo else [],
        demo_password=DEMO_PASSWORD,
        oidc=portal.settings.oidc is not None,
        email=email,
        seconds=seconds,
    )


def _render_factor(
    request: Request, visitor: Visitor, address: str, status_code: int = 200, *, problem: str = ""
) -> Response:
    engine, vault = request.app.state.portal.engine, vault_of(request)
    demo_code = (
        show_demo_code(engine, vault, visitor, now()) if request.app.state.portal.settings.demo else None
    )
    return render_page(
        request,
        "accounts/second_factor.html",
        visitor=visitor,
        status_code=status_code,
        problem=problem,
        next=local_address(address),
        demo_code=demo_code,
    )


def _render_enrolment(
    request: Request, visitor: Visitor, address: str, status_code: int = 200, *, problem: str = ""
) -> Response:
    uri = start_totp(request.app.state.portal.engine, vault_of(request), visitor)
    secret = parse_qs(urlsplit(uri).query)["secret"][0]
    return render_page(
        request,
        "accounts/enrolment.html",
        visitor=visitor,
        status_code=status_code,
        problem=problem,
        next=local_address(address),
        secret=" ".join(secret[start : start + 4] for start in range(0, len(secret), 4)),
    )
