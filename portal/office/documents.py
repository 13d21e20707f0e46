"""Documents of a fund: officers add agreements, decrees and receipts; whoever reads funds reads them.

Who may add is asked, and the size is looked at, before a byte of the file is read.
"""

from __future__ import annotations

import uuid
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from models.document_tables import MOST_BYTES
from portal.access import GRANTS, NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.office.regency import regency_of
from portal.page import render_page
from portal.unit import open_unit
from portal.upload import Upload, read_upload
from workflow.check_document import DocumentKind, DocumentRefusedError, Refused
from workflow.keep_document import ENDINGS, keep_document
from workflow.read_fund import find_document, read_documents, read_fund
from workflow.sign_in import Visitor

router = APIRouter()
Reader = Annotated[Visitor, require(Permission.READ_FUNDS)]
Officer = Annotated[Visitor, require(Permission.CHANGE_FUNDS)]

_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_MEDIA_TYPES: Final[dict[DocumentKind, str]] = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpeg": "image/jpeg",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "docx": f"{_OFFICE}.wordprocessingml.document",
}


@router.get("/funds/{code}/documents")
def show_documents(request: Request, visitor: Reader, code: str) -> Response:
    """The fund's documents."""
    return _render(request, visitor, code)


@router.post("/funds/{code}/documents")
async def post_document(
    request: Request, visitor: Officer, code: str, upload: Annotated[Upload, Depends(read_upload)]
) -> Response:
    """Keep a file; the page says why when it is refused."""
    return await run_in_threadpool(_keep, request, visitor, code, upload)


@router.get("/documents/{document_id}")
def download_document(request: Request, visitor: Reader, document_id: uuid.UUID) -> Response:
    """The file as it was handed in, always to be saved and never shown within the site."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        found = find_document(connection, regency_of(request, visitor), document_id)
    if found is None:
        raise NotFoundError
    headers = {
        "Content-Disposition": f"attachment; filename=\"dokumen.{found.kind}\"; filename*=UTF-8''"
        + quote(found.name, safe=""),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "ETag": f'"{found.sha256.hex()}"',
    }
    return Response(found.content, media_type=_MEDIA_TYPES[found.kind], headers=headers)


def _keep(request: Request, visitor: Visitor, code: str, upload: Upload) -> Response:
    if upload.problem:
        return _render(request, visitor, code, upload.problem)
    engine, regency = request.app.state.portal.engine, regency_of(request, visitor)
    try:
        kept = keep_document(engine, regency, code, upload.name, upload.content, visitor.email, now())
    except LookupError:
        raise NotFoundError from None
    except DocumentRefusedError as error:
        return _render(request, visitor, code, error.reason)
    return RedirectResponse(f"/funds/{quote(code, safe='')}/documents?kept={kept}", 303)


def _render(
    request: Request, visitor: Visitor, code: str, problem: Refused | Literal["no_file", ""] = ""
) -> Response:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = read_fund(connection, regency_of(request, visitor), code)
        if fund is None:
            raise NotFoundError
        documents = read_documents(connection, fund.row.id)
    return render_page(
        request,
        "office/fund_documents.html",
        visitor=visitor,
        status_code=413 if problem == "too_large" else 422 if problem else 200,
        fund=fund.row,
        documents=documents,
        problem=problem,
        kept=request.query_params.get("kept", ""),
        may_change=Permission.CHANGE_FUNDS in GRANTS[visitor.role],
        accepted=",".join(each for endings in ENDINGS.values() for each in endings),
        most_bytes=MOST_BYTES,
    )
