"""The workers a company funds: pseudonymous, small groups suppressed."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, func, select

from models.programme import bundle_of_mask, write_bundle
from portal.accounts.sign_in import now, vault_of
from portal.company.figures import read_company_groups
from portal.company.overview import CompanyReader, funder_of
from portal.export import Column, Sheet, export
from portal.listing import Listing, contains, read_listing
from portal.page import page_language, render_page
from portal.region_name import region_name
from portal.unit import open_unit
from portal.words import Language
from workflow.read_company import SMALLEST_GROUP, hide_small_groups, select_workers
from workflow.sign_in import Visitor

router = APIRouter()

_STATES = ("proposed", "approved", "enrolled")
_SORTS = ("pseudonym", "district", "occupation", "programmes", "months", "start_month", "state")
_TITLES: dict[Language, tuple[str, ...]] = {
    "id": ("Pekerja", "Kecamatan", "Pekerjaan", "Program", "Bulan", "Mulai", "Status"),
    "en": ("Worker", "District", "Occupation", "Programmes", "Months", "From", "Status"),
}


@router.get("/company/workers")
def show_workers(request: Request, visitor: CompanyReader) -> Response:
    """The own lines, one page of them."""
    listing = _listing(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        rows, total, districts = _read(request, visitor, connection, listing, whole=False)
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
    listing, language = _listing(request), page_language(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        rows, _, _ = _read(request, visitor, connection, listing, whole=True)
    kinds = ("text", "text", "text", "text", "whole", "date", "text")
    columns = [
        Column(title, kind)  # type: ignore[arg-type]
        for title, kind in zip(_TITLES[language], kinds, strict=True)
    ]
    cells = [
        (
            row.pseudonym,
            region_name(row.district) if row.district else "*",
            row.occupation or "*",
            _bundle(row.programmes),
            row.months,
            row.start_month,
            row.state,
        )
        for row in rows
    ]
    notes = listing.filtered() | {
        "*": f"< {SMALLEST_GROUP}",
        "at": now().isoformat(timespec="seconds"),
        "by": visitor.email,
    }
    return export(Sheet("Workers", columns, cells, notes), form, "workers")


def _listing(request: Request) -> Listing:
    return read_listing(
        request, sorts=_SORTS, default="district", filters={"district": None, "state": _STATES}
    )


def _read(
    request: Request, visitor: Visitor, connection: Connection, listing: Listing, *, whole: bool
) -> tuple[list[Any], int, list[str]]:
    """Rows, how many the filter leaves, and the districts there are to choose from."""
    funder = funder_of(visitor)
    shown = hide_small_groups(read_company_groups(request.app, connection, funder))
    statement, columns = select_workers(vault_of(request), funder, shown)
    if listing.filters["district"]:
        statement = statement.where(columns.district == listing.filters["district"])
    if listing.filters["state"]:
        statement = statement.where(columns.state == listing.filters["state"])
    if listing.search:
        statement = statement.where(
            contains(columns.pseudonym, listing.search) | contains(columns.occupation, listing.search)
        )
    ordered = listing.order(statement.add_columns(func.count().over().label("total")), columns, columns.id)
    rows = list(connection.execute(ordered if whole else listing.cut(ordered)))
    if rows:
        total = int(rows[0].total)
    else:  # behind the last page, perhaps
        total = connection.scalar(select(func.count()).select_from(statement.subquery())) or 0
    return rows, total, sorted({district for district, _ in shown.values() if district})


def _bundle(mask: int) -> str:
    return write_bundle(bundle_of_mask(mask))
