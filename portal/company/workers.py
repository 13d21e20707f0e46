"""The workers a company funds: pseudonymous, small groups suppressed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, Select, func, select

from models.database import stream_rows
from models.programme import bundle_of_mask, write_bundle
from portal.accounts.sign_in import now, vault_of
from portal.company.figures import read_company_groups
from portal.company.overview import CompanyReader, funder_of
from portal.export import Column, Sheet, _, export, sayer
from portal.listing import Listing, contains, read_listing
from portal.page import render_page
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.read_company import (
    SMALLEST_GROUP,
    Group,
    hide_small_groups,
    read_newest,
    select_workers,
)
from workflow.sign_in import Visitor

router = APIRouter()

_STATES: Final = {"proposed": _("Proposed"), "approved": _("Approved"), "enrolled": _("Enrolled")}
_SORTS = ("newest", "pseudonym", "district", "occupation", "programmes", "months", "start_month", "state")


@router.get("/company/workers")
def show_workers(request: Request, visitor: CompanyReader) -> Response:
    """The own lines, one page of them."""
    listing = _listing(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        rows, total, districts = _read(request, visitor, connection, listing)
    return render_page(
        request,
        "company/workers.html",
        visitor=visitor,
        listing=listing,
        rows=rows[: listing.size],
        more=len(rows) > listing.size,
        total=total,
        districts=[(code, region_name(code)) for code in districts],
        smallest=SMALLEST_GROUP,
        bundle=_bundle,
    )


@router.get("/company/workers.xlsx")
@router.get("/company/workers.csv")
def export_workers(request: Request, visitor: CompanyReader) -> Response:
    """All lines that the filter leaves."""
    form = request.url.path.rpartition(".")[2]
    listing, say = _listing(request), sayer(request)
    columns = [Column(_("Worker")), Column(_("District")), Column(_("Occupation")), Column(_("Programmes"))]
    columns += [Column(_("Months"), "whole"), Column(_("From"), "date"), Column(_("State"))]
    notes = listing.filtered() | {
        "*": f"< {SMALLEST_GROUP}",
        _("Taken at"): now().isoformat(timespec="seconds"),
        _("Taken by"): visitor.email,
    }
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        shown = hide_small_groups(read_company_groups(request.app, connection, funder_of(visitor)))
        statement, lines = _select(request, visitor, listing, shown)
        rows = (
            (
                row.pseudonym,
                region_name(row.district) if row.district else "*",
                row.occupation or "*",
                _bundle(row.programmes),
                row.months,
                row.start_month,
                say(_STATES[row.state]),
            )
            for row in stream_rows(connection, _order(listing, statement, lines))
        )
        return export(request, Sheet(_("Workers"), columns, rows, notes), form, "workers")


def _listing(request: Request) -> Listing:
    return read_listing(
        request, sorts=_SORTS, default="-newest", filters={"district": None, "state": tuple(_STATES)}
    )


def _read(
    request: Request, visitor: Visitor, connection: Connection, listing: Listing
) -> tuple[list[Any], int, list[str]]:
    """A page's rows, how many the filter leaves, and the districts there are to choose from."""
    funder = funder_of(visitor)
    shown = hide_small_groups(read_company_groups(request.app, connection, funder))
    districts = sorted({district for district, _occupation in shown.values() if district})
    statement, lines = _select(request, visitor, listing, shown)
    if (
        listing.sort == "newest"
        and listing.descending
        and not (listing.search or listing.filters["district"])
    ):
        # What people come for first, and the one order that needs not all lines.
        rows = read_newest(
            connection,
            vault_of(request),
            funder,
            shown,
            state=listing.filters["state"],
            skipped=(listing.page - 1) * listing.size,
            most=listing.size + 1,
        )
    else:
        counted = statement.add_columns(func.count().over().label("total"))
        rows = list(connection.execute(listing.cut(_order(listing, counted, lines))))
    if rows:
        total = int(rows[0].total)
    else:  # behind the last page, perhaps
        total = connection.scalar(select(func.count()).select_from(statement.subquery())) or 0
    return rows, total, districts


def _select(
    request: Request, visitor: Visitor, listing: Listing, shown: Mapping[Group, Group]
) -> tuple[Select[Any], Any]:
    """The lines that the filter leaves, and their columns."""
    statement, columns = select_workers(vault_of(request), funder_of(visitor), shown)
    if listing.filters["district"]:
        statement = statement.where(columns.district == listing.filters["district"])
    if listing.filters["state"]:
        statement = statement.where(columns.state == listing.filters["state"])
    if listing.search:
        statement = statement.where(
            contains(columns.pseudonym, listing.search) | contains(columns.occupation, listing.search)
        )
    return statement, columns


def _order(listing: Listing, statement: Select[Any], lines: Any) -> Select[Any]:
    return listing.order(statement, {**lines, "newest": lines.id}, lines.id)


def _bundle(mask: int) -> str:
    return write_bundle(bundle_of_mask(mask))
