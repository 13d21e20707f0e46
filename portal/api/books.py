"""Reads of the API that row-level security confines: money, proposals, decisions, runs, coverage."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from portal.access import NotFoundError, Permission, require
from portal.api import shapes
from portal.api.change import IfNoneMatch, answer_tagged, etag_of
from portal.api.collection import Asked, Page, cut_page, read_asked
from portal.api.reading import one_of, page_of
from portal.office.today import read_coverage
from portal.office.unfunded import read_groups
from portal.unit import open_unit
from workflow.review import Batch, read_batch
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Everybody = Annotated[Visitor, require(Permission.READ_OVERVIEW)]
FundReader = Annotated[Visitor, require(Permission.READ_FUNDS, Permission.READ_OWN_FUNDS)]
OfficeReader = Annotated[Visitor, require(Permission.READ_FUNDS)]
ReviewReader = Annotated[Visitor, require(Permission.READ_REVIEW)]
WaitingReader = Annotated[Visitor, require(Permission.READ_UNFUNDED)]
AskedPage = Annotated[Asked, Depends(read_asked)]
FundCode = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
DistrictCode = Annotated[str, Path(pattern=r"^\d{2}\.\d{2}\.\d{2}$")]
RegionCode = Annotated[str | None, Query(pattern=r"^\d{2}(\.\d{2}(\.\d{2}(\.\d{4})?)?)?$")]

FUND: Final = """
    SELECT code, regency_code AS regency, kind, name, funder, window_from, window_to, pledged_rupiah,
           reserved_rupiah, committed_rupiah, disbursed_rupiah, expired_rupiah,
           pledged_rupiah - reserved_rupiah - committed_rupiah - disbursed_rupiah - expired_rupiah
               AS available_rupiah
    FROM fund
"""
_JOURNAL: Final = """
    SELECT j.number, j.kind, j.amount_rupiah, j.cause, j.cause_id, j.recorded_at
    FROM journal_entry j JOIN fund f ON f.id = j.fund_id WHERE f.code = :code
"""
_DOCUMENTS: Final = """
    SELECT d.id, d.name, d.kind, octet_length(d.content) AS size_bytes, encode(d.sha256, 'hex') AS sha256,
           d.added_at
    FROM fund_document d JOIN fund f ON f.id = d.fund_id WHERE f.code = :code
"""
_BATCHES: Final = """
    SELECT f.code AS fund, b.district_code AS district, b.run_id, b.open_lines AS lines,
           b.open_rupiah AS amount_rupiah
    FROM review_batch b JOIN fund f ON f.id = b.fund_id WHERE b.open_lines > 0
"""
_LINES: Final = """
    SELECT p.id, p.need_id AS need, n.village_code AS village, n.programmes, p.months, p.amount_rupiah,
           p.state, p.version
    FROM proposal p JOIN fund f ON f.id = p.fund_id JOIN coverage_need n ON n.id = p.need_id
    WHERE p.run_id = :run_id AND f.code = :fund AND n.district_code = :district AND p.state = 'proposed'
"""
_DECISIONS: Final = """
    SELECT d.id, d.action, f.code AS fund, d.district_code AS district, d.run_id, d.lines, d.amount_rupiah,
           d.needs_second, d.state, d.decided_at, d.closed_at
    FROM decision d JOIN fund f ON f.id = d.fund_id
"""
_RUNS: Final = """
    SELECT id, regency_code AS regency, generation, status, needs, proposed, changed, tiers, started_at,
           finished_at FROM allocation_run
"""
ENROLMENTS: Final = """
    SELECT b.id, f.code AS fund, b.lines, b.total_rupiah, b.exported_at
    FROM enrolment_batch b JOIN fund f ON f.id = b.fund_id
"""
_ENROLMENT_LINES: Final = """
    SELECT number, reference, answer, paid_rupiah, paid_months FROM enrolment_line WHERE batch_id = :batch_id
"""
_REGIONS: Final = """
    SELECT code, name, level, parent_code FROM region
    WHERE CAST(:parent AS text) IS NULL AND level = 'province' OR parent_code = CAST(:parent AS text)
"""


@router.get("/regions", response_model=Page[shapes.Region])
def list_regions(
    request: Request, visitor: Everybody, asked: AskedPage, parent: RegionCode = None
) -> dict[str, Any]:
    """The provinces, or the regions that lie in ``parent``."""
    return page_of(request, visitor, _REGIONS, {"code": "text"}, asked, parent=parent)


@router.get("/funds", response_model=Page[shapes.Fund])
def list_funds(request: Request, visitor: FundReader, asked: AskedPage) -> dict[str, Any]:
    """The regency's funds; a company's own."""
    return page_of(request, visitor, FUND, {"code": "text"}, asked)


@router.get("/funds/{code}", response_model=shapes.Fund)
def show_fund(
    request: Request, visitor: FundReader, code: FundCode, if_none_match: IfNoneMatch = None
) -> Response:
    """One fund."""
    found = one_of(request, visitor, FUND + "WHERE code = :code", code=code)
    return answer_tagged(found, etag_of(found), if_none_match)


@router.get("/funds/{code}/journal", response_model=Page[shapes.Entry])
def list_journal(request: Request, visitor: FundReader, code: FundCode, asked: AskedPage) -> dict[str, Any]:
    """The fund's journal, oldest first."""
    one_of(request, visitor, FUND + "WHERE code = :code", code=code)
    return page_of(request, visitor, _JOURNAL, {"number": "int8"}, asked, code=code)


@router.get("/funds/{code}/documents", response_model=Page[shapes.Document])
def list_documents(
    request: Request, visitor: OfficeReader, code: FundCode, asked: AskedPage
) -> dict[str, Any]:
    """The fund's documents, newest first; a file itself is at /api/v1/documents/{id}."""
    one_of(request, visitor, FUND + "WHERE code = :code", code=code)
    keys = {"added_at": "timestamptz", "id": "uuid"}
    return page_of(request, visitor, _DOCUMENTS, keys, asked, descending=True, code=code)


@router.get("/batches", response_model=Page[shapes.BatchSummary])
def list_batches(request: Request, visitor: ReviewReader, asked: AskedPage) -> dict[str, Any]:
    """What waits for a decision, by fund and district."""
    keys = {"fund": "text", "district": "text", "run_id": "uuid"}
    return page_of(request, visitor, _BATCHES, keys, asked)


@router.get("/batches/{run_id}/{fund}/{district}", response_model=shapes.BatchSummary)
def show_batch(
    request: Request,
    visitor: ReviewReader,
    run_id: uuid.UUID,
    fund: FundCode,
    district: DistrictCode,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """One batch; its ETag is what a decision about it names."""
    summary, tag = find_batch(request, visitor, Batch(run_id, fund, district))
    return answer_tagged(summary, tag, if_none_match)


@router.get("/batches/{run_id}/{fund}/{district}/lines", response_model=Page[shapes.Line])
def list_lines(
    request: Request,
    visitor: ReviewReader,
    run_id: uuid.UUID,
    fund: FundCode,
    district: DistrictCode,
    asked: AskedPage,
) -> dict[str, Any]:
    """The batch's lines that nobody has decided."""
    find_batch(request, visitor, Batch(run_id, fund, district))
    place: dict[str, Any] = {"run_id": run_id, "fund": fund, "district": district}
    return page_of(request, visitor, _LINES, {"id": "int8"}, asked, **place)


@router.get("/decisions", response_model=Page[shapes.Decision])
def list_decisions(request: Request, visitor: ReviewReader, asked: AskedPage) -> dict[str, Any]:
    """Decisions, newest first."""
    keys = {"decided_at": "timestamptz", "id": "uuid"}
    return page_of(request, visitor, _DECISIONS, keys, asked, descending=True)


@router.get("/decisions/{decision_id}", response_model=shapes.Decision)
def show_decision(
    request: Request, visitor: ReviewReader, decision_id: uuid.UUID, if_none_match: IfNoneMatch = None
) -> Response:
    """One decision; its ETag is what a second signature names."""
    found = find_decision(request, visitor, decision_id)
    return answer_tagged(found, etag_of(found), if_none_match)


@router.get("/runs", response_model=Page[shapes.Run])
def list_runs(request: Request, visitor: ReviewReader, asked: AskedPage) -> dict[str, Any]:
    """Matches, newest first, each with its proof."""
    keys = {"started_at": "timestamptz", "id": "uuid"}
    return page_of(request, visitor, _RUNS, keys, asked, descending=True)


@router.get("/unfunded", response_model=Page[shapes.WaitingGroup])
def list_waiting(request: Request, visitor: WaitingReader, asked: AskedPage) -> dict[str, Any]:
    """Who waits and why, by district and reason."""
    rows = [
        {"district": district, "reason": reason, "needs": needs}
        for regency in _regencies(request, visitor)
        for district, reasons in read_groups(request.app, regency).by_district.items()
        for reason, needs in reasons.items()
    ]
    shown, following = cut_page(rows, ("district", "reason"), asked)
    return {"items": shown, "next": following}


@router.get("/coverage", response_model=Page[shapes.Coverage])
def list_coverage(request: Request, visitor: ReviewReader, asked: AskedPage) -> dict[str, Any]:
    """Coverage by district."""
    rows = [
        {"district": each.code, "needs": each.workers, "covered": each.covered}
        for regency in _regencies(request, visitor)
        for each in read_coverage(request.app, regency).value
        if each.workers
    ]
    shown, following = cut_page(rows, ("district",), asked)
    return {"items": shown, "next": following}


@router.get("/enrolment-batches", response_model=Page[shapes.EnrolmentBatch])
def list_enrolments(request: Request, visitor: OfficeReader, asked: AskedPage) -> dict[str, Any]:
    """Files that went to the social-security agency, newest first."""
    keys = {"exported_at": "timestamptz", "id": "uuid"}
    return page_of(request, visitor, ENROLMENTS, keys, asked, descending=True)


@router.get("/enrolment-batches/{batch_id}/lines", response_model=Page[shapes.EnrolmentLine])
def list_enrolment_lines(
    request: Request, visitor: OfficeReader, batch_id: uuid.UUID, asked: AskedPage
) -> dict[str, Any]:
    """A file's lines by reference, and what the agency answered."""
    one_of(request, visitor, ENROLMENTS + "WHERE b.id = :id", id=batch_id)
    return page_of(request, visitor, _ENROLMENT_LINES, {"number": "int4"}, asked, batch_id=batch_id)


def find_batch(request: Request, visitor: Visitor, batch: Batch) -> tuple[dict[str, Any], str]:
    """A batch as the visitor sees it, and its ETag. Raises ``NotFoundError`` when no line is open."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        view = read_batch(connection, batch)
    if not view.lines:
        raise NotFoundError
    summary = {
        "run_id": batch.run_id,
        "fund": batch.fund_code,
        "district": batch.district_code,
        "lines": len(view.lines),
        "amount_rupiah": view.amount_rupiah,
    }
    return summary, f'"{view.token.partition("@")[0]}"'


def find_decision(request: Request, visitor: Visitor, decision_id: uuid.UUID) -> dict[str, Any]:
    """A decision as the visitor sees it. Raises ``NotFoundError``."""
    return one_of(request, visitor, _DECISIONS + "WHERE d.id = :id", id=decision_id)


def _regencies(request: Request, visitor: Visitor) -> tuple[str, ...]:
    """The visitor's own, or for who is of none those that this portal serves."""
    served: tuple[str, ...] = request.app.state.portal.settings.regencies
    return (visitor.regency,) if visitor.regency else served
