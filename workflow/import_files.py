"""Import files: read a CSV or XLSX table as rows of named columns, for intake."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO
from zipfile import BadZipFile

from python_calamine import CalamineError, CalamineWorkbook, PasswordError, XmlError, ZipError

from workflow.check_document import check_document


class FileUnreadableError(ValueError):
    """The file is no table Gotong can read; the message says why, in one sentence."""


def read_table(path: Path) -> Iterator[dict[str, object]]:
    """Rows of a ``.csv`` or ``.xlsx`` file (its first sheet) with a header; its first data row is row 2.

    Header names are lowercased and stripped; empty cells become ``None``, empty rows are kept as
    rows of ``None`` so that row numbers stay those of the file. CSV is UTF-8, separated by the comma
    or semicolon that the header uses. Raises :class:`FileUnreadableError`, at the first row or later.
    """
    ending = path.suffix.lower()
    if ending not in (".csv", ".xlsx"):
        raise FileUnreadableError(f"expected a .csv or .xlsx file, not {ending or 'one without ending'}")
    try:
        with path.open("rb") as file:
            yield from _name_columns(_read_csv(file) if ending == ".csv" else _read_xlsx(file))
    except OSError as error:
        raise FileUnreadableError(f"cannot be read: {error.strerror}") from None


def read_content(content: bytes) -> Iterator[dict[str, object]]:
    """The same from a file handed in, which says itself whether it is a workbook; else it is CSV.

    Raises ``DocumentRefusedError`` too, for a workbook that does harm.
    """
    is_workbook = content.startswith(b"PK")
    if is_workbook:
        check_document(content)
    yield from _name_columns((_read_xlsx if is_workbook else _read_csv)(io.BytesIO(content)))


def _read_csv(binary: BinaryIO) -> Iterator[list[object]]:
    try:
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = ";" if header.count(";") > header.count(",") else ","
            for row in csv.reader(chain([header], file), delimiter=delimiter, strict=True):
                yield list(row)
    except UnicodeDecodeError:
        raise FileUnreadableError("the text is not UTF-8; save it as CSV UTF-8") from None
    except csv.Error as error:
        raise FileUnreadableError(f"not a CSV table: {error}") from None


def _read_xlsx(binary: BinaryIO) -> Iterator[list[object]]:
    try:
        with CalamineWorkbook.from_filelike(binary) as workbook:
            sheet = workbook.get_sheet_by_index(0)
            # Rows above the first cell in use are left out by the library; row numbers must count them.
            for _ in range(sheet.start[0] if sheet.start else 0):
                yield []
            for row in sheet.iter_rows():
                yield list(row)
    except PasswordError:
        raise FileUnreadableError("the workbook is protected by a password") from None
    except (CalamineError, ZipError, XmlError, BadZipFile, OSError, ValueError):
        raise FileUnreadableError("not an Excel workbook (.xlsx)") from None


def _name_columns(rows: Iterator[list[object]]) -> Iterator[dict[str, object]]:
    first: Iterable[object] = next(rows, [])
    names = [str(cell).strip().lower() if cell is not None else "" for cell in first]
    while names and not names[-1]:
        names.pop()
    if not names or not all(names):
        raise FileUnreadableError("the first row must name every column")
    if len(set(names)) != len(names):
        raise FileUnreadableError("two columns have the same name")
    for number, cells in enumerate(rows, start=2):
        values = [None if isinstance(cell, str) and not cell.strip() else cell for cell in cells]
        if any(value is not None for value in values[len(names) :]):
            raise FileUnreadableError(f"row {number} has more cells than the header")
        values += [None] * (len(names) - len(values))
        yield dict(zip(names, values[: len(names)], strict=True))
