"""Changes of funds through the API: the next revision of a fund's terms, and its documents."""

from __future__ import annotations

import hashlib
import uuid
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict

from models.event import FundRules, Month, Rupiah
from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.books import FundCode
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.problem import ProblemError
from portal.api.reading import one_of
from portal.office.documents import download_document
from portal.office.regency import regency_of
from portal.unit import open_unit
from portal.upload import Upload, read_upload
from workflow.check_document import DocumentRefusedError
from workflow.edit_fund import EditRefusedError, edit_fund, state_of
from workflow.keep_document import keep_document
from workflow.read_fund import read_fund
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Reader = Annotated[Visitor, require(Permission.READ_FUNDS)]
Changer = Annotated[Visitor, require(Permission.CHANGE_FUNDS)]

_MONEY: Final = ("amount_rupiah", "ceiling_rupiah", "released_rupiah")
_DOCUMENT: Final = """
    SELECT d.id, d.name, d.kind, octet_length(d.content) AS size_bytes, encode(d.sha256, 'hex') AS sha256,
           d.added_at FROM fund_document d WHERE d.id = :id
"""
#: A form with one file, as a browser sends it.
ONE_FILE: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}


class TermsRequest(BaseModel):
    """What is to be changed; what is left out stays, in ``rules`` too. ``withdrawn`` takes back whatever of
    a pledge is not committed. A pledge has an amount, a budget line a ceiling and what of it is released."""

    model_config = ConfigDict(extra="forbid")

    amount_rupiah: Rupiah | None = None
    ceiling_rupiah: Rupiah | None = None
    released_rupiah: Rupiah | None = None
    window_from: Month | None = None
    window_to: Month | None = None
    rules: FundRules | None = None
    withdrawn: Literal[True] | None = None


@router.get("/funds/{code}/terms", response_model=shapes.FundTerms)
def show_terms(
    request: Request, visitor: Reader, code: FundCode, if_none_match: IfNoneMatch = None
) -> Response:
    """A fund's window, rules and total; the ETag is what a change of them names."""
    terms = _find_terms(request, visitor, code)
    return answer_tagged(terms, etag_of(terms), if_none_match)


@router.patch("/funds/{code}/terms", response_model=shapes.SentChange, status_code=202)
def patch_terms(
    request: Request,
    visitor: Changer,
    code: FundCode,
    asked: TermsRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Send the fund's next revision; it holds once it was taken in, as a change from anywhere else."""
    changes = asked.model_dump(exclude_unset=True, exclude_none=True)
    if asked.rules is not None:  # there, null means "no such limit"
        changes["rules"] = asked.rules.model_dump(exclude_unset=True)
    seen: list[int] = []

    def find() -> str:
        terms = _find_terms(request, visitor, code)
        seen.append(terms["revision"])
        return etag_of(terms)

    def act() -> dict[str, Any]:
        engine, regency = request.app.state.portal.engine, regency_of(request, visitor)
        try:
            edit_fund(engine, regency, code, seen[-1], changes, visitor.email, now())
        except LookupError:
            raise NotFoundError from None
        except EditRefusedError as error:
            status = 409 if error.reason in ("under_way", "same") else 422
            raise ProblemError(
                status, error.reason, "This change cannot be sent", fields=list(error.fields)
            ) from None
        return {"code": code, "revision": seen[-1] + 1}

    return carry_out(
        request, visitor, changes, key=idempotency_key, find=find, if_match=if_match, act=act, status=202
    )


@router.post(
    "/funds/{code}/documents", response_model=shapes.Document, status_code=201, openapi_extra=ONE_FILE
)
async def post_document(
    request: Request,
    visitor: Changer,
    code: FundCode,
    upload: Annotated[Upload, Depends(read_upload)],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Keep a file under the fund; the same content again is the same document."""
    return await run_in_threadpool(_keep, request, visitor, code, upload, idempotency_key)


router.add_api_route(
    "/documents/{document_id}",
    download_document,
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)


def refuse_upload(upload: Upload) -> None:
    """Raise the ``ProblemError`` of a form without a file, or with one that is too large."""
    if upload.problem:
        status = 413 if upload.problem == "too_large" else 422
        raise ProblemError(status, f"file_{upload.problem}", "There is no file that could be read")


def refuse_content(error: DocumentRefusedError) -> ProblemError:
    """The problem of a file whose content is not accepted."""
    status = 413 if error.reason == "too_large" else 422
    return ProblemError(status, f"file_{error.reason}", "This file is not accepted")


def _keep(request: Request, visitor: Visitor, code: str, upload: Upload, key: str | None) -> Response:
    engine, regency = request.app.state.portal.engine, regency_of(request, visitor)

    def act() -> dict[str, Any]:
        refuse_upload(upload)
        try:
            kept: uuid.UUID = keep_document(
                engine, regency, code, upload.name, upload.content, visitor.email, now()
            )
        except LookupError:
            raise NotFoundError from None
        except DocumentRefusedError as error:
            raise refuse_content(error) from None
        return one_of(request, visitor, _DOCUMENT, id=kept)

    def find() -> None:
        _find_terms(request, visitor, code)

    content = [upload.name, hashlib.sha256(upload.content).hexdigest(), upload.problem]
    return carry_out(request, visitor, content, key=key, find=find, act=act, status=201)


def _find_terms(request: Request, visitor: Visitor, code: str) -> dict[str, Any]:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = read_fund(connection, regency_of(request, visitor), code)
    if fund is None:
        raise NotFoundError
    state = state_of(fund.row)
    return {
        "code": code,
        "revision": fund.row.revision,
        "kind": fund.row.kind,
        "window_from": state["window_from"],
        "window_to": state["window_to"],
        **{name: state.get(name) for name in _MONEY},
        "rules": state["rules"],
    }
