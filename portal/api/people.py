"""People through the API: invite, give another role, shut out; for a company's administrator its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from models.role import Role
from portal.access import NotFoundError, PeopleManager
from portal.accounts.people import address_of_link, company_of, read_role
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.collection import Asked, Page, cut_page, read_asked
from portal.api.problem import ProblemError
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
    read_account,
    reset_second_factor,
)
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1/people")

AskedPage = Annotated[Asked, Depends(read_asked)]
Plain = Annotated[str, Field(max_length=300, pattern=r"^[^\x00]*$")]

#: Refusals that depend on what stands, not on how it was asked.
_CONFLICTS: Final = frozenset({"email_taken", "last_administrator", "own_account", "wrong_state"})


class RoleRequest(BaseModel):
    """A role and what it extends to: an officer's or auditor's regency, a company's NPWP, a verifier's
    village. A company's administrator leaves ``scope`` out."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    scope: Plain = ""


class PersonRequest(RoleRequest):
    """Whom to invite, and as what."""

    email: Plain
    name: Plain


@router.get("", response_model=Page[shapes.Person])
def list_people(request: Request, visitor: PeopleManager, asked: AskedPage) -> dict[str, Any]:
    """Everybody, or the own company's people, by e-mail address."""
    people = [asdict(each) for each in list_accounts(request.app.state.portal.engine, company_of(visitor))]
    shown, following = cut_page(people, ("email",), asked)
    return {"items": shown, "next": following}


@router.get("/{account_id}", response_model=shapes.Person)
def show_person(
    request: Request, visitor: PeopleManager, account_id: uuid.UUID, if_none_match: IfNoneMatch = None
) -> Response:
    """One person; the ETag is what a change names."""
    person = _find(request, visitor, account_id)
    return answer_tagged(person, etag_of(person), if_none_match)


@router.post("", response_model=shapes.InvitedPerson, status_code=201)
def post_person(
    request: Request, visitor: PeopleManager, asked: PersonRequest, idempotency_key: IdempotencyKey = None
) -> Response:
    """Invite somebody. The link is told this once: a repeat under the same key has null in its place."""
    engine = request.app.state.portal.engine

    def act() -> dict[str, Any]:
        role, scope = _checked(visitor, asked)
        try:
            invitation = create_account(
                engine,
                visitor.email,
                email=asked.email,
                name=asked.name,
                role=role,
                scope=scope,
                now=now(),
                within=company_of(visitor),
            )
        except AccountRefusedError as error:
            raise _refused(error) from None
        return _find(request, visitor, invitation.account_id) | _say_link(request, invitation)

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=idempotency_key,
        act=act,
        status=201,
        told_once=("link",),
    )


@router.put("/{account_id}/role", response_model=shapes.Person)
def put_role(
    request: Request,
    visitor: PeopleManager,
    account_id: uuid.UUID,
    asked: RoleRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give another role; it holds from the person's next request on."""

    def step(within: str | None) -> None:
        role, scope = _checked(visitor, asked)
        change_role(request.app.state.portal.engine, visitor.email, account_id, role, scope, now(), within)

    return _change(request, visitor, account_id, step, asked.model_dump(), if_match, idempotency_key)


@router.post("/{account_id}/disable", response_model=shapes.Person)
def post_disable(
    request: Request,
    visitor: PeopleManager,
    account_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Shut somebody out at once."""
    engine = request.app.state.portal.engine
    step = lambda within: disable_account(engine, visitor.email, account_id, now(), within)  # noqa: E731
    return _change(request, visitor, account_id, step, None, if_match, idempotency_key)


@router.post("/{account_id}/enable", response_model=shapes.Person)
def post_enable(
    request: Request,
    visitor: PeopleManager,
    account_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Let somebody in again."""
    engine = request.app.state.portal.engine
    step = lambda within: enable_account(engine, visitor.email, account_id, now(), within)  # noqa: E731
    return _change(request, visitor, account_id, step, None, if_match, idempotency_key)


@router.post("/{account_id}/second-factor", response_model=shapes.Person)
def post_second_factor(
    request: Request,
    visitor: PeopleManager,
    account_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Forget a lost authenticator: the next sign-in sets up a new one."""
    engine = request.app.state.portal.engine
    step = lambda within: reset_second_factor(engine, visitor.email, account_id, now(), within)  # noqa: E731
    return _change(request, visitor, account_id, step, None, if_match, idempotency_key)


@router.post("/{account_id}/link", response_model=shapes.InvitedPerson)
def post_link(
    request: Request,
    visitor: PeopleManager,
    account_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """A new link to accept the invitation or to set a new password, told this once."""

    def step(within: str | None) -> dict[str, Any]:
        link = issue_link(request.app.state.portal.engine, visitor.email, account_id, now(), within)
        return _say_link(request, link)

    return _change(request, visitor, account_id, step, None, if_match, idempotency_key, told_once=("link",))


def _change(
    request: Request,
    visitor: Visitor,
    account_id: uuid.UUID,
    step: Callable[[str | None], dict[str, Any] | None],
    content: Any,
    if_match: str | None,
    key: str | None,
    told_once: tuple[str, ...] = (),
) -> Response:
    """Take the step; the answer is the person as it then stands, and what the step has to tell beside."""

    def act() -> dict[str, Any]:
        try:
            told = step(company_of(visitor))
        except AccountRefusedError as error:
            raise _refused(error) from None
        return _find(request, visitor, account_id) | (told or {})

    return carry_out(
        request,
        visitor,
        content,
        key=key,
        find=lambda: etag_of(_find(request, visitor, account_id)),
        if_match=if_match,
        act=act,
        told_once=told_once,
    )


def _find(request: Request, visitor: Visitor, account_id: uuid.UUID) -> dict[str, Any]:
    try:
        return asdict(read_account(request.app.state.portal.engine, account_id, company_of(visitor)))
    except AccountUnknownError:
        raise NotFoundError from None


def _checked(visitor: Visitor, asked: RoleRequest) -> tuple[Role, Scope]:
    role, scope = read_role(visitor, asked.role, asked.scope)
    if role is None:
        raise AccountRefusedError("scope_wrong")
    return role, scope


def _say_link(request: Request, invitation: Invitation) -> dict[str, Any]:
    return {
        "purpose": invitation.purpose,
        "link": address_of_link(request, invitation),
        "expires_at": invitation.expires_at,
    }


def _refused(error: AccountRefusedError) -> ProblemError:
    status = 409 if error.reason in _CONFLICTS else 422
    return ProblemError(status, f"account_{error.reason}", "This account cannot be made or changed so")
