"""Whether the house is well: workers, broker, database, lag, last runs."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import NotFoundError, Permission, require
from portal.page import render_page
from workflow.halt import resume_regency
from workflow.pause_intake import resume_intake
from workflow.read_health import read_health
from workflow.sign_in import Visitor

router = APIRouter(prefix="/administration/health")

Operator = Annotated[Visitor, require(Permission.OPERATE)]
RegencyCode = Annotated[str, Path(pattern=r"^\d{2}\.\d{2}$")]
Topic = Annotated[str, Path(pattern=r"^[a-z0-9.-]{1,200}$")]


@router.get("")
def show_health(request: Request, visitor: Annotated[Visitor, require(Permission.READ_HEALTH)]) -> Response:
    """What runs, what waits and what stands still."""
    return _render(request, visitor)


@router.post("/regencies/{regency}/resume")
def post_resume(request: Request, visitor: Operator, regency: RegencyCode) -> Response:
    """Let a halted regency allocate again, when the audit finds nothing wrong any more."""
    try:
        findings = resume_regency(
            request.app.state.portal.engine, regency, visitor.email, dt.datetime.now(dt.UTC)
        )
    except LookupError:
        raise NotFoundError from None
    if findings:
        return _render(
            request, visitor, 409, [f"{each.check}, {each.subject}: {each.message}" for each in findings]
        )
    return RedirectResponse("/administration/health", 303)


@router.post("/intake/{topic}/resume")
def post_resume_intake(request: Request, visitor: Operator, topic: Topic) -> Response:
    """Let a paused topic go on."""
    try:
        resume_intake(request.app.state.portal.engine, topic, visitor.email, dt.datetime.now(dt.UTC))
    except LookupError:
        raise NotFoundError from None
    return RedirectResponse("/administration/health", 303)


def _render(
    request: Request, visitor: Visitor, status_code: int = 200, findings: list[str] | None = None
) -> Response:
    health = read_health(request.app.state.portal.engine)
    return render_page(
        request,
        "administration/health.html",
        visitor=visitor,
        status_code=status_code,
        health=health,
        findings=findings or [],
    )
