"""Enrolment: approved workers go to the social-security agency as a file, and its answer comes back.

The file holds NIKs and names, for the agency alone; whoever takes it is on record each time.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from models.document_tables import MOST_BYTES
from portal.access import GRANTS, Permission, require
from portal.accounts.sign_in import now
from portal.enrolment_file import send_enrolment_file
from portal.office.regency import regency_of
from portal.page import render_page
from portal.unit import open_unit
from portal.upload import Upload, read_upload
from workflow.check_document import DocumentRefusedError
from workflow.enrol import NothingToEnrolError, make_batch
from workflow.import_files import FileUnreadableError
from workflow.read_enrolment import read_sent, read_unsent
from workflow.reconcile import AnswerUnreadableError, read_answers, reconcile_answers
from workflow.sign_in import Visitor

router = APIRouter(prefix="/enrolment")
Reader = Annotated[Visitor, require(Permission.READ_FUNDS)]
Officer = Annotated[Visitor, require(Permission.ENROL)]

_BATCHES_SHOWN: Final = 50
_PROBLEMS_SHOWN: Final = 50


@router.get("")
def show_enrolment(request: Request, visitor: Reader) -> Response:
    """What is to be sent, what was sent, and the agency's answers."""
    return _render(request, visitor)


@router.post("/batches")
def post_batch(request: Request, visitor: Officer, fund: Annotated[str, Form(max_length=100)]) -> Response:
    """Put a fund's approved, unsent lines into a file; pressed twice, the second finds nothing to send."""
    engine = request.app.state.portal.engine
    with open_unit(engine, visitor) as connection:
        if fund not in {each.code for each in read_unsent(connection, regency_of(request, visitor))}:
            return _render(request, visitor, problem="nothing_to_enrol")
    try:
        batch_id = make_batch(engine, fund, visitor.email, now())
    except NothingToEnrolError:
        return _render(request, visitor, problem="nothing_to_enrol")
    return RedirectResponse(f"/enrolment?made={batch_id}#sent-title", 303)


@router.post("/batches/{batch_id}/file")
def post_file(
    request: Request,
    visitor: Officer,
    batch_id: uuid.UUID,
    form: Annotated[Literal["csv", "xlsx"], Form()] = "xlsx",
) -> Response:
    """The batch's file, the same each time."""
    return send_enrolment_file(request, visitor, batch_id, form)


@router.post("/answers")
async def post_answer(
    request: Request, visitor: Officer, upload: Annotated[Upload, Depends(read_upload)]
) -> Response:
    """Reconcile the agency's answer: every row, or with wrong rows none."""
    return await run_in_threadpool(_reconcile, request, visitor, upload)


def _reconcile(request: Request, visitor: Visitor, upload: Upload) -> Response:
    if upload.problem:
        return _render(request, visitor, problem=upload.problem)
    try:
        lines = read_answers(upload.content)
    except DocumentRefusedError as error:
        return _render(request, visitor, problem=error.reason)
    except FileUnreadableError as error:
        return _render(request, visitor, problem="unreadable", detail=str(error))
    except AnswerUnreadableError as error:
        return _render(request, visitor, problem="rows", rows=error.problems)
    regency = regency_of(request, visitor)
    outcome = reconcile_answers(request.app.state.portal.engine, lines, visitor.email, now(), regency=regency)
    return _render(request, visitor, outcomes=dict(outcome.outcomes))


def _render(
    request: Request,
    visitor: Visitor,
    *,
    problem: str = "",
    detail: str = "",
    rows: tuple[str, ...] = (),
    outcomes: dict[str, Any] | None = None,
) -> Response:
    regency = regency_of(request, visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        unsent, sent = read_unsent(connection, regency), read_sent(connection, regency, _BATCHES_SHOWN)
    return render_page(
        request,
        "office/enrolment.html",
        visitor=visitor,
        status_code=413 if problem == "too_large" else 422 if problem else 200,
        regency=regency,
        unsent=unsent,
        sent=sent,
        made=request.query_params.get("made", ""),
        problem=problem,
        detail=detail,
        rows=rows[:_PROBLEMS_SHOWN],
        more_rows=max(0, len(rows) - _PROBLEMS_SHOWN),
        outcomes=outcomes,
        may_enrol=Permission.ENROL in GRANTS[visitor.role],
        most_bytes=MOST_BYTES,
    )
