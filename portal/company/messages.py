"""What has changed for a company, what of it is new to the reader, and the mark that it was read."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import Permission, require
from portal.accounts.sign_in import now
from portal.company.overview import CompanyReader, funder_of
from portal.page import render_page
from portal.unit import open_unit
from workflow.mark_messages import mark_messages, read_mark
from workflow.read_company import count_unread, read_messages
from workflow.sign_in import Visitor

router = APIRouter(prefix="/company/messages")
MessageReader = Annotated[Visitor, require(Permission.MARK_MESSAGES)]


@router.get("")
def show_messages(request: Request, visitor: CompanyReader) -> Response:
    """The newest hundred, the new ones marked."""
    engine, funder = request.app.state.portal.engine, funder_of(visitor)
    mark = read_mark(engine, visitor.account_id)
    with open_unit(engine, visitor) as connection:
        messages = read_messages(connection, funder)
        unread = count_unread(connection, funder, mark)
    return render_page(
        request, "company/messages.html", visitor=visitor, messages=messages, mark=mark, unread=unread
    )


@router.get("/badge")
def show_badge(request: Request, visitor: CompanyReader) -> Response:
    """The number beside the menu's entry, asked for again when something has changed."""
    return render_page(request, "company/_badge.html", visitor=visitor)


@router.post("/read")
def post_read(request: Request, visitor: MessageReader, until: Annotated[dt.datetime, Form()]) -> Response:
    """Everything up to the newest message that the page showed was read."""
    if until.tzinfo is None:
        until = until.replace(tzinfo=dt.UTC)
    mark_messages(request.app.state.portal.engine, visitor.account_id, min(until, now()))
    return RedirectResponse("/company/messages", 303)
