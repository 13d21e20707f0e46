"""Import a table of workers, pledges or budget lines: looked at first, taken in on a second press.

Nothing is kept between the two: the second press sends the file again, and it must be the one that was
looked at. Rows of other regencies are refused; what is taken in goes the way of every event.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection

from portal.access import Permission, require
from portal.accounts.sign_in import now
from portal.api.money import known_regions, say_problem
from portal.office.regency import regency_of
from portal.page import render_page
from portal.upload import Upload, read_upload
from workflow.check_document import DocumentRefusedError
from workflow.context import IntakeContext
from workflow.import_files import FileUnreadableError, read_content
from workflow.intake import SubmitOutcome, submit_fund_events, submit_worker_events
from workflow.record import record_action
from workflow.sign_in import Visitor

router = APIRouter(prefix="/imports")
Officer = Annotated[Visitor, require(Permission.CHANGE_FUNDS)]

_KINDS: Final = ("workers", "pledges", "budgets")
#: As the command line's: the same row sent in another file is still the same event.
_SOURCE: Final = "/gotong/files"
_SHOWN: Final = 50


@router.get("")
def show_import(request: Request, visitor: Officer) -> Response:
    """The form."""
    return _render(request, visitor)


@router.post("")
async def post_import(
    request: Request, visitor: Officer, upload: Annotated[Upload, Depends(read_upload)]
) -> Response:
    """Look at a file, or, with ``reviewed`` naming its hash, take it in."""
    return await run_in_threadpool(_take, request, visitor, upload)


def _take(request: Request, visitor: Visitor, upload: Upload) -> Response:
    kind = upload.fields.get("kind", "")
    if upload.problem or kind not in _KINDS:
        return _render(request, visitor, kind=kind, problem=upload.problem or "no_kind")
    portal, regency = request.app.state.portal, regency_of(request, visitor)
    if portal.vault is None:
        return _render(request, visitor, kind=kind, problem="no_keys")
    digest = hashlib.sha256(upload.content).hexdigest()
    reviewed = upload.fields.get("reviewed", "")
    moment = now()

    def record(connection: Connection, events: int) -> None:
        detail = {"kind": kind, "events": events, "sha256": digest}
        record_action(connection, visitor.email, "import_file", regency, detail, moment)

    terms: dict[str, Any] = {
        "source": _SOURCE,
        "first_row": 2,
        "regency": regency,
        "finish": record,
        "dry": reviewed != digest,
    }
    try:
        outcome = _submit(IntakeContext(known_regions(), portal.vault), request, kind, upload.content, terms)
    except FileUnreadableError as error:
        return _render(request, visitor, kind=kind, problem="unreadable", detail=str(error))
    except DocumentRefusedError as error:
        return _render(request, visitor, kind=kind, problem=error.reason)
    return _render(
        request,
        visitor,
        kind=kind,
        problem="other_file" if reviewed not in ("", digest) else "",
        outcome=outcome,
        digest=digest,
        file=upload.name,
        taken=reviewed == digest and not outcome.problems,
    )


def _submit(
    context: IntakeContext, request: Request, kind: str, content: bytes, terms: dict[str, Any]
) -> SubmitOutcome:
    engine = request.app.state.portal.engine
    if kind == "workers":
        return submit_worker_events(engine, context, read_content(content), **terms)
    funds: Literal["pledges", "budgets"] = "pledges" if kind == "pledges" else "budgets"
    return submit_fund_events(engine, context, funds, read_content(content), **terms)


def _render(
    request: Request,
    visitor: Visitor,
    *,
    kind: str = "workers",
    problem: str = "",
    detail: str = "",
    outcome: SubmitOutcome | None = None,
    digest: str = "",
    file: str = "",
    taken: bool = False,
) -> Response:
    refused = 413 if problem == "too_large" else 422
    in_page = "hx-request" in request.headers  # htmx shows only what went well
    return render_page(
        request,
        "office/imports.html",
        visitor=visitor,
        status_code=refused if problem and not in_page else 200,
        regency=regency_of(request, visitor),
        kinds=_KINDS,
        kind=kind,
        problem=problem,
        detail=detail,
        outcome=outcome,
        problems=[say_problem(each) for each in outcome.problems[:_SHOWN]] if outcome else [],
        warnings=[say_problem(each) for each in outcome.warnings[:_SHOWN]] if outcome else [],
        digest=digest,
        file=file,
        taken=taken,
    )
