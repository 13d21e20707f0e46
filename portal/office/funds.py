"""Pledges and budget lines: the list, and a fund's page with balances, rules, journal and lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Connection, Row

from models.programme import bundle_of_mask
from portal.access import GRANTS, NotFoundError, Permission, require
from portal.alert_rules import write_threshold
from portal.export import Cell, Column, Sheet, _, export
from portal.listing import Listing, read_listing
from portal.office.documents import router as documents_router
from portal.office.funds_edit import router as edit_router
from portal.office.regency import regency_of
from portal.office.today import BurnDown, draw_burn_downs, first_day_after
from portal.page import page_language, render_page
from portal.plot import plot_response
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.alert_override import read_own_thresholds
from workflow.alert_rules import KINDS
from workflow.read_fund import (
    FundSheet,
    check_chain,
    read_documents,
    read_fund,
    read_funds,
    read_journal,
    read_left,
    read_lines,
    stream_journal,
)
from workflow.sign_in import Visitor

router = APIRouter()
router.include_router(edit_router)
router.include_router(documents_router)
Reader = Annotated[Visitor, require(Permission.READ_FUNDS)]

_ENTRIES_PER_PAGE: Final = 25
_SORTS: Final = ("name", "kind", "window_to", "pledged", "available", "reserved", "committed", "disbursed")
_MONEY: Final = ("pledged", "available", "reserved", "committed", "disbursed")


@router.get("/funds")
def show_funds(request: Request, visitor: Reader) -> Response:
    """The list; its state is in the address."""
    listing, found = _list(request, visitor)
    first = (listing.page - 1) * listing.size
    return render_page(
        request,
        "office/funds.html",
        visitor=visitor,
        regency=regency_of(request, visitor),
        listing=listing,
        funds=[(fund, available_of(fund)) for fund in found[first : first + listing.size]],
        total=len(found),
        sums={name: sum(_amount(fund, name) for fund in found) for name in _MONEY},
        more=len(found) > first + listing.size,
    )


@router.get("/funds.{form}")
def export_funds(request: Request, visitor: Reader, form: str) -> Response:
    """The list as it is filtered, whole."""
    _check_form(form)
    listing, found = _list(request, visitor)
    columns = [Column(_("Code")), Column(_("Name"), width=36), Column(_("Kind"))]
    columns += [Column(_("Funder"), width=30), Column(_("From"), "date"), Column(_("Until"), "date")]
    columns += [Column(_("Pledge or ceiling"), "rupiah", 18), Column(_("Available"), "rupiah", 18)]
    columns += [Column(_("Reserved"), "rupiah", 18), Column(_("Committed"), "rupiah", 18)]
    columns.append(Column(_("Disbursed"), "rupiah", 18))
    rows = (
        [fund.code, fund.name, fund.kind, fund.funder, fund.window_from, fund.window_to]
        + [_amount(fund, name) for name in _MONEY]
        for fund in found
    )
    notes = {_("Regency"): region_name(regency_of(request, visitor))} | listing.filtered()
    return export(request, Sheet(_("Funds"), columns, rows, notes), form, "dana")


@router.get("/funds/{code}")
def show_fund(
    request: Request, visitor: Reader, code: str, before: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """A fund's page; ``before`` pages the journal by number. ``sent`` is a change that is on its way."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = find_fund(request, visitor, connection, code)
        entries = read_journal(connection, fund.row.id, before, _ENTRIES_PER_PAGE + 1)
        lines = read_lines(connection, fund.row.id)
        documents = read_documents(connection, fund.row.id)
        left = read_left(connection, fund.row.id, _timezone(request, fund.row))
        own_thresholds = read_own_thresholds(connection, fund.row.regency_code, fund.row.code)
    return render_page(
        request,
        "office/fund_sheet.html",
        visitor=visitor,
        fund=fund.row,
        available_rupiah=fund.balances.available_rupiah,
        regions=[region_name(each) for each in fund.row.regions],
        programmes=bundle_of_mask(fund.row.programmes),
        entries=entries[:_ENTRIES_PER_PAGE],
        older=len(entries) > _ENTRIES_PER_PAGE,
        newest=before is None,
        lines=lines,
        documents=documents,
        left=left,
        ends=first_day_after(fund.row.window_to),
        may_change=Permission.CHANGE_FUNDS in GRANTS[visitor.role],
        sent=request.query_params.get("sent", ""),
        own_thresholds=own_thresholds,
        may_manage_alerts=Permission.MANAGE_ALERTS in GRANTS[visitor.role],
        kinds=KINDS,
        write_threshold=write_threshold,
    )


@router.get("/funds/{code}/burn-down.svg")
def show_burn_down(request: Request, visitor: Reader, code: str) -> Response:
    """The fund's money left day by day, against an even use until its window ends."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = find_fund(request, visitor, connection, code).row
        left = read_left(connection, fund.id, _timezone(request, fund))
    if not left:
        raise NotFoundError
    line = BurnDown(fund.kind, left, first_day_after(fund.window_to))
    return plot_response(draw_burn_downs((line,), page_language(request)))


@router.get("/funds/{code}/chain")
def show_chain(request: Request, visitor: Reader, code: str) -> Response:
    """Whether the fund's journal is as it was written, recomputed now."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = find_fund(request, visitor, connection, code)
        chain = check_chain(connection, fund.row.id, fund.row.code)
    return render_page(request, "office/fund_chain.html", visitor=visitor, chain=chain)


@router.get("/funds/{code}/journal.{form}")
def export_journal(request: Request, visitor: Reader, code: str, form: str) -> Response:
    """The whole journal with its hashes, so that it can be checked elsewhere."""
    _check_form(form)
    columns = [Column(_("Number"), "whole"), Column(_("When"), width=26), Column(_("Kind"))]
    columns += [
        Column(_("Amount"), "rupiah", 18),
        Column(_("Cause")),
        Column(_("Number of the cause"), width=38),
    ]
    columns.append(Column(_("Seal (SHA-256)"), width=66))
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = find_fund(request, visitor, connection, code)
        rows = _journal_rows(stream_journal(connection, fund.row.id))
        notes = {_("Fund"): f"{fund.row.code} {fund.row.name}"}
        return export(request, Sheet(_("Journal"), columns, rows, notes), form, "jurnal")


def find_fund(request: Request, visitor: Visitor, connection: Connection, code: str) -> FundSheet:
    """The fund, or ``NotFoundError``, whether it does not exist or is another regency's."""
    fund = read_fund(connection, regency_of(request, visitor), code)
    if fund is None:
        raise NotFoundError
    return fund


def available_of(fund: Row[Any]) -> int:
    """Rupiah that may still be reserved."""
    promised = fund.reserved_rupiah + fund.committed_rupiah + fund.disbursed_rupiah + fund.expired_rupiah
    return int(fund.pledged_rupiah - promised)


def _timezone(request: Request, fund: Row[Any]) -> str:
    timezone: str = request.app.state.portal.timezone(fund.regency_code)
    return timezone


def _amount(fund: Row[Any], name: str) -> int:
    return available_of(fund) if name == "available" else int(getattr(fund, f"{name}_rupiah"))


def _list(request: Request, visitor: Visitor) -> tuple[Listing, list[Row[Any]]]:
    listing = read_listing(request, sorts=_SORTS, default="name", filters={"kind": ("csr", "apbd")})
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        funds = read_funds(connection, regency_of(request, visitor))
    wanted, kind = listing.search.casefold(), listing.filters["kind"]
    found = [
        fund
        for fund in funds
        if kind in ("", fund.kind) and wanted in f"{fund.code} {fund.name} {fund.funder or ''}".casefold()
    ]

    def place(fund: Row[Any]) -> Any:
        return _amount(fund, listing.sort) if listing.sort in _MONEY else getattr(fund, listing.sort)

    return listing, sorted(found, key=place, reverse=listing.descending)


def _journal_rows(entries: Iterable[Row[Any]]) -> Iterable[Sequence[Cell]]:
    for entry in entries:
        yield [
            entry.number,
            entry.recorded_at,
            entry.kind,
            entry.amount_rupiah,
            entry.cause,
            str(entry.cause_id),
            entry.hash.hex(),
        ]


def _check_form(form: str) -> None:
    if form not in ("xlsx", "csv"):
        raise NotFoundError
