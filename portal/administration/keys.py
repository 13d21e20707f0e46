"""Keys with which programs use the JSON API."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated, get_args

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from models.role import ROLES, Role
from portal.access import NotFoundError, Permission, require
from portal.page import render_page
from workflow.account import Scope
from workflow.api_key import (
    LASTS_DAYS,
    KeyRefusedError,
    KeyUnknownError,
    NewKey,
    create_key,
    list_keys,
    revoke_key,
)
from workflow.sign_in import Visitor

router = APIRouter(prefix="/administration/keys")

KeyManager = Annotated[Visitor, require(Permission.MANAGE_API_KEYS)]
Text = Annotated[str, Form(max_length=300)]


@router.get("")
def show_keys(request: Request, visitor: KeyManager) -> Response:
    """Every key, and a form for a new one."""
    return _render(request, visitor)


@router.post("")
def post_key(
    request: Request,
    visitor: KeyManager,
    name: Text,
    role: Text,
    days: Annotated[int, Form(ge=0, le=10_000)],
    scope: Text = "",
) -> Response:
    """Make a key; its secret is shown this once."""
    chosen: Role | None = next((known for known in get_args(Role) if known == role), None)
    if chosen is None:
        return _render(request, visitor, 422, "scope_wrong")
    try:
        key = create_key(
            request.app.state.portal.engine,
            visitor.email,
            name=name,
            role=chosen,
            scope=scope_for(chosen, scope),
            days=days,
            now=dt.datetime.now(dt.UTC),
        )
    except KeyRefusedError as error:
        return _render(request, visitor, 422, error.reason)
    return _render(request, visitor, made=key)


@router.post("/{key_id}/revoke")
def post_revoke(request: Request, visitor: KeyManager, key_id: uuid.UUID) -> Response:
    """Shut a program out at once."""
    try:
        revoke_key(request.app.state.portal.engine, visitor.email, key_id, dt.datetime.now(dt.UTC))
    except KeyUnknownError:
        raise NotFoundError from None
    return RedirectResponse("/administration/keys", 303)


def scope_for(role: Role, text: str) -> Scope:
    """What was typed, read as that role's scope: a regency, an NPWP or a village."""
    text = text.strip()
    match role:
        case "company_user" | "company_admin":
            return Scope(funder=text)
        case "verifier":
            return Scope(village=text)
        case _:
            return Scope(regency=text)


def _render(
    request: Request, visitor: Visitor, status_code: int = 200, problem: str = "", made: NewKey | None = None
) -> Response:
    return render_page(
        request,
        "administration/keys.html",
        visitor=visitor,
        status_code=status_code,
        problem=problem,
        made=made,
        keys=list_keys(request.app.state.portal.engine, dt.datetime.now(dt.UTC)),
        roles=ROLES,
        lasts_days=LASTS_DAYS,
    )
