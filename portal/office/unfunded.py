"""Who is waiting and why, with the cheapest change that would fund them."""

from __future__ import annotations

import datetime as dt
import threading
import time
from typing import Annotated, Final

from fastapi import APIRouter, Request, Response

from portal.access import Permission, require
from portal.export import Column, Sheet, export
from portal.office.desk import DeskBusyError
from portal.office.regency import regency_of
from portal.page import page_language, render_page
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.read_waiting import Waiting, read_last_run, read_waiting
from workflow.sign_in import Visitor

router = APIRouter()
Reader = Annotated[Visitor, require(Permission.READ_UNFUNDED)]

_FRESH_SECONDS: Final = 10.0
_kept_lock = threading.Lock()


@router.get("/unfunded")
def show_unfunded(request: Request, visitor: Reader) -> Response:
    """The groups, and by district; the cheapest changes follow by themselves."""
    regency = regency_of(request, visitor)
    return render_page(
        request,
        "office/unfunded.html",
        visitor=visitor,
        waiting=_read(request, visitor, regency),
        regency=regency,
    )


@router.get("/unfunded/changes")
def show_changes(request: Request, visitor: Reader) -> Response:
    """The cheapest change for each group; this may take some seconds for a large regency."""
    regency = regency_of(request, visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        run = read_last_run(connection, regency)
    try:
        changes = request.app.state.desk.changes(regency, run) if run else ()
    except DeskBusyError:
        return render_page(request, "office/_desk_busy.html", visitor=visitor, status_code=503)
    return render_page(
        request, "office/_changes.html", visitor=visitor, changes=changes, run=run, regency=regency
    )


@router.get("/unfunded.{form}")
def export_unfunded(request: Request, visitor: Reader, form: str) -> Response:
    """Reasons by district, to take away."""
    regency = regency_of(request, visitor)
    language = page_language(request)
    waiting = _read(request, visitor, regency)
    rows = [
        (code, region_name(code), reason, needs)
        for code, reasons in sorted(waiting.by_district.items())
        for reason, needs in sorted(reasons.items())
    ]
    columns = (
        ("Kode", "Kecamatan", "Alasan", "Kebutuhan")
        if language == "id"
        else ("Code", "District", "Reason", "Needs")
    )
    sheet = Sheet(
        "belum terdanai" if language == "id" else "unfunded",
        [
            Column(columns[0]),
            Column(columns[1], width=28),
            Column(columns[2], width=28),
            Column(columns[3], "whole"),
        ],
        rows,
        {
            "regency": regency,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "by": visitor.email,
        },
    )
    return export(sheet, "csv" if form == "csv" else "xlsx", "gotong-unfunded")


def _read(request: Request, visitor: Visitor, regency: str) -> Waiting:
    """Ten seconds old at most: at a million needs the count takes longer than a reader should wait."""
    kept = request.app.state.waiting
    with _kept_lock:
        found: tuple[float, Waiting] | None = kept.get(regency)
        if found is None or time.monotonic() - found[0] > _FRESH_SECONDS:
            with open_unit(request.app.state.portal.engine, visitor) as connection:
                found = (time.monotonic(), read_waiting(connection, regency))
            kept[regency] = found
    return found[1]
