"""A village verifier's list: is this worker real, and still uncovered?

A search is sent in the body and never stands in an address, because names are searched for.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Final

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now, vault_of
from portal.page import render_page
from workflow.sign_in import Visitor
from workflow.verify_worker import (
    Finding,
    NeedUnknownError,
    VerificationRefusedError,
    read_findings,
    read_waiting,
    undo_verification,
    verify_worker,
)

router = APIRouter(prefix="/village")

Verifier = Annotated[Visitor, require(Permission.VERIFY_WORKERS)]
_SHOWN: Final = 10


@router.get("")
def show_workers(
    request: Request, visitor: Verifier, page: int = 1, done: str = "", occupation: str = "", show: str = ""
) -> Response:
    """Whom to visit, those who wait longest first, or with ``show=answered`` one's own answers.

    ``done`` is the finding that was just kept.
    """
    if show == "answered":
        return render_page(
            request,
            "village/answered.html",
            visitor=visitor,
            village=_village(visitor),
            findings=_findings(request, visitor, _SHOWN * 3),
        )
    return _render(request, visitor, page=page, done=_as_id(done), occupation=occupation[:60])


@router.post("/search")
def search_workers(
    request: Request, visitor: Verifier, q: Annotated[str, Form(max_length=100)] = ""
) -> Response:
    """The first workers whose name holds the text or whose NIK ends with it."""
    return _render(request, visitor, search=q.strip())


@router.post("/workers/{need_id}")
def post_finding(
    request: Request, visitor: Verifier, need_id: str, outcome: Annotated[str, Form(max_length=20)]
) -> Response:
    """Keep what was found at the worker's door. For htmx the answer is what takes the worker's place."""
    if not (need_id.isascii() and need_id.isdigit() and len(need_id) < 19):
        raise NotFoundError
    try:
        finding = verify_worker(
            request.app.state.portal.engine,
            _village(visitor),
            int(need_id),
            outcome,
            visitor.account_id,
            visitor.email,
            now(),
        )
    except NeedUnknownError:
        raise NotFoundError from None
    except VerificationRefusedError as error:
        return _refuse(request, visitor, 409, error.reason)
    except ValueError:
        return _refuse(request, visitor, 422, "outcome")
    if _is_part(request):
        return render_page(
            request, "village/_kept.html", visitor=visitor, finding=finding, outcome=outcome, problem=""
        )
    return RedirectResponse(f"/village?done={finding}", 303)


@router.post("/findings/{finding}/undo")
def post_undo(request: Request, visitor: Verifier, finding: uuid.UUID) -> Response:
    """Take the own fresh finding back."""
    engine = request.app.state.portal.engine
    try:
        undo_verification(engine, _village(visitor), finding, visitor.account_id, visitor.email, now())
    except NeedUnknownError:
        raise NotFoundError from None
    except VerificationRefusedError as error:
        return _render(request, visitor, 409, problem=error.reason)
    return RedirectResponse("/village", 303)


def _is_part(request: Request) -> bool:
    return request.headers.get("hx-request") == "true"


def _refuse(request: Request, visitor: Visitor, status_code: int, problem: str) -> Response:
    if _is_part(request):
        return render_page(
            request, "village/_kept.html", visitor=visitor, status_code=status_code, problem=problem
        )
    return _render(request, visitor, status_code, problem=problem)


def _findings(request: Request, visitor: Visitor, most: int) -> list[Finding]:
    return read_findings(
        request.app.state.portal.engine,
        vault_of(request),
        _village(visitor),
        visitor.account_id,
        visitor.email,
        now(),
        most=most,
    )


def _village(visitor: Visitor) -> str:
    if visitor.village is None:
        raise NotFoundError
    return visitor.village


def _as_id(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _render(
    request: Request,
    visitor: Visitor,
    status_code: int = 200,
    *,
    page: int = 1,
    search: str = "",
    occupation: str = "",
    done: uuid.UUID | None = None,
    problem: str = "",
) -> Response:
    village, page = _village(visitor), min(max(page, 1), 1000)
    kept = next((each for each in _findings(request, visitor, 1) if each.id == done), None) if done else None
    waiting = read_waiting(
        request.app.state.portal.engine,
        vault_of(request),
        village,
        visitor.email,
        now(),
        search=search,
        occupation=occupation,
        first=(page - 1) * _SHOWN,
        most=_SHOWN,
    )
    return render_page(
        request,
        "village/workers.html",
        visitor=visitor,
        status_code=status_code,
        village=village,
        waiting=waiting,
        number=page,
        more=not search and page * _SHOWN < waiting.total,
        search=search,
        occupation=occupation,
        kept=kept,
        problem=problem,
    )
