"""One's own account: open sessions, password."""

from __future__ import annotations

import uuid
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import GRANTS, NotFoundError, OwnAccount, Permission
from portal.accounts.sign_in import address_of, now
from portal.cookies import set_session_cookie
from portal.page import render_page
from workflow.password import LONGEST_PASSWORD, SHORTEST_PASSWORD, PasswordRefusedError
from workflow.sign_in import (
    SignInRefusedError,
    Visitor,
    change_password,
    list_sessions,
    revoke_other_sessions,
    revoke_session,
)

router = APIRouter()

Password = Annotated[str, Form(max_length=1000)]


#: What a browser's own long description holds -> what people call it; the first that fits counts.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def name_device(user_agent: str) -> str:
    """``Chrome · Windows`` of a browser's description of itself; what is not known, as it was sent."""
    known = (
        next((name for mark, name in names if mark in user_agent), "") for names in (_BROWSERS, _SYSTEMS)
    )
    return " · ".join(name for name in known if name) or user_agent


@router.get("/account")
def show_account(request: Request, visitor: OwnAccount) -> Response:
    """Who one is here, and where one is signed in."""
    return _render(request, visitor)


@router.post("/account/password")
def post_password(
    request: Request, visitor: OwnAccount, old: Password, password: Password, again: Password
) -> Response:
    """Change the password; the other sessions end."""
    if password != again:
        return _render(request, visitor, 422, "differ")
    engine = request.app.state.portal.engine
    try:
        signed_in = change_password(engine, visitor, old, password, address_of(request), now())
    except PasswordRefusedError as error:
        return _render(request, visitor, 422, error.reason)
    except SignInRefusedError:
        return _render(request, visitor, 422, "wrong")
    response = _render(request, visitor, done=True)
    set_session_cookie(request, response, signed_in.token)
    return response


@router.post("/account/sessions/end-others")
def post_end_others(request: Request, visitor: OwnAccount) -> Response:
    """End every session of the account but this one."""
    revoke_other_sessions(request.app.state.portal.engine, visitor)
    return RedirectResponse("/account", 303)


@router.post("/account/sessions/{session_id}/end")
def post_end(request: Request, visitor: OwnAccount, session_id: uuid.UUID) -> Response:
    """End one of one's own sessions."""
    if not revoke_session(request.app.state.portal.engine, visitor.account_id, session_id):
        raise NotFoundError
    return RedirectResponse("/account", 303)


def _render(
    request: Request, visitor: Visitor, status_code: int = 200, problem: str = "", done: bool = False
) -> Response:
    sessions = list_sessions(request.app.state.portal.engine, visitor.account_id, now())
    return render_page(
        request,
        "accounts/account.html",
        visitor=visitor,
        status_code=status_code,
        sessions=sessions,
        name_device=name_device,
        problem=problem,
        done=done,
        may_manage=Permission.MANAGE_PEOPLE in GRANTS[visitor.role],
        shortest=SHORTEST_PASSWORD,
        longest=LONGEST_PASSWORD,
    )
