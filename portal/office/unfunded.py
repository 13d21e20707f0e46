"""Who is waiting and why, with the cheapest change that would fund them."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Final

from fastapi import APIRouter, FastAPI, Request, Response

from portal.access import Permission, require
from portal.export import Column, Sheet, _, export
from portal.kept import kept_figures
from portal.office.desk import DeskBusyError
from portal.office.regency import regency_of
from portal.page import render_page
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.read_waiting import Waiting, read_last_run, read_waiting
from workflow.sign_in import Visitor

_DISTRICT: Final = re.compile(r"\d{2}\.\d{2}\.\d{2}")

router = APIRouter()
Reader = Annotated[Visitor, require(Permission.READ_UNFUNDED)]


@router.get("/unfunded")
def show_unfunded(request: Request, visitor: Reader) -> Response:
    """The groups, and by district; the cheapest changes follow by themselves.

    ``district`` (an alert's link) puts that one first and says how many wait there.
    """
    regency = regency_of(request, visitor)
    district = request.query_params.get("district", "")
    known = bool(_DISTRICT.fullmatch(district)) and district.startswith(f"{regency}.")
    return render_page(
        request,
        "office/unfunded.html",
        visitor=visitor,
        waiting=read_groups(request.app, regency),
        district=district if known else "",
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
    rows = (
        (code, region_name(code), reason, needs)
        for code, reasons in sorted(read_groups(request.app, regency).by_district.items())
        for reason, needs in sorted(reasons.items())
    )
    columns = [Column(_("Code")), Column(_("District"), width=28), Column(_("Reason"), width=48)]
    columns.append(Column(_("Needs"), "whole"))
    notes = {
        _("Regency"): region_name(regency),
        _("Taken at"): dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        _("Taken by"): visitor.email,
    }
    sheet = Sheet(_("Unfunded"), columns, rows, notes)
    return export(request, sheet, "csv" if form == "csv" else "xlsx", "gotong-unfunded")


def read_groups(app: FastAPI, regency: str) -> Waiting:
    """Kept for a while: at a million needs the count takes longer than a reader should wait."""
    engine = app.state.portal.engine

    def read(code: str) -> Waiting:
        with engine.connect() as connection:
            return read_waiting(connection, code)

    return kept_figures(app, "waiting", read).of(regency).value
