"""Enrolment through the API: lines that go to the social-security agency, their file, and its answer.

The file holds NIKs and names, for the agency alone: it leaves for an officer's session, never for a key, and
whoever takes it is on record each time.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from portal.access import Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.books import ENROLMENTS, FUND, FundCode
from portal.api.change import IdempotencyKey, carry_out
from portal.api.funds import ONE_FILE, refuse_content, refuse_upload
from portal.api.problem import ProblemError
from portal.api.reading import one_of
from portal.enrolment_file import send_enrolment_file
from portal.export import MEDIA_TYPES
from portal.upload import Upload, read_upload
from workflow.check_document import DocumentRefusedError
from workflow.enrol import NothingToEnrolError, make_batch
from workflow.import_files import FileUnreadableError
from workflow.reconcile import AnswerUnreadableError, read_answers, reconcile_answers
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Officer = Annotated[Visitor, require(Permission.ENROL)]

_PROBLEMS_SHOWN: Final = 100


@router.post("/funds/{code}/enrolment-batches", response_model=shapes.EnrolmentBatch, status_code=201)
def post_batch(
    request: Request, visitor: Officer, code: FundCode, idempotency_key: IdempotencyKey = None
) -> Response:
    """Put the fund's approved lines that were not sent before into a batch."""

    def find() -> None:
        one_of(request, visitor, f"{FUND} WHERE code = :code", code=code)

    def act() -> dict[str, Any]:
        try:
            batch_id = make_batch(request.app.state.portal.engine, code, visitor.email, now())
        except NothingToEnrolError:
            raise ProblemError(
                409, "nothing_to_enrol", "The fund has no approved line that was not sent before"
            ) from None
        return _find(request, visitor, batch_id)

    return carry_out(request, visitor, None, key=idempotency_key, find=find, act=act, status=201)


@router.post(
    "/enrolment-batches/{batch_id}/file",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in MEDIA_TYPES.values()}}},
)
def post_file(
    request: Request,
    visitor: Officer,
    batch_id: uuid.UUID,
    form: Annotated[Literal["csv", "xlsx"], Query()] = "csv",
) -> Response:
    """The batch's file with its control total, for the agency. Every time it is the same, and every time
    it is on record; so it needs no Idempotency-Key, and no copy is kept under one."""
    return send_enrolment_file(request, visitor, batch_id, form)


@router.post("/enrolment-answers", response_model=shapes.AnswerOutcome, openapi_extra=ONE_FILE)
async def post_answer(
    request: Request,
    visitor: Officer,
    upload: Annotated[Upload, Depends(read_upload)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Reconcile the agency's answer, CSV or XLSX: every row, or with problems row by row none. To an officer
    the lines of other regencies are unknown."""
    return await run_in_threadpool(_reconcile, request, visitor, upload, idempotency_key)


def _reconcile(request: Request, visitor: Visitor, upload: Upload, key: str | None) -> Response:
    def act() -> dict[str, Any]:
        refuse_upload(upload)
        try:
            lines = read_answers(upload.content)
        except DocumentRefusedError as error:
            raise refuse_content(error) from None
        except FileUnreadableError as error:
            raise ProblemError(422, "file_unreadable", "This is no table", str(error)) from None
        except AnswerUnreadableError as error:
            problems = list(error.problems[:_PROBLEMS_SHOWN])
            raise ProblemError(
                422, "rows_refused", "Nothing was taken in: rows have problems", problems=problems
            ) from None
        engine = request.app.state.portal.engine
        outcome = reconcile_answers(engine, lines, visitor.email, now(), regency=visitor.regency)
        return {"id": outcome.answer_id, "outcomes": dict(outcome.outcomes)}

    content = [hashlib.sha256(upload.content).hexdigest(), upload.problem]
    return carry_out(request, visitor, content, key=key, act=act)


def _find(request: Request, visitor: Visitor, batch_id: uuid.UUID) -> dict[str, Any]:
    return one_of(request, visitor, f"{ENROLMENTS} WHERE b.id = :id", id=batch_id)
