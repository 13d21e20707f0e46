"""Read the offline match's CSV files: workers, funds and an earlier plan.

A clean file of a million rows is read in the order of a second: PyArrow parses it, and every
column of few distinct values is checked once per distinct value. A file with any fault is read
again row by row, so that all wrong rows are counted and the first hundred are named by file,
row, column, value and what was expected. Row 1 is the header, as in a spreadsheet.

Accepted: UTF-8 with or without BOM, any line ending, comma, semicolon or tab between cells,
quoted cells, columns in any order, blank lines, further columns (ignored, with a note), and
files with a header and no rows.
"""

from __future__ import annotations

import csv
import io
import mmap
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from models.programme import BundleError, Programme, parse_bundle, parse_programme
from models.tariff import Payer
from optimizer.problem import NONE, Int32, Sex
from workflow.match_columns import as_numpy, text_column
from workflow.match_problem import FundTerms, WorkerRows
from workflow.match_regions import RegionCodes

#: Amounts above this cannot be told apart by every reader of JSON or spreadsheets.
HIGHEST_RUPIAH = 2**53
#: How many wrong rows are named; all are counted.
NAMED_FAULTS = 100
#: Head counts and months above this are no limit to anybody.
HIGHEST_COUNT = 10**9
FIRST_BIRTH_YEAR = 1900
LONGEST_ID = 200

WORKER_COLUMNS = (
    "worker_id",
    "village",
    "occupation",
    "sex",
    "birth_year",
    "programmes",
    "months",
    "priority",
)
FUND_COLUMNS = (
    "fund_id",
    "kind",
    "amount_rupiah",
    "regions",
    "occupations",
    "programmes",
    "max_months",
    "head_count_cap",
    "district_cap",
    "min_workers",
    "expires",
    "jkk_jkm_discount",
)
PREVIOUS_COLUMNS = ("worker_id", "fund_id")
#: Columns an earlier plan has that say nothing a new match needs.
PREVIOUS_IGNORED = ("months", "amount_rupiah")

_WHOLE = re.compile(r"[0-9]{1,30}")
_OCCUPATION = re.compile(r"[a-z0-9_]{1,60}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FRACTION = re.compile(r"[01](\.[0-9]{1,12})?|\.[0-9]{1,12}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SURROGATE = re.compile(r"[\udc80-\udcff]")
_DELIMITERS = (",", ";", "\t")
_BLOCK_BYTES = 4 << 20
_HASHED_BYTES = 40
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class FileFault:
    """One thing that is wrong. ``row`` is None for a fault of the whole file."""

    file: str
    row: int | None
    column: str
    value: str
    expected: str

    def __str__(self) -> str:
        where = self.file if self.row is None else f"{self.file} row {self.row}"
        what = f", {self.column}" if self.column else ""
        value = f"{self.value!r}; " if self.value else ""
        return f"{where}{what}: {value}{self.expected}"


class MatchFilesError(ValueError):
    """Input files are wrong. ``rows`` counts every wrong row; ``faults`` are those of the first hundred."""

    def __init__(self, faults: Sequence[FileFault], rows: int) -> None:
        self.faults = tuple(faults)
        self.rows = rows
        self.named_rows = min(rows, NAMED_FAULTS)
        super().__init__(f"{rows} wrong row(s)")


@dataclass(slots=True)
class FaultList:
    """Counts wrong rows over all files and keeps the faults of the first hundred."""

    faults: list[FileFault] = field(default_factory=list)
    rows: int = 0

    def add_row(self, faults: Sequence[FileFault]) -> None:
        """Record the faults of one row."""
        if not faults:
            return
        self.rows += 1
        if self.rows <= NAMED_FAULTS:
            self.faults.extend(faults)

    def stop_if_any(self) -> None:
        """Raise :class:`MatchFilesError` when anything was recorded."""
        if self.rows:
            raise MatchFilesError(self.faults, self.rows)


class Refused(ValueError):
    """A cell is wrong; the message says what was expected."""


# ---------------------------------------------------------------- cells


def _whole(lowest: int, highest: int, words: str) -> Callable[[str], int]:
    def check(text: str) -> int:
        if not _WHOLE.fullmatch(text) or not lowest <= int(text) <= highest:
            raise Refused(f"expected {words}")
        return int(text)

    return check


def _optional(check: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: check(text) if text else None


def _occupation(text: str) -> str:
    if not _OCCUPATION.fullmatch(text):
        raise Refused("expected a lowercase word of letters, digits and underscores")
    return text


def _sex(text: str) -> int:
    if text not in ("", "L", "P"):
        raise Refused("expected L, P or empty")
    return int(Sex[text]) if text else int(Sex.UNKNOWN)


def _bundle(text: str) -> str:
    try:
        return "+".join(parse_bundle(text))
    except BundleError as error:
        raise Refused(f"{error}; expected programmes joined by +, such as JKK+JKM") from None


def _birth_year(today: date) -> Callable[[str], int]:
    check = _whole(FIRST_BIRTH_YEAR, today.year, f"a year from {FIRST_BIRTH_YEAR} to {today.year}, or empty")
    return lambda text: check(text) if text else NONE


def _identifier(text: str) -> str:
    if not text.strip():
        raise Refused("expected an identifier, found an empty cell")
    if len(text) > LONGEST_ID or _CONTROL.search(text):
        raise Refused(f"expected at most {LONGEST_ID} characters without control characters")
    return text


def _payer(text: str) -> Payer:
    try:
        return Payer(text)
    except ValueError:
        raise Refused("expected csr or apbd") from None


def _list(check: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    def check_all(text: str) -> tuple[Any, ...]:
        if not text:
            return ()
        return tuple(dict.fromkeys(check(part.strip()) for part in text.split(";")))

    return check_all


def _programme(text: str) -> Programme:
    try:
        return parse_programme(text)
    except BundleError as error:
        raise Refused(f"{error}; expected programmes joined by ; (empty = all)") from None


def _expires(text: str) -> date | None:
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Refused("expected a date such as 2026-12-31, or empty")


def _discount(text: str) -> Fraction:
    if not text:
        return Fraction(0)
    # A spreadsheet in Indonesian locale writes the decimal comma.
    text = text.replace(",", ".", 1)
    if not _FRACTION.fullmatch(text) or Fraction(text) > 1:
        raise Refused("expected a fraction from 0 to 1, such as 0.5, or empty")
    return Fraction(text)


def _worker_checks(regions: RegionCodes, today: date) -> dict[str, Callable[[str], Any]]:
    def village(text: str) -> str:
        fault = regions.village_fault(text)
        if fault:
            raise Refused(fault)
        return text

    return {
        "worker_id": _identifier,
        "village": village,
        "occupation": _occupation,
        "sex": _sex,
        "birth_year": _birth_year(today),
        "programmes": _bundle,
        "months": _whole(1, 12, "a whole number of months from 1 to 12"),
        "priority": _whole(1, 100, "a whole number from 1 to 100"),
    }


def _fund_checks(regions: RegionCodes) -> dict[str, Callable[[str], Any]]:
    def region(text: str) -> str:
        fault = regions.prefix_fault(text)
        if fault:
            raise Refused(fault)
        return text

    count = _optional(_whole(0, HIGHEST_COUNT, f"a whole number from 0 to {HIGHEST_COUNT}, or empty"))
    return {
        "fund_id": _identifier,
        "kind": _payer,
        "amount_rupiah": _whole(
            1, HIGHEST_RUPIAH, f"whole rupiah from 1 to {HIGHEST_RUPIAH}, without separators"
        ),
        "regions": _list(region),
        "occupations": _list(_occupation),
        "programmes": _list(_programme),
        "max_months": count,
        "head_count_cap": count,
        "district_cap": count,
        "min_workers": count,
        "expires": _expires,
        "jkk_jkm_discount": _discount,
    }


# ---------------------------------------------------------------- tables


@dataclass(frozen=True, slots=True)
class CsvText:
    """A file that is text with a header: its bytes, delimiter and column names as written."""

    name: str
    data: Any  # bytes or a memory map of them
    delimiter: str
    columns: tuple[str, ...]  # normalised
    written: tuple[str, ...]  # as in the file, to find them again

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Row number and cells of every row that is not blank; bytes that are no UTF-8 are escaped."""
        stream = io.TextIOWrapper(
            io.BytesIO(self.data), encoding="utf-8-sig", errors="surrogateescape", newline=""
        )
        for number, cells in enumerate(csv.reader(stream, delimiter=self.delimiter), start=1):
            if number > 1 and cells:
                yield number, cells


def open_csv(path: Path, required: Sequence[str], faults: FaultList) -> CsvText | None:
    """The file as text with all ``required`` columns, or None after recording why it is not.

    Raises OSError when it cannot be read at all.
    """

    def refuse(row: int | None, expected: str) -> None:
        faults.add_row([FileFault(path.name, row, "", "", expected)])

    with path.open("rb") as stream:
        try:
            data: mmap.mmap | bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):  # a pipe, or an empty file
            data = stream.read()
    if not data:
        refuse(None, f"the file is empty; expected a header: {', '.join(required)}")
        return None
    reason = _binary_reason(data)
    if reason:
        refuse(None, reason)
        return None
    head = bytes(data[: 1 << 16]).decode("utf-8-sig", errors="surrogateescape")
    # Only the first record matters here; csv finds its end even inside quotes.
    written: list[str] = []
    delimiter = ","
    for candidate in _DELIMITERS:
        try:
            found = next(csv.reader(io.StringIO(head, newline=""), delimiter=candidate), [])
        except csv.Error:
            found = []
        if sum(_normal(name) in required for name in found) > sum(
            _normal(name) in required for name in written
        ):
            written, delimiter = found, candidate
    columns = tuple(_normal(name) for name in written)
    missing = [name for name in required if name not in columns]
    if len(missing) == len(required):
        refuse(1, f"no header found; expected the columns {', '.join(required)}")
        return None
    if missing:
        refuse(1, f"missing column(s) {', '.join(missing)}; expected {', '.join(required)}")
        return None
    doubled = sorted({name for name in columns if columns.count(name) > 1 and name in required})
    if doubled:
        refuse(1, f"column(s) {', '.join(doubled)} stand twice; expected each once")
        return None
    return CsvText(path.name, data, delimiter, columns, tuple(written))


def _normal(name: str) -> str:
    return name.strip().lower()


def _binary_reason(data: mmap.mmap | bytes) -> str | None:
    start = data[:8]
    if start[:2] == b"PK":
        return "this is a spreadsheet or ZIP file; expected CSV text (export the sheet as CSV)"
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "this is UTF-16 text; expected CSV in UTF-8"
    if start[:2] == b"\x1f\x8b":
        return "this is a compressed file; expected CSV text"
    position = data.find(b"\0")
    if position >= 0:
        row = data[:position].count(b"\n") + 1
        return f"there is a NUL byte in row {row}; expected CSV text, this looks like a binary file"
    return None


def _name_faults(
    text: CsvText,
    checks: Mapping[str, Callable[[str], Any]],
    unique: str,
    faults: FaultList,
    keep: Callable[[int, dict[str, Any]], None] | None = None,
) -> None:
    """Check the file row by row, recording every wrong row; ``keep`` gets the values of right ones."""
    position = {name: text.columns.index(name) for name in checks}
    memory: dict[str, dict[str, Any]] = {name: {} for name in checks}
    seen: dict[str, int] = {}
    number = 1
    try:
        for number, cells in text.rows():
            if len(cells) != len(text.columns):
                hint = " (in a semicolon-separated file, lists joined by ; need quotes)"
                faults.add_row(
                    [
                        FileFault(
                            text.name,
                            number,
                            "",
                            "",
                            f"found {len(cells)} cells, expected {len(text.columns)}"
                            + (hint if text.delimiter == ";" and len(cells) > len(text.columns) else ""),
                        )
                    ]
                )
                continue
            found: list[FileFault] = []
            values: dict[str, Any] = {}
            for name, check in checks.items():
                cell = cells[position[name]]
                value = _check_cell(check, cell if name == unique else cell.strip(), memory[name])
                if isinstance(value, Refused):
                    # Identifiers may be personal data: name the row, never the value.
                    shown = "" if name == unique else cell.encode("utf-8", "replace").decode()[:40]
                    found.append(FileFault(text.name, number, name, shown, str(value)))
                values[name] = value
            key = cells[position[unique]]
            first = seen.setdefault(key, number)
            if first != number and key.strip():
                expected = f"the same identifier as in row {first}; expected each once"
                found.append(FileFault(text.name, number, unique, "", expected))
            if found:
                faults.add_row(found)
            elif keep is not None:
                keep(number, values)
    except csv.Error as error:
        faults.add_row(
            [FileFault(text.name, number + 1, "", "", f"cannot be read as CSV ({error}); is a quote open?")]
        )


def _check_cell(check: Callable[[str], Any], cell: str, memory: dict[str, Any]) -> Any:
    if cell in memory:
        return memory[cell]
    try:
        if _SURROGATE.search(cell):
            raise Refused("not UTF-8 text; expected CSV in UTF-8")
        value = check(cell)
    except Refused as refused:
        value = refused
    if len(memory) < 100_000:
        memory[cell] = value
    return value


def _notes_on_columns(text: CsvText, known: Sequence[str]) -> list[str]:
    extra = [name for name in text.columns if name not in known]
    if not extra:
        return []
    return [f"{text.name}: column(s) ignored: {', '.join(name[:40] for name in extra[:20])}"]


class _Unclean(Exception):
    """The fast path met something that only the row-by-row path can name."""


def _read_columns(text: CsvText, coded: Sequence[str], plain: Sequence[str]) -> pa.Table:
    """The named columns: ``coded`` as dictionary arrays, ``plain`` as strings."""
    written = {name: text.written[text.columns.index(name)] for name in (*coded, *plain)}
    types: dict[str, pa.DataType] = {written[name]: pa.string() for name in plain}
    types |= {written[name]: pa.dictionary(pa.int32(), pa.string()) for name in coded}
    # A line end inside quotes costs the parser its parallel start; without quotes there is none.
    quoted = text.data.find(b'"') >= 0
    try:
        table = pacsv.read_csv(
            pa.BufferReader(pa.py_buffer(text.data)),
            read_options=pacsv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pacsv.ParseOptions(delimiter=text.delimiter, newlines_in_values=quoted),
            convert_options=pacsv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=[],
                strings_can_be_null=False,
                check_utf8=True,
            ),
        )
    except pa.ArrowInvalid as error:
        if next(text.rows(), None) is not None:
            raise _Unclean(str(error)) from error
        # Arrow wants a line end after the header before it sees a table without rows.
        return pa.schema([(name, types[written[name]]) for name in (*plain, *coded)]).empty_table()
    return table.rename_columns([*plain, *coded]).unify_dictionaries()


def _coded(table: pa.Table, name: str, check: Callable[[str], Any]) -> tuple[Int32, list[Any]]:
    """One dictionary column as indices into the list of its distinct checked values."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # a table without rows has no chunk to combine
        return np.zeros(0, dtype=np.int32), []
    values: dict[Any, int] = {}
    code_of = np.zeros(len(column.dictionary), dtype=np.int32)
    for position, cell in enumerate(column.dictionary.to_pylist()):
        try:
            value = check(cell.strip())
        except Refused as refused:
            raise _Unclean(str(refused)) from refused
        code_of[position] = values.setdefault(value, len(values))
    return code_of[as_numpy(column.indices, np.int32)], list(values)


def _numbers(table: pa.Table, name: str, check: Callable[[str], Any], dtype: Any) -> Any:
    codes, values = _coded(table, name, check)
    return np.array(values, dtype=dtype)[codes] if values else np.zeros(0, dtype=dtype)


def _identifiers(table: pa.Table, name: str) -> pa.Array:
    """The identifier column as one string array, certain to be non-empty, printable and unique."""
    column = table.column(name).combine_chunks()
    ids = column if not isinstance(column, pa.ChunkedArray) else text_column(())
    if not len(ids):
        return ids
    lengths = pc.min_max(pc.binary_length(ids)).as_py()
    text = np.frombuffer(ids.buffers()[2], dtype=np.uint8)
    unusual = lengths["min"] == 0 or lengths["max"] > LONGEST_ID
    # A blank identifier needs the row-by-row check; so does one that might be only spaces.
    if unusual or bool(((text <= 32) | (text == 127)).any()):
        if pc.any(pc.less_equal(pc.utf8_length(pc.utf8_trim_whitespace(ids)), 0)).as_py():
            raise _Unclean("an empty identifier")
        if pc.max(pc.utf8_length(ids)).as_py() > LONGEST_ID:
            raise _Unclean("an identifier is too long")
        if bool(((text < 32) | (text == 127)).any()):
            raise _Unclean("a control character")
    if not _all_distinct(ids):
        raise _Unclean("an identifier stands twice")
    return ids


def _all_distinct(ids: pa.Array) -> bool:
    """Whether no string stands twice.

    Different 64-bit hashes prove different strings, and hashing column by column of bytes and
    sorting takes a third of the time of a hash table of strings; equal ones are looked at.
    """
    if ids.offset == 0 and len(ids):
        ends = np.frombuffer(ids.buffers()[1], dtype=np.int32)[: len(ids) + 1]
        text = np.frombuffer(ids.buffers()[2], dtype=np.uint8)
        lengths = np.diff(ends)
        if int(lengths.max()) <= _HASHED_BYTES:
            hashes = lengths.astype(np.uint64)
            for place in range(int(lengths.max())):
                byte = text[np.minimum(ends[:-1] + place, len(text) - 1)].astype(np.uint64)
                byte[lengths <= place] = 0
                hashes = hashes * _HASH_FACTOR ^ byte
            hashes.sort()
            if bool((hashes[1:] != hashes[:-1]).all()):
                return True
    return len(pc.unique(ids)) == len(ids)


# ---------------------------------------------------------------- the three files


def read_workers(
    path: Path, regions: RegionCodes, today: date, faults: FaultList
) -> tuple[WorkerRows | None, list[str]]:
    """``workers.csv`` as coded columns, and notes for the reader; None after recording faults.

    ``today`` bounds plausible birth years.
    """
    text = open_csv(path, WORKER_COLUMNS, faults)
    if text is None:
        return None, []
    checks = _worker_checks(regions, today)
    try:
        table = _read_columns(text, [name for name in WORKER_COLUMNS if name != "worker_id"], ["worker_id"])
        village, villages = _coded(table, "village", checks["village"])
        occupation, occupations = _coded(table, "occupation", checks["occupation"])
        bundle, bundles = _coded(table, "programmes", checks["programmes"])
        rows = WorkerRows(
            worker_ids=_identifiers(table, "worker_id"),
            village=village,
            villages=tuple(villages),
            occupation=occupation,
            occupations=tuple(occupations),
            bundle=bundle,
            bundles=tuple(parse_bundle(value) for value in bundles),
            months=_numbers(table, "months", checks["months"], np.int32),
            priority=_numbers(table, "priority", checks["priority"], np.int32),
            sex=_numbers(table, "sex", checks["sex"], np.int8),
            birth_year=_numbers(table, "birth_year", checks["birth_year"], np.int16),
        )
    except _Unclean as unclean:
        _refuse_unclean(text, checks, "worker_id", faults, unclean)
        return None, []
    return rows, _notes_on_columns(text, WORKER_COLUMNS)


def _refuse_unclean(
    text: CsvText,
    checks: Mapping[str, Callable[[str], Any]],
    unique: str,
    faults: FaultList,
    unclean: _Unclean,
) -> None:
    before = faults.rows
    _name_faults(text, checks, unique, faults)
    if faults.rows == before:  # the two parsers disagree: refuse rather than guess
        faults.add_row([FileFault(text.name, None, "", "", f"cannot be read as CSV: {unclean}")])


def read_funds(
    path: Path, regions: RegionCodes, faults: FaultList
) -> tuple[tuple[FundTerms, ...], list[str]]:
    """``funds.csv`` as terms in file order, and notes; empty after recording faults."""
    text = open_csv(path, FUND_COLUMNS, faults)
    if text is None:
        return (), []
    funds: list[FundTerms] = []

    def keep(_row: int, cells: dict[str, Any]) -> None:
        funds.append(
            FundTerms(
                fund_id=cells["fund_id"],
                payer=cells["kind"],
                amount_rupiah=cells["amount_rupiah"],
                regions=cells["regions"],
                occupations=cells["occupations"],
                programmes=cells["programmes"],
                max_months=cells["max_months"],
                head_count_cap=cells["head_count_cap"],
                district_cap=cells["district_cap"],
                min_workers=cells["min_workers"],
                expires=cells["expires"],
                discount=cells["jkk_jkm_discount"],
            )
        )

    before = faults.rows
    _name_faults(text, _fund_checks(regions), "fund_id", faults, keep)
    if faults.rows != before:
        return (), []
    return tuple(funds), _notes_on_columns(text, FUND_COLUMNS)


def change_terms(fund: FundTerms, column: str, text: str, regions: RegionCodes) -> FundTerms:
    """A fund's terms with one column of ``funds.csv`` set as that file would say it.

    Raises :class:`Refused` for an unknown column or a wrong value.
    """
    checks = _fund_checks(regions)
    fields = {"kind": "payer", "jkk_jkm_discount": "discount"}
    if column not in checks or column == "fund_id":
        raise Refused(f"there is no rule {column!r}; expected one of {', '.join(FUND_COLUMNS[1:])}")
    try:
        changes: dict[str, Any] = {fields.get(column, column): checks[column](text.strip())}
    except Refused as refused:
        raise Refused(f"{column}: {text[:40]!r}; {refused}") from None
    return replace(fund, **changes)


def read_previous(
    path: Path, worker_ids: pa.Array, fund_ids: Sequence[str], faults: FaultList
) -> tuple[Int32, list[str]]:
    """An earlier plan as one fund index per worker (``NONE`` where it has none), and notes.

    Workers and funds that are no longer there are left out and counted in a note: a plan outlives
    the files it was made from.
    """
    current = np.full(len(worker_ids), NONE, dtype=np.int32)
    text = open_csv(path, PREVIOUS_COLUMNS, faults)
    if text is None:
        return current, []
    checks = {"worker_id": _identifier, "fund_id": _identifier}
    try:
        table = _read_columns(text, ["fund_id"], ["worker_id"])
        planned = _identifiers(table, "worker_id")
        fund, funds = _coded(table, "fund_id", _identifier)
    except _Unclean as unclean:
        _refuse_unclean(text, checks, "worker_id", faults, unclean)
        return current, []
    notes = _notes_on_columns(text, (*PREVIOUS_COLUMNS, *PREVIOUS_IGNORED))
    position = {fund_id: index for index, fund_id in enumerate(fund_ids)}
    fund_of = np.array([position.get(fund_id, NONE) for fund_id in funds] or [NONE], dtype=np.int32)[fund]
    row_of = pc.index_in(planned, value_set=worker_ids)
    row_of = np.asarray(pc.fill_null(row_of, NONE).to_numpy(zero_copy_only=False), dtype=np.int64)
    gone_workers, gone_funds = int((row_of < 0).sum()), int((fund_of < 0).sum())
    if gone_workers or gone_funds:
        notes.append(
            f"{text.name}: ignored {gone_workers} line(s) of workers and {gone_funds} line(s) of funds "
            "that are not in the files of this run"
        )
    usable = (row_of >= 0) & (fund_of >= 0)
    current[row_of[usable]] = fund_of[usable]
    return current, notes
