"""People: the administrator's accounts; for a company's administrator those of the company alone."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, get_args

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from models.role import ROLES, Role
from portal.access import ForbiddenError, NotFoundError, PeopleManager
from portal.accounts.sign_in import now
from portal.page import render_page
from workflow.account import (
    AccountRefusedError,
    AccountUnknownError,
    Invitation,
    Scope,
    change_role,
    create_account,
    disable_account,
    enable_account,
    issue_link,
    list_accounts,
    reset_second_factor,
)
from workflow.sign_in import Visitor

router = APIRouter(prefix="/people")

Text = Annotated[str, Form(max_length=300)]


@router.get("")
def show_people(request: Request, visitor: PeopleManager) -> Response:
    """Who may use the portal, and as what."""
    return _render(request, visitor)


@router.post("")
def post_person(
    request: Request,
    visitor: PeopleManager,
    email: Text,
    name: Text,
    role: Text,
    scope: Text = "",
) -> Response:
    """Invite somebody; the link is shown this once."""
    chosen, asked = read_role(visitor, role, scope)
    if chosen is None:
        return _render(request, visitor, 422, "scope_wrong")
    try:
        invitation = create_account(
            request.app.state.portal.engine,
            visitor.email,
            email=email,
            name=name,
            role=chosen,
            scope=asked,
            now=now(),
            within=company_of(visitor),
        )
    except AccountRefusedError as error:
        return _render(request, visitor, 422, error.reason)
    return _render(request, visitor, invitation=invitation)


@router.post("/{account_id}/role")
def post_role(
    request: Request, visitor: PeopleManager, account_id: uuid.UUID, role: Text, scope: Text = ""
) -> Response:
    """Give another role; it holds from the person's next request on."""
    chosen, asked = read_role(visitor, role, scope)

    def change() -> None:
        if chosen is None:
            raise AccountRefusedError("scope_wrong")
        engine = request.app.state.portal.engine
        change_role(engine, visitor.email, account_id, chosen, asked, now(), company_of(visitor))

    return _act(request, visitor, account_id, change)


@router.post("/{account_id}/disable")
def post_disable(request: Request, visitor: PeopleManager, account_id: uuid.UUID) -> Response:
    """Shut somebody out at once."""
    engine = request.app.state.portal.engine
    return _act(
        request,
        visitor,
        account_id,
        lambda: disable_account(engine, visitor.email, account_id, now(), company_of(visitor)),
    )


@router.post("/{account_id}/enable")
def post_enable(request: Request, visitor: PeopleManager, account_id: uuid.UUID) -> Response:
    """Let somebody in again."""
    engine = request.app.state.portal.engine
    return _act(
        request,
        visitor,
        account_id,
        lambda: enable_account(engine, visitor.email, account_id, now(), company_of(visitor)),
    )


@router.post("/{account_id}/second-factor")
def post_second_factor(request: Request, visitor: PeopleManager, account_id: uuid.UUID) -> Response:
    """Forget a lost authenticator."""
    engine = request.app.state.portal.engine
    return _act(
        request,
        visitor,
        account_id,
        lambda: reset_second_factor(engine, visitor.email, account_id, now(), company_of(visitor)),
    )


@router.post("/{account_id}/link")
def post_link(request: Request, visitor: PeopleManager, account_id: uuid.UUID) -> Response:
    """A new link to accept the invitation or to set a new password, shown this once."""
    try:
        link = issue_link(
            request.app.state.portal.engine, visitor.email, account_id, now(), company_of(visitor)
        )
    except AccountUnknownError:
        raise NotFoundError from None
    except AccountRefusedError as error:
        return _render(request, visitor, 422, error.reason)
    return _render(request, visitor, invitation=link)


def _act(request: Request, visitor: Visitor, account_id: uuid.UUID, action: Callable[[], None]) -> Response:
    try:
        action()
    except AccountUnknownError:
        raise NotFoundError from None
    except AccountRefusedError as error:
        return _render(request, visitor, 422, error.reason)
    return RedirectResponse("/people", 303)


def company_of(visitor: Visitor) -> str | None:
    """The funder whose people this visitor may see; ``None`` is everybody, for administrators alone."""
    if visitor.role == "administrator":
        return None
    if visitor.funder is None:
        raise ForbiddenError
    return visitor.funder


def read_role(visitor: Visitor, role: str, scope: str) -> tuple[Role | None, Scope]:
    """The role, and the scope read as that role's: a regency, an NPWP or a village."""
    chosen: Role | None = next((known for known in get_args(Role) if known == role), None)
    scope = scope.strip()
    if visitor.role != "administrator":
        return chosen, Scope(funder=visitor.funder)
    match chosen:
        case "company_user" | "company_admin":
            return chosen, Scope(funder=scope)
        case "verifier":
            return chosen, Scope(village=scope)
        case _:
            return chosen, Scope(regency=scope)


def address_of_link(request: Request, invitation: Invitation) -> str:
    """Where the link's owner sets a password."""
    return f"{request.url.scheme}://{request.url.netloc}/{invitation.purpose}/{invitation.token}"


def _render(
    request: Request,
    visitor: Visitor,
    status_code: int = 200,
    problem: str = "",
    invitation: Invitation | None = None,
) -> Response:
    portal = request.app.state.portal
    return render_page(
        request,
        "accounts/people.html",
        visitor=visitor,
        status_code=status_code,
        accounts=list_accounts(portal.engine, company_of(visitor)),
        roles=ROLES if visitor.role == "administrator" else ("company_user", "company_admin"),
        problem=problem,
        invitation=invitation,
        link="" if invitation is None else address_of_link(request, invitation),
    )
