"""Proof for a company's own report: a signed statement as PDF, and the public page that checks it."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from importlib import resources
from typing import Annotated, Any, Final

import orjson
import segno
import typst
from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import NotFoundError
from portal.accounts.sign_in import now, vault_of
from portal.company.overview import CompanyReader, funder_of
from portal.export import Column, Sheet, export
from portal.page import render_page
from portal.region_name import region_name
from portal.unit import open_unit
from portal.words import Words
from workflow.read_company import SMALLEST_GROUP
from workflow.sign_in import Visitor
from workflow.sign_statement import (
    NothingToStateError,
    SignedStatement,
    find_by_code,
    find_statement,
    list_statements,
    public_key,
    sign_statement,
    write_content,
)

router = APIRouter()

_MONEY: Final = (
    ("Komitmen dalam periode", "pledged_rupiah"),
    ("Disetujui", "committed_rupiah"),
    ("Dibayarkan", "disbursed_rupiah"),
    ("Sisa saat ditandatangani", "balance_rupiah"),
)

Year = Annotated[int, Form(ge=2000, le=2100)]


@router.get("/company/statements")
def show_statements(request: Request, visitor: CompanyReader) -> Response:
    """What was signed for the company, and the form for another year."""
    return _render(request, visitor)


@router.post("/company/statements")
def post_statement(request: Request, visitor: CompanyReader, year: Year) -> Response:
    """Sign a statement about a calendar year, as far as it has gone."""
    portal = request.app.state.portal
    timezone = portal.timezone(portal.settings.regencies[0])
    first, last = dt.date(year, 1, 1), dt.date(year, 12, 31)
    try:
        with open_unit(portal.engine, visitor) as connection:
            content = write_content(connection, funder_of(visitor), first, last, timezone)
    except NothingToStateError:
        return _render(request, visitor, 422, problem=True)
    sign_statement(portal.engine, vault_of(request), content, visitor.email, now())
    return RedirectResponse("/company/statements", 303)


@router.get("/company/statements/{statement_id}")
def download_statement(request: Request, visitor: CompanyReader, statement_id: uuid.UUID) -> Response:
    """The statement as PDF, with a code that anybody can check."""
    statement = _find(request, visitor, statement_id)
    pdf = _draw(request, statement, "statement.typ", write_figures(statement))
    return _pdf(pdf, f"pernyataan-{statement.id}")


@router.get("/company/statements/{statement_id}/certificate")
def download_certificate(request: Request, visitor: CompanyReader, statement_id: uuid.UUID) -> Response:
    """One page to frame, with the same code to check."""
    statement = _find(request, visitor, statement_id)
    figures = {"paid": Words("id").rupiah(statement.content["disbursed_rupiah"])}
    return _pdf(_draw(request, statement, "certificate.typ", figures), f"sertifikat-{statement.id}")


@router.get("/company/statements/{statement_id}/table")
def download_table(request: Request, visitor: CompanyReader, statement_id: uuid.UUID) -> Response:
    """The statement's figures as a workbook, whose second sheet says how to check them."""
    statement = _find(request, visitor, statement_id)
    content = statement.content
    money = [(label, None, None, content[name]) for label, name in _MONEY]
    reach = [
        (name, each["workers"], each["months"], None)
        for name, each in (*content["programmes"].items(), *_by_district(content))
    ]
    columns = [
        Column("Keterangan", width=36),
        Column("Pekerja", "whole"),
        Column("Bulan program", "whole"),
        Column("Rupiah", "rupiah", 20),
    ]
    notes = {
        "Perusahaan": str(content["company"]),
        "Periode": f"{content['period_from']} – {content['period_to']}",
        "SHA-256": statement.digest,
        "Periksa di": _address(request, statement),
    }
    sheet = Sheet("pernyataan", columns, [*money, *reach], notes)
    return export(request, sheet, "xlsx", f"pernyataan-{statement.id}")


@router.get("/verify/{code}")
def check_statement(request: Request, code: str) -> Response:
    """What the statement says and whether this house signed it; for anybody who holds the paper."""
    vault = vault_of(request)
    statement = find_by_code(request.app.state.portal.engine, vault, code)
    if statement is None:
        raise NotFoundError
    return render_page(request, "company/verify.html", statement=statement, public_key=public_key(vault))


def _render(request: Request, visitor: Visitor, status_code: int = 200, *, problem: bool = False) -> Response:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        statements = list_statements(connection, vault_of(request), funder_of(visitor))
    return render_page(
        request,
        "company/statements.html",
        visitor=visitor,
        status_code=status_code,
        statements=statements,
        year=now().year,
        problem=problem,
    )


def _find(request: Request, visitor: Visitor, statement_id: uuid.UUID) -> SignedStatement:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        statement = find_statement(connection, vault_of(request), funder_of(visitor), statement_id)
    if statement is None:
        raise NotFoundError
    return statement


def _address(request: Request, statement: SignedStatement) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/verify/{statement.code}"


def _by_district(content: dict[str, Any]) -> list[tuple[str, dict[str, int | None]]]:
    """Districts by name; small ones were merged before signing and have no code."""
    return [
        (region_name(code) if code else "Kecamatan lain", reach)
        for code, reach in content["districts"].items()
    ]


def say_count(words: Words, count: int | None) -> str:
    """A count; few people are never counted, so that none of them can be recognised."""
    return f"kurang dari {SMALLEST_GROUP}" if count is None else words.whole(count)


def write_figures(statement: SignedStatement) -> dict[str, Any]:
    """The statement's tables as texts."""
    words, content = Words("id"), statement.content
    return {
        "npwp": content["npwp"],
        "money": [[label, words.rupiah(content[name])] for label, name in _MONEY],
        "rows": [
            [name, say_count(words, reach["workers"]), say_count(words, reach["months"])]
            for name, reach in (*content["programmes"].items(), *_by_district(content))
        ],
    }


def _draw(request: Request, statement: SignedStatement, template: str, figures: dict[str, Any]) -> bytes:
    """The document in Indonesian. What it says goes in as data, so that no name can be taken for markup."""
    words, content, picture = Words("id"), statement.content, io.BytesIO()
    address = _address(request, statement)
    segno.make(address, error="m").save(picture, kind="svg", border=0)
    data = figures | {
        "number": str(statement.id),
        "company": content["company"],
        "period": f"{content['period_from']} – {content['period_to']}",
        "workers": say_count(words, content["total"]["workers"]),
        "digest": statement.digest,
        "signature": statement.signature,
        "key": public_key(vault_of(request)),
        "address": address,
        "signed_at": words.moment(statement.signed_at),
    }
    source = (resources.files("portal") / "templates/company" / template).read_bytes()
    inputs = {"data": orjson.dumps(data).decode(), "qr": picture.getvalue().decode()}
    pdf: bytes = typst.compile(source, sys_inputs=inputs)
    return pdf


def _pdf(pdf: bytes, name: str) -> Response:
    return Response(
        pdf,
        media_type="application/pdf",
        headers={"Content-Disposition": f'attachment; filename="{name}.pdf"'},
    )
