"""The API's part for what stands still or should: matches stopped, regencies and topics let go on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.administration.health import RegencyCode, Topic
from portal.api import shapes
from portal.api.change import IdempotencyKey, carry_out
from portal.api.problem import ProblemError
from portal.office.regency import regency_of
from workflow.cancel_match import NothingRunsError, cancel_match
from workflow.halt import resume_regency
from workflow.pause_intake import resume_intake
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Operator = Annotated[Visitor, require(Permission.OPERATE)]
Decider = Annotated[Visitor, require(Permission.DECIDE)]


@router.post("/runs/cancel", response_model=shapes.CancelledRun)
def post_cancel(request: Request, visitor: Decider, idempotency_key: IdempotencyKey = None) -> Response:
    """Stop the regency's match that is under way; what stands proposed stays."""
    engine, regency = request.app.state.portal.engine, regency_of(request, visitor)

    def act() -> dict[str, Any]:
        try:
            return {"run": cancel_match(engine, regency, visitor.email, now())}
        except NothingRunsError:
            raise ProblemError(409, "nothing_runs", "No match is under way") from None

    return carry_out(request, visitor, None, key=idempotency_key, act=act)


@router.post("/regencies/{regency}/resume", response_model=shapes.Resumed)
def post_resume(
    request: Request, visitor: Operator, regency: RegencyCode, idempotency_key: IdempotencyKey = None
) -> Response:
    """Let a halted regency allocate again, when the audit finds nothing wrong any more."""

    def act() -> dict[str, Any]:
        try:
            findings = resume_regency(request.app.state.portal.engine, regency, visitor.email, now())
        except LookupError:
            raise NotFoundError from None
        if findings:
            told = "; ".join(f"{each.check}, {each.subject}: {each.message}" for each in findings)
            raise ProblemError(409, "breach_stands", "The audit still finds a breach", told)
        return {"resumed": regency}

    return carry_out(request, visitor, None, key=idempotency_key, act=act)


@router.post("/intake/{topic}/resume", response_model=shapes.Resumed)
def post_resume_intake(
    request: Request, visitor: Operator, topic: Topic, idempotency_key: IdempotencyKey = None
) -> Response:
    """Let a paused topic go on."""

    def act() -> dict[str, Any]:
        try:
            resume_intake(request.app.state.portal.engine, topic, visitor.email, now())
        except LookupError:
            raise NotFoundError from None
        return {"resumed": topic}

    return carry_out(request, visitor, None, key=idempotency_key, act=act)
