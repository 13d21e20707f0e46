"""Decisions on the review queue: who signed, who must still sign, and the way back until then."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import NotFoundError, Permission, require
from portal.office.regency import regency_of
from portal.page import render_page
from portal.unit import open_unit
from workflow.read_review import (
    find_decision,
    newest_decision,
    read_decision_lines,
    read_decisions,
    read_lines_by_id,
)
from workflow.review import Batch, BatchChangedError, ReviewRefusedError, confirm, undo
from workflow.sign_in import Visitor

router = APIRouter(prefix="/review/decisions")
Reader = Annotated[Visitor, require(Permission.READ_REVIEW)]
Decider = Annotated[Visitor, require(Permission.DECIDE)]


@router.get("")
def show_decisions(request: Request, visitor: Reader) -> Response:
    """What waits for a second officer, and what was decided lately."""
    regency = regency_of(request, visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        waiting = read_decisions(connection, regency, "awaiting_second")
        latest = read_decisions(connection, regency, limit=50)
        seen = newest_decision(connection, regency)
    return render_page(
        request, "office/review_decisions.html", visitor=visitor, waiting=waiting, latest=latest, seen=seen
    )


@router.get("/news")
def show_news(
    request: Request, visitor: Reader, seen: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """Whether a page that was made earlier shows less than there is; its rows stay where they are."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        changed = newest_decision(connection, regency_of(request, visitor)) != seen
    return render_page(
        request,
        "office/review_news.html",
        visitor=visitor,
        new=0,
        changed=changed,
        address="/review/decisions",
    )


@router.get("/{decision_id}")
def show_decision(request: Request, visitor: Reader, decision_id: uuid.UUID) -> Response:
    """One decision with its lines."""
    return _render(request, visitor, decision_id)


@router.post("/{decision_id}/confirm")
def post_confirm(request: Request, visitor: Decider, decision_id: uuid.UUID) -> Response:
    """The second signature."""
    return _act(request, visitor, decision_id, confirm)


@router.post("/{decision_id}/undo")
def post_undo(request: Request, visitor: Decider, decision_id: uuid.UUID) -> Response:
    """Take the approval back; its lines are open again."""
    return _act(request, visitor, decision_id, undo)


def _act(request: Request, visitor: Visitor, decision_id: uuid.UUID, step: Callable[..., object]) -> Response:
    engine = request.app.state.portal.engine
    with open_unit(engine, visitor) as connection:
        if find_decision(connection, regency_of(request, visitor), decision_id) is None:
            raise NotFoundError
    try:
        step(engine, decision_id, visitor.email, dt.datetime.now(dt.UTC))
    except ReviewRefusedError as error:
        return _render(request, visitor, decision_id, error)
    return RedirectResponse(f"/review/decisions/{decision_id}", 303)


def _render(
    request: Request, visitor: Visitor, decision_id: uuid.UUID, error: ReviewRefusedError | None = None
) -> Response:
    regency = regency_of(request, visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        decision = find_decision(connection, regency, decision_id)
        if decision is None:
            raise NotFoundError
        place = Batch(decision.run_id, decision.fund_code, decision.district_code)
        changed = [line for line, _ in error.changes] if isinstance(error, BatchChangedError) else []
        return render_page(
            request,
            "office/review_decision.html",
            visitor=visitor,
            status_code=409 if error else 200,
            decision=decision,
            lines=read_decision_lines(connection, decision),
            problem=error.reason if error else "",
            changes=read_lines_by_id(connection, place, changed) if changed else [],
        )
