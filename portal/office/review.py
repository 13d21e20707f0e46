"""The review queue: batches of proposals, their lines, and what officers decide."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from models.region import load_regions
from portal.access import GRANTS, NotFoundError, Permission, require
from portal.export import Column, Sheet, _, export, sayer
from portal.listing import Listing, read_listing
from portal.office.regency import regency_of
from portal.office.review_decisions import router as decisions_router
from portal.page import render_page
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.read_review import (
    LINE_SORTS,
    QUEUE_SORTS,
    STATES,
    Asker,
    LineChoice,
    QueuedBatch,
    QueueFilter,
    count_awaiting,
    count_queue,
    find_batch,
    find_decision,
    find_neighbours,
    read_changes,
    read_lines,
    read_lines_by_id,
    read_queue,
    stream_lines,
    stream_queue,
)
from workflow.review import (
    REJECTION_REASONS,
    Action,
    BatchChangedError,
    DecisionRequest,
    ReviewRefusedError,
    claim_batch,
    decide,
    read_batch,
)
from workflow.sign_in import Visitor

router = APIRouter()
router.include_router(decisions_router)
Reader = Annotated[Visitor, require(Permission.READ_REVIEW)]
Decider = Annotated[Visitor, require(Permission.DECIDE)]
Text = Annotated[str, Form(max_length=500)]
_FILTERS: Final = ("kind", "district", "state", "second", "verified")
_YES_NO: Final = ("yes", "no")


@router.get("/review")
def show_queue(request: Request, visitor: Reader) -> Response:
    """What waits for a decision, by fund and district."""
    asker, listing = _asker(request, visitor), _queue_listing(request)
    wanted = _wanted(listing)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        totals = count_queue(connection, asker, wanted)
        batches = read_queue(connection, asker, wanted, listing.size + 1, (listing.page - 1) * listing.size)
        awaiting = count_awaiting(connection, asker.regency, asker.officer)
    return render_page(
        request,
        "office/review.html",
        visitor=visitor,
        listing=listing,
        batches=batches[: listing.size],
        more=len(batches) > listing.size,
        totals=totals,
        awaiting=awaiting,
        districts=_districts(asker.regency),
        queue=_queue_text(listing),
        seen=f"{totals.batches}.{totals.lines}.{asker.now.timestamp()}",
        may_decide=Permission.DECIDE in GRANTS[visitor.role],
    )


@router.get("/review/news")
def show_news(request: Request, visitor: Reader, seen: str) -> Response:
    """How the queue differs from what a page shows that was made earlier; its rows stay where they are."""
    asker, listing = _asker(request, visitor), _queue_listing(request)
    try:
        batches, lines, moment = seen.split(".", 2)
        since = dt.datetime.fromtimestamp(float(moment), dt.UTC)
        then = (int(batches), int(lines))
    except (ValueError, OverflowError, OSError):
        raise NotFoundError from None
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        totals = count_queue(connection, asker, _wanted(listing), since)
    changed = (totals.batches, totals.lines) != then
    return render_page(
        request,
        "office/review_news.html",
        visitor=visitor,
        new=totals.new,
        changed=changed,
        address=f"/review?{_queue_text(listing)}",
    )


@router.get("/review/batches.xlsx")
def export_batches_xlsx(request: Request, visitor: Reader) -> Response:
    """The queue as narrowed, to take away."""
    return _export_batches(request, visitor, "xlsx")


@router.get("/review/batches.csv")
def export_batches_csv(request: Request, visitor: Reader) -> Response:
    """The queue as narrowed, to take away."""
    return _export_batches(request, visitor, "csv")


@router.get("/review/{batch_id}")
def show_batch(request: Request, visitor: Reader, batch_id: uuid.UUID) -> Response:
    """One batch with its lines; whoever has opened it for decision finds the forms."""
    return _render_batch(request, visitor, batch_id)


@router.post("/review/{batch_id}/claim")
def post_claim(request: Request, visitor: Decider, batch_id: uuid.UUID, queue: Text = "") -> Response:
    """Open the batch for decision: nobody else and no run changes it for half an hour."""
    found = _find(request, visitor, batch_id)
    try:
        claim_batch(request.app.state.portal.engine, found.batch, visitor.email, dt.datetime.now(dt.UTC))
    except ReviewRefusedError as error:
        return _render_batch(request, visitor, batch_id, error=error)
    return RedirectResponse(_batch_address(batch_id, queue), 303)


@router.post("/review/{batch_id}/decide")
def post_decision(
    request: Request,
    visitor: Decider,
    batch_id: uuid.UUID,
    key: Annotated[uuid.UUID, Form()],
    token: Text,
    do: Text,
    line: Annotated[list[int], Form(default_factory=list)],
    reason: Text = "",
    remark: Text = "",
    queue: Text = "",
) -> Response:
    """Approve or reject: ``do`` is ``approve:all``, ``reject:selected``, ``approve:17``."""
    found = _find(request, visitor, batch_id)
    verb, _, which = do.partition(":")
    action: Action = "reject" if verb == "reject" else "approve"
    try:
        if verb not in ("approve", "reject"):
            raise ReviewRefusedError("nothing_chosen", "no action was chosen")
        if which == "selected" and not line:
            raise ReviewRefusedError("nothing_chosen", "no line was selected")
        answer = decide(
            request.app.state.portal.engine,
            DecisionRequest(
                idempotency_key=f"form:{key}",
                officer=visitor.email,
                action=action,
                batch=found.batch,
                token=token,
                lines=() if which == "all" else tuple(line) if which == "selected" else (int(which),),
                reason=(reason or None) if action == "reject" else None,
                remark=remark.strip() or None,
            ),
            dt.datetime.now(dt.UTC),
        )
    except ValueError:
        raise NotFoundError from None
    except ReviewRefusedError as error:
        return _render_batch(request, visitor, batch_id, error=error)
    return RedirectResponse(_batch_address(batch_id, queue, done=str(answer.decision_id)), 303)


@router.get("/review/{batch_id}/changes")
def show_changes(request: Request, visitor: Reader, batch_id: uuid.UUID, since: float = 0.0) -> Response:
    """What became of the batch's lines since the page was made, and whether the claim still stands."""
    found = _find(request, visitor, batch_id)
    try:
        moment = dt.datetime.fromtimestamp(since, dt.UTC)
    except (ValueError, OverflowError, OSError):
        raise NotFoundError from None
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        changes = read_changes(connection, found.batch, moment)
    return render_page(
        request,
        "office/review_changes.html",
        visitor=visitor,
        batch=found,
        changes=changes,
        claimed=request.query_params.get("claimed") == "yes",
        address=_batch_address(batch_id, _queue_param(request)),
    )


@router.get("/review/{batch_id}/lines.xlsx")
def export_lines_xlsx(request: Request, visitor: Reader, batch_id: uuid.UUID) -> Response:
    """The batch's open lines, to take away."""
    return _export_lines(request, visitor, batch_id, "xlsx")


@router.get("/review/{batch_id}/lines.csv")
def export_lines_csv(request: Request, visitor: Reader, batch_id: uuid.UUID) -> Response:
    """The batch's open lines, to take away."""
    return _export_lines(request, visitor, batch_id, "csv")


def _render_batch(
    request: Request, visitor: Visitor, batch_id: uuid.UUID, error: ReviewRefusedError | None = None
) -> Response:
    asker = _asker(request, visitor)
    queue = _queue_param(request)
    listing = replace(_line_listing(request), path=f"/review/{batch_id}")
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        found = find_batch(connection, asker, batch_id)
        if found is None:
            raise NotFoundError
        mine = found.claimed_by == visitor.email
        # The token names what stood before the lines were read: a change in between is refused, not signed.
        token = read_batch(connection, found.batch).token if mine else ""
        lines = read_lines(
            connection,
            found.batch,
            _line_choice(listing, asker.regency),
            limit=listing.size + 1,
            offset=(listing.page - 1) * listing.size,
        )
        if found.open_lines:
            before, after = find_neighbours(connection, asker, _wanted_of(queue), batch_id)
        else:  # it has left the queue: whoever goes on begins at the front
            before, after = (
                None,
                next((each.id for each in read_queue(connection, asker, _wanted_of(queue), 1)), None),
            )
        done = _uuid(request.query_params.get("done"))
        changed = [line for line, _ in error.changes] if isinstance(error, BatchChangedError) else []
        return render_page(
            request,
            "office/review_batch.html",
            visitor=visitor,
            status_code=409 if error else 200,
            batch=found,
            mine=mine,
            may_decide=Permission.DECIDE in GRANTS[visitor.role],
            listing=listing,
            lines=lines[: listing.size],
            more=len(lines) > listing.size,
            token=token,
            key=uuid.uuid4(),
            since=asker.now.timestamp(),
            before=before,
            after=after,
            queue=queue,
            done=find_decision(connection, asker.regency, done) if done else None,
            reasons=tuple(REJECTION_REASONS),
            problem=error.reason if error else "",
            changes=read_lines_by_id(connection, found.batch, changed) if changed else [],
        )


def _find(request: Request, visitor: Visitor, batch_id: uuid.UUID) -> QueuedBatch:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        found = find_batch(connection, _asker(request, visitor), batch_id)
    if found is None:
        raise NotFoundError
    return found


def _asker(request: Request, visitor: Visitor) -> Asker:
    return Asker(regency_of(request, visitor), visitor.email, dt.datetime.now(dt.UTC))


def _queue_listing(request: Request) -> Listing:
    filters = {
        "kind": ("csr", "apbd"),
        "district": None,
        "state": STATES,
        "second": _YES_NO,
        "verified": _YES_NO,
    }
    listing = read_listing(request, sorts=tuple(QUEUE_SORTS), default="-amount", filters=filters)
    return replace(listing, path="/review")


def _wanted(listing: Listing) -> QueueFilter:
    narrowing = {name: listing.filters[name] for name in _FILTERS}
    return QueueFilter(listing.sort, listing.descending, search=listing.search, **narrowing)


def _queue_text(listing: Listing) -> str:
    """The queue's filter and order as one text, which a batch's page carries along."""
    return listing.address().partition("?")[2]


def _queue_param(request: Request) -> str:
    return request.query_params.get("queue", "")[:500]


def _wanted_of(queue: str) -> QueueFilter:
    """The filter that a batch's page carries; what is not a filter is left out."""
    scope = {"type": "http", "path": "/review", "headers": [], "query_string": queue.encode()}
    return _wanted(_queue_listing(Request(scope)))


def _batch_address(batch_id: uuid.UUID, queue: str, **more: str) -> str:
    kept = urlencode(parse_qsl(queue)[:10])
    query = urlencode({name: value for name, value in ({"queue": kept} | more).items() if value})
    return f"/review/{batch_id}" + (f"?{query}" if query else "")


def _line_listing(request: Request) -> Listing:
    return read_listing(request, sorts=tuple(LINE_SORTS), default="-priority", filters={"verified": _YES_NO})


def _line_choice(listing: Listing, regency: str) -> LineChoice:
    """Order and search of the lines; a village is found by its name too."""
    asked = listing.search.lower()
    villages = (
        region.code
        for region in (load_regions() if asked else ())
        if region.code.startswith(regency) and asked in region.name.lower()
    )
    verified = listing.filters["verified"]
    return LineChoice(listing.sort, listing.descending, listing.search, tuple(villages), verified)


def _districts(regency: str) -> list[tuple[str, str]]:
    under = f"{regency}."
    return [
        (region.code, region.name)
        for region in load_regions()
        if region.code.startswith(under) and len(region.code) == len(under) + 2
    ]


def _uuid(text: str | None) -> uuid.UUID | None:
    try:
        return uuid.UUID(text or "")
    except ValueError:
        return None


def _export_batches(request: Request, visitor: Visitor, form: Literal["xlsx", "csv"]) -> Response:
    asker, listing, say = _asker(request, visitor), _queue_listing(request), sayer(request)
    columns = [
        Column(_("Fund"), width=32),
        Column(_("Code")),
        Column(_("Kind")),
        Column(_("District"), width=24),
        Column(_("Lines"), "whole"),
        Column(_("Amount"), "rupiah"),
        Column(_("Available"), "rupiah"),
        Column(_("Second officer")),
        Column(_("Since"), width=26),
    ]
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        rows = (
            (
                batch.fund_name,
                batch.fund_code,
                batch.kind.upper(),
                region_name(batch.district_code),
                batch.open_lines,
                batch.open_rupiah,
                batch.available_rupiah,
                say(_("yes") if batch.needs_second else _("no")),
                batch.created_at,
            )
            for batch in stream_queue(connection, asker, _wanted(listing))
        )
        notes = _notes(asker, listing, say)
        return export(request, Sheet(_("Queue"), columns, rows, notes), form, "antrean")


def _export_lines(
    request: Request, visitor: Visitor, batch_id: uuid.UUID, form: Literal["xlsx", "csv"]
) -> Response:
    asker, listing, say = _asker(request, visitor), _line_listing(request), sayer(request)
    columns = [
        Column(_("Worker")),
        Column(_("Village"), width=24),
        Column(_("Occupation"), width=20),
        Column(_("Programmes")),
        Column(_("Months"), "whole"),
        Column(_("Amount"), "rupiah"),
        Column(_("Priority"), "whole"),
        Column(_("Next best choice"), width=32),
        Column(_("Lead in points"), "whole"),
        Column(_("Confirmed by the village")),
    ]
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        found = find_batch(connection, asker, batch_id)
        if found is None:
            raise NotFoundError
        rows = (
            (
                f"W-{line.worker_id}",
                region_name(line.village_code),
                line.occupation,
                line.programmes,
                line.months,
                line.amount_rupiah,
                line.priority,
                line.alternative,
                line.alternative_points,
                say(_("yes") if line.verified else _("no")),
            )
            for line in stream_lines(connection, found.batch, _line_choice(listing, asker.regency))
        )
        notes = {_("Fund"): found.fund_name, _("District"): region_name(found.district_code)}
        notes |= _notes(asker, listing, say)
        return export(request, Sheet(_("Lines"), columns, rows, notes), form, "baris-usulan")


def _notes(asker: Asker, listing: Listing, say: Callable[[str], str]) -> dict[str, str]:
    chosen = listing.filtered()
    return {
        _("Regency"): region_name(asker.regency),
        _("Filter"): ", ".join(f"{name}={value}" for name, value in chosen.items()) or say(_("all")),
        _("Taken at"): asker.now.isoformat(timespec="seconds"),
        _("Taken by"): asker.officer,
    }
