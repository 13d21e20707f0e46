"""Links that work once: accepting an invitation, setting a new password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from portal.accounts.sign_in import now
from portal.page import render_page
from workflow.account import Purpose, TokenInvalidError, read_link, use_link
from workflow.password import LONGEST_PASSWORD, SHORTEST_PASSWORD, PasswordRefusedError

router = APIRouter()

Password = Annotated[str, Form(max_length=1000)]


@router.get("/invitation/{token}")
def show_invitation(request: Request, token: str) -> Response:
    """Ask the invited person for a password."""
    return _show(request, token, "invitation")


@router.post("/invitation/{token}")
def post_invitation(request: Request, token: str, password: Password, again: Password) -> Response:
    """Accept the invitation."""
    return _use(request, token, "invitation", password, again)


@router.get("/reset/{token}")
def show_reset(request: Request, token: str) -> Response:
    """Ask for a new password."""
    return _show(request, token, "reset")


@router.post("/reset/{token}")
def post_reset(request: Request, token: str, password: Password, again: Password) -> Response:
    """Set the new password; every open session ends."""
    return _use(request, token, "reset", password, again)


def _show(
    request: Request, token: str, purpose: Purpose, status_code: int = 200, problem: str = ""
) -> Response:
    try:
        owner = read_link(request.app.state.portal.engine, token, purpose, now())
    except TokenInvalidError:
        return render_page(request, "accounts/link_invalid.html", status_code=404)
    return render_page(
        request,
        "accounts/link.html",
        status_code=status_code,
        purpose=purpose,
        email=owner.email,
        name=owner.name,
        problem=problem,
        shortest=SHORTEST_PASSWORD,
        longest=LONGEST_PASSWORD,
    )


def _use(request: Request, token: str, purpose: Purpose, password: str, again: str) -> Response:
    if password != again:
        return _show(request, token, purpose, 422, "differ")
    try:
        use_link(request.app.state.portal.engine, token, purpose, password, now())
    except PasswordRefusedError as error:
        return _show(request, token, purpose, 422, error.reason)
    except TokenInvalidError:
        return render_page(request, "accounts/link_invalid.html", status_code=404)
    return render_page(request, "accounts/link_used.html", purpose=purpose)
