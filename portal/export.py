"""Tables to take away: XLSX and CSV, with a sheet that says what was filtered, in the reader's language.

A cell that a spreadsheet would take for a formula is quoted (OWASP, CSV injection).

A table is written row by row to a file without a name, and sent from there: it takes no more memory with more
rows, a fault on the way is an honest error instead of half a file, and a slow line keeps no transaction open.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final, Literal

import xlsxwriter
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from portal.page import page_language
from portal.words import read_translations

Cell = str | int | float | dt.date | dt.datetime | None
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_CHUNK_BYTES: Final = 64 * 1024
MEDIA_TYPES: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def _(text: str) -> str:
    """Mark a heading for the catalogue; it is translated when it is written."""
    return text


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export; ``kind`` decides how the cells look."""

    title: str
    kind: Literal["text", "whole", "rupiah", "date"] = "text"
    width: int = 16


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table to take away. ``notes`` are named facts for the second sheet: filter, moment, who asked.

    The sheet's name, its headings and the names of its notes are English; the catalogue has the Indonesian.
    """

    name: str
    columns: Sequence[Column]
    rows: Iterable[Sequence[Cell]]
    notes: Mapping[str, str]


def export(request: Request, sheet: Sheet, form: str, file_name: str) -> Response:
    """The answer with the table as ``xlsx`` or ``csv``; its rows are read before this returns."""
    say = sayer(request)
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once it was sent
    try:
        (_write_csv if form == "csv" else _write_xlsx)(file, sheet, say)
        size = file.tell() if form == "csv" else file.seek(0, io.SEEK_END)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    headers = {
        "Content-Disposition": f'attachment; filename="{file_name}.{form}"',
        "Content-Length": str(size),
    }
    return StreamingResponse(_send(file), media_type=MEDIA_TYPES[form], headers=headers)


def sayer(request: Request) -> Callable[[str], str]:
    """What says an English text in the reader's language."""
    return read_translations(page_language(request)).gettext


def quote_formula(text: str) -> str:
    """The text with an apostrophe before it when a spreadsheet would calculate it."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _send(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def _write_csv(file: IO[bytes], sheet: Sheet, say: Callable[[str], str]) -> None:
    """UTF-8 with a byte-order mark, so that Excel reads it; the notes come last, after a blank line."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([say(column.title) for column in sheet.columns])
    writer.writerows([_plain(cell) for cell in row] for row in sheet.rows)
    writer.writerow([])
    writer.writerows((say(name), quote_formula(value)) for name, value in sheet.notes.items())
    text.detach()


def _write_xlsx(file: IO[bytes], sheet: Sheet, say: Callable[[str], str]) -> None:
    """A workbook of two sheets, written row by row."""
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(file, options) as book:
        head = book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"})
        formats = {
            "text": book.add_format({"num_format": "@"}),
            "whole": book.add_format({"num_format": "#,##0"}),
            "rupiah": book.add_format({"num_format": '"Rp" #,##0'}),
            "date": book.add_format({"num_format": "d mmm yyyy"}),
        }
        page = book.add_worksheet(say(sheet.name)[:31])
        page.freeze_panes(1, 0)
        for at, column in enumerate(sheet.columns):
            page.set_column(at, at, column.width)
        for at, column in enumerate(sheet.columns):
            page.write_string(0, at, say(column.title), head)
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
        about = book.add_worksheet(say(_("About this table")))
        about.set_column(0, 1, 40)
        for number, (name, value) in enumerate(sheet.notes.items()):
            about.write_string(number, 0, say(name))
            about.write_string(number, 1, quote_formula(value))


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, dt.datetime):
        return cell.isoformat(timespec="seconds")
    if isinstance(cell, dt.date):
        return cell.isoformat()
    return quote_formula(cell) if isinstance(cell, str) else str(cell)
