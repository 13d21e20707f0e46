"""Tables to take away: XLSX and CSV, with a sheet that says what was filtered.

A cell that a spreadsheet would take for a formula is quoted (OWASP, CSV injection).
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import xlsxwriter
from fastapi import Response
from fastapi.responses import StreamingResponse

Cell = str | int | float | dt.date | dt.datetime | None
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export; ``kind`` decides how the cells look."""

    title: str
    kind: Literal["text", "whole", "rupiah", "date"] = "text"
    width: int = 16


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table to take away. ``notes`` are named facts for the second sheet: filter, moment, who asked."""

    name: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Cell]]
    notes: Mapping[str, str]


def export(sheet: Sheet, form: str, file_name: str) -> Response:
    """The answer with the table as ``xlsx`` or ``csv``."""
    name = f'attachment; filename="{file_name}.{form}"'
    if form == "csv":
        lines = write_csv(sheet)
        return StreamingResponse(
            lines, media_type="text/csv; charset=utf-8", headers={"Content-Disposition": name}
        )
    return Response(write_xlsx(sheet), media_type=_XLSX, headers={"Content-Disposition": name})


def quote_formula(text: str) -> str:
    """The text with an apostrophe before it when a spreadsheet would calculate it."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def write_csv(sheet: Sheet) -> Iterator[bytes]:
    """Lines of UTF-8 with a byte-order mark, so that Excel reads them; the notes come last, after a blank."""
    yield "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
    yield _line([column.title for column in sheet.columns])
    for row in sheet.rows:
        yield _line([_plain(cell) for cell in row])
    yield _line([])
    for name, value in sheet.notes.items():
        yield _line([name, quote_formula(value)])


def write_xlsx(sheet: Sheet) -> bytes:
    """A workbook of two sheets, written row by row."""
    buffer = io.BytesIO()
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(buffer, options) as book:
        head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        formats = {
            "text": book.add_format({"num_format": "@"}),
            "whole": book.add_format({"num_format": "#,##0"}),
            "rupiah": book.add_format({"num_format": '"Rp" #,##0'}),
            "date": book.add_format({"num_format": "d mmm yyyy"}),
        }
        page = book.add_worksheet(sheet.name[:31])
        page.freeze_panes(1, 0)
        for at, column in enumerate(sheet.columns):
            page.set_column(at, at, column.width)
        for at, column in enumerate(sheet.columns):
            page.write_string(0, at, column.title, head)
        for number, row in enumerate(sheet.rows, start=1):
            for at, (cell, column) in enumerate(zip(row, sheet.columns, strict=True)):
                look = formats[column.kind]
                if isinstance(cell, dt.datetime):
                    page.write_string(number, at, cell.isoformat(timespec="seconds"), look)
                elif isinstance(cell, dt.date):
                    page.write_datetime(number, at, cell, look)
                elif isinstance(cell, str):
                    page.write_string(number, at, quote_formula(cell), look)
                elif cell is not None:
                    page.write_number(number, at, cell, look)
        about = book.add_worksheet("Keterangan")
        about.set_column(0, 1, 40)
        for number, (name, value) in enumerate(sheet.notes.items()):
            about.write_string(number, 0, name)
            about.write_string(number, 1, quote_formula(value))
    return buffer.getvalue()


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, dt.datetime):
        return cell.isoformat(timespec="seconds")
    if isinstance(cell, dt.date):
        return cell.isoformat()
    return quote_formula(cell) if isinstance(cell, str) else str(cell)


def _line(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().encode()
