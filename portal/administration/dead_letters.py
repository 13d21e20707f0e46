"""Dead letters with their reasons, and their replay."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from models.reason import REASONS
from models.vault import UndecryptableError
from portal.access import NotFoundError, Permission, require
from portal.listing import read_listing
from portal.page import render_page
from workflow.dead_letter import count_dead_letters, list_dead_letters, show_dead_letter
from workflow.replay import replay_for
from workflow.sign_in import Visitor

router = APIRouter(prefix="/administration/dead-letters")

LARGEST_ID: Final = 2**63 - 1
DeadLetterId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
Replayer = Annotated[Visitor, require(Permission.REPLAY_DEAD_LETTERS)]


@router.get("")
def show_letters(request: Request, visitor: Replayer) -> Response:
    """Counts by topic and reason, and the newest letters of what was chosen."""
    return _render_list(request, visitor)


@router.post("/replay")
def post_replay(
    request: Request,
    visitor: Replayer,
    ids: Annotated[list[int] | None, Form(max_length=1000)] = None,
    topic: Annotated[str, Form(max_length=200)] = "",
    reason: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Send the chosen letters again, or all that wait with one reason."""
    chosen = [number for number in ids or () if 1 <= number <= LARGEST_ID]
    if not chosen and not reason:
        return _render_list(request, visitor, 422, "nothing_chosen")
    return _replay(request, visitor, chosen or None, topic, reason)


@router.get("/{number}")
def show_letter(request: Request, visitor: Replayer, number: DeadLetterId) -> Response:
    """One letter: where it came from, why it was refused, and what it held, masked."""
    portal, sealed = request.app.state.portal, False
    try:
        view = None if portal.vault is None else show_dead_letter(portal.engine, portal.vault, number)
    except UndecryptableError:
        view, sealed = None, True
    if view is None and not sealed and portal.vault is not None:
        raise NotFoundError
    return render_page(
        request, "administration/dead_letter.html", visitor=visitor, view=view, number=number, reasons=REASONS
    )


@router.post("/{number}/replay")
def post_one(request: Request, visitor: Replayer, number: DeadLetterId) -> Response:
    """Send this one again."""
    return _replay(request, visitor, [number], "", "")


def _replay(request: Request, visitor: Visitor, ids: list[int] | None, topic: str, reason: str) -> Response:
    portal = request.app.state.portal
    if portal.vault is None:
        return _render_list(request, visitor, 422, "no_keys")
    outcome = replay_for(
        portal.engine,
        portal.vault,
        visitor.email,
        dt.datetime.now(dt.UTC),
        ids,
        topic=topic or None,
        reason=reason or None,
    )
    if ids is not None and len(ids) == 1 and not outcome.replayed and "no such" in outcome.skipped[ids[0]]:
        raise NotFoundError
    address = f"/administration/dead-letters?sent={len(outcome.replayed)}&left={len(outcome.skipped)}"
    return RedirectResponse(address, 303)


def _render_list(request: Request, visitor: Visitor, status_code: int = 200, problem: str = "") -> Response:
    engine = request.app.state.portal.engine
    counts = count_dead_letters(engine)
    topics = sorted({count.topic for count in counts})
    known = sorted({count.reason for count in counts})
    listing = read_listing(
        request,
        sorts=("id",),
        default="-id",
        filters={
            "topic": topics,
            "reason": known,
            "state": ("all",),
            "before": None,
            "sent": None,
            "left": None,
        },
    )
    before = listing.filters["before"]
    rows = list_dead_letters(
        engine,
        topic=listing.filters["topic"] or None,
        reason=listing.filters["reason"] or None,
        waiting_only=listing.filters["state"] != "all",
        limit=listing.size + 1,
        before_id=int(before) if before.isascii() and before.isdigit() and len(before) < 19 else None,
    )
    return render_page(
        request,
        "administration/dead_letters.html",
        visitor=visitor,
        status_code=status_code,
        problem=problem,
        listing=listing,
        rows=rows[: listing.size],
        more=len(rows) > listing.size,
        counts=counts,
        topic_choices=[(topic, topic) for topic in topics],
        reason_choices=[(reason, reason) for reason in known],
        reasons=REASONS,
        sent=_count(listing.filters["sent"]),
        left=_count(listing.filters["left"]),
    )


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
