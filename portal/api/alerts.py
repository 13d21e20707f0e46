"""Alerts through the API: what stands, taking one on, closing one, and the rules behind them."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.collection import Asked, Page, read_asked
from portal.api.problem import ProblemError
from portal.api.reading import one_of, page_of
from workflow.alert_list import LONGEST_NOTE, acknowledge, resolve
from workflow.alert_rules import RuleRefusedError, RuleTerms, Severity, change_rule, read_rules, terms_of
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Reader = Annotated[Visitor, require(Permission.READ_ALERTS)]
Manager = Annotated[Visitor, require(Permission.MANAGE_ALERTS)]
AskedPage = Annotated[Asked, Depends(read_asked)]
RuleName = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,59}$")]

_ALERTS: Final = """
    SELECT id, scope, kind, subject, severity, state, value, opened_at, resolved_at FROM alert
"""


class Note(BaseModel):
    """What the person who takes an alert on or closes it wants to keep; it names nobody."""

    model_config = ConfigDict(extra="forbid")

    note: Annotated[str, Field(max_length=LONGEST_NOTE, pattern=r"^[^\x00]*$")] = ""


class RuleRequest(BaseModel):
    """What may be changed of a rule; its kind stays."""

    model_config = ConfigDict(extra="forbid")

    fire: Annotated[int, Field(ge=1, lt=2**53)]
    clear: Annotated[int, Field(ge=1, lt=2**53)]
    severity: Severity
    days: Annotated[int | None, Field(ge=1, le=366)] = None
    enabled: bool = True
    escalate_after_hours: Annotated[int | None, Field(ge=1, le=720)] = None


@router.get("/alerts", response_model=Page[shapes.Alert])
def list_alerts(request: Request, visitor: Reader, asked: AskedPage) -> dict[str, Any]:
    """Alerts, newest first."""
    keys = {"opened_at": "timestamptz", "id": "uuid"}
    return page_of(request, visitor, _ALERTS, keys, asked, descending=True)


@router.get("/alerts/{alert_id}", response_model=shapes.Alert)
def show_alert(
    request: Request, visitor: Reader, alert_id: uuid.UUID, if_none_match: IfNoneMatch = None
) -> Response:
    """One alert; its ETag is what a change of it names."""
    alert = _find(request, visitor, alert_id)
    return answer_tagged(alert, etag_of(alert), if_none_match)


@router.post("/alerts/{alert_id}/acknowledge", response_model=shapes.Alert)
def post_acknowledge(
    request: Request,
    visitor: Manager,
    alert_id: uuid.UUID,
    asked: Note,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take an open alert on."""
    engine = request.app.state.portal.engine

    def act() -> dict[str, Any]:
        if not acknowledge(engine, alert_id, visitor, asked.note, now()):
            raise ProblemError(409, "not_open", "This alert is not open any more")
        return _find(request, visitor, alert_id)

    return _change(request, visitor, alert_id, asked, act, if_match, idempotency_key)


@router.post("/alerts/{alert_id}/resolve", response_model=shapes.Alert)
def post_resolve(
    request: Request,
    visitor: Manager,
    alert_id: uuid.UUID,
    asked: Note,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Close an alert by hand."""
    engine = request.app.state.portal.engine

    def act() -> dict[str, Any]:
        if not resolve(engine, alert_id, visitor, asked.note, now()):
            raise ProblemError(409, "not_open", "This alert is closed already")
        return _find(request, visitor, alert_id)

    return _change(request, visitor, alert_id, asked, act, if_match, idempotency_key)


@router.get("/alert-rules", response_model=Page[shapes.AlertRule])
def list_rules(request: Request, visitor: Manager) -> dict[str, Any]:
    """The regency's rules; all on one page."""
    return {"items": list(_rules(request, visitor).values()), "next": None}


@router.get("/alert-rules/{name}", response_model=shapes.AlertRule)
def show_rule(
    request: Request, visitor: Manager, name: RuleName, if_none_match: IfNoneMatch = None
) -> Response:
    """One rule; its ETag is what a change of it names."""
    rule = _find_rule(request, visitor, name)
    return answer_tagged(rule, etag_of(rule), if_none_match)


@router.put("/alert-rules/{name}", response_model=shapes.AlertRule)
def put_rule(
    request: Request,
    visitor: Manager,
    name: RuleName,
    asked: RuleRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Change a rule's thresholds, severity, escalation, or switch it off."""
    engine, scope = request.app.state.portal.engine, visitor.regency or ""

    def act() -> dict[str, Any]:
        try:
            with engine.begin() as connection:
                terms = RuleTerms(kind="", **asked.model_dump())
                change_rule(connection, scope, name, terms, visitor.email, now())
        except LookupError:
            raise NotFoundError from None
        except RuleRefusedError as error:
            raise ProblemError(422, error.problem, "This rule cannot be saved", str(error)) from None
        return _find_rule(request, visitor, name)

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=idempotency_key,
        find=lambda: etag_of(_find_rule(request, visitor, name)),
        if_match=if_match,
        act=act,
    )


def _change(
    request: Request,
    visitor: Visitor,
    alert_id: uuid.UUID,
    asked: Note,
    act: Any,
    if_match: str | None,
    key: str | None,
) -> Response:
    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=key,
        find=lambda: etag_of(_find(request, visitor, alert_id)),
        if_match=if_match,
        act=act,
    )


def _find(request: Request, visitor: Visitor, alert_id: uuid.UUID) -> dict[str, Any]:
    return one_of(request, visitor, _ALERTS + "WHERE id = :id", id=alert_id)


def _rules(request: Request, visitor: Visitor) -> dict[str, dict[str, Any]]:
    with request.app.state.portal.engine.begin() as connection:
        rules = read_rules(connection, visitor.regency or "")
        return {rule.name: {"name": rule.name, **asdict(terms_of(rule))} for rule in rules}


def _find_rule(request: Request, visitor: Visitor, name: str) -> dict[str, Any]:
    rule = _rules(request, visitor).get(name)
    if rule is None:
        raise NotFoundError
    return rule
