"""What a month of cover costs, from one effective-dated table with its legal sources.

The table is ``models/data/tariffs.csv``. A row prices one programme for some payers, sectors
and months, either as a flat amount (``monthly_rupiah``) or as a percentage of the declared
income base (``percent_of_base`` between ``lowest_rupiah`` and ``highest_rupiah``), less
``discount_percent``. Empty ``payer`` or ``sector`` means all of them, an empty date an open end.

A row with a ``switch`` counts only for a fund that has this switch on; there it replaces the row
without. So a fact that nobody could verify (mark ``u``) is data that somebody turns on, never a
constant. Marks: ``v`` read at its source, ``n`` press or third-party text, ``u`` unverified.

All arithmetic is on integers and exact fractions. Every programme and month is rounded half up
by itself; a bundle is the sum.

Months are absolute numbers: ``year * 12 + month - 1`` (see :func:`parse_month`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

from models.programme import Bundle, BundleError, Programme, parse_programme

#: The income base that a need without a declared one is priced at.
DEFAULT_BASE_RUPIAH = 1_000_000

#: Programmes that a fund's own ``jkk_jkm_discount`` reduces.
DISCOUNTED_PROGRAMMES = frozenset({Programme.JKK, Programme.JKM})

#: Months with no end or no beginning.
FIRST_MONTH = 0
LAST_MONTH = 9999 * 12 + 11

KNOWN_COLUMNS = (
    "programme",
    "payer",
    "sector",
    "valid_from",
    "valid_to",
    "monthly_rupiah",
    "percent_of_base",
    "lowest_rupiah",
    "highest_rupiah",
    "discount_percent",
    "switch",
    "law",
    "mark",
)

_HIGHEST_RUPIAH = 10**9
_WORD = re.compile(r"[a-z0-9_]{1,60}")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?")
_WHOLE = re.compile(r"[0-9]{1,12}")


class Payer(StrEnum):
    """Who pays a contribution: a company's pledge or the regional budget."""

    CSR = "csr"
    APBD = "apbd"


class TariffError(ValueError):
    """The table is wrong, or has no price for what was asked; ``problems`` names each fault."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


def parse_month(text: str) -> int:
    """``2026-04`` as an absolute month number; raises ValueError for anything else."""
    match = _MONTH.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:20]!r} is not a month such as 2026-04")
    return int(match[1]) * 12 + int(match[2]) - 1


def write_month(month: int) -> str:
    """An absolute month number as ``2026-04``."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


def month_of(day: date) -> int:
    """The absolute number of the month that ``day`` is in."""
    return day.year * 12 + day.month - 1


def round_half_up(amount: Fraction) -> int:
    """The nearest integer, a half upwards; for amounts of money, which are never negative here."""
    return (2 * amount.numerator + amount.denominator) // (2 * amount.denominator)


@dataclass(frozen=True, slots=True)
class TariffRow:
    """One line of the table. ``payer`` or ``sector`` None means all; ``valid_to`` is inclusive."""

    programme: Programme
    payer: Payer | None
    sector: str | None
    valid_from: int
    valid_to: int
    monthly_rupiah: int | None
    percent_of_base: Fraction | None
    lowest_rupiah: int
    highest_rupiah: int
    discount: Fraction
    switch: str
    law: str
    mark: str
    row_number: int = 0

    def price_rupiah(self, base_rupiah: int, fund_discount: Fraction) -> int:
        """This row's price for one month, rounded half up once after all discounts."""
        if self.monthly_rupiah is not None:
            amount = Fraction(self.monthly_rupiah)
        else:
            assert self.percent_of_base is not None
            share = base_rupiah * self.percent_of_base / 100
            amount = min(max(share, Fraction(self.lowest_rupiah)), Fraction(self.highest_rupiah))
        return round_half_up(amount * (1 - self.discount) * (1 - fund_discount))

    def applies(self, month: int, payer: Payer, sector: str, switches: frozenset[str]) -> bool:
        """Whether this row may price the month for that payer, sector and set of switches."""
        return (
            self.valid_from <= month <= self.valid_to
            and self.payer in (None, payer)
            and self.sector in (None, sector)
            and (not self.switch or self.switch in switches)
        )

    @property
    def specificity(self) -> tuple[bool, bool, bool]:
        """Which of several rows that apply is meant: switch before sector before payer."""
        return bool(self.switch), self.sector is not None, self.payer is not None


@dataclass(frozen=True, slots=True)
class WorkerCostKey:
    """All that a need's cost depends on, apart from who pays."""

    bundle: Bundle
    months: int
    start_month: int
    sector: str = ""
    base_rupiah: int = DEFAULT_BASE_RUPIAH


@dataclass(frozen=True, slots=True)
class FundCostKey:
    """All that a cost depends on at the fund's side.

    ``discount`` is the fund's own fraction off JKK and JKM; ``switches`` turn table rows on.
    """

    payer: Payer
    discount: Fraction = Fraction(0)
    switches: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, slots=True)
class TariffTable:
    """A checked table: no two rows compete for one month, no base price has a hole.

    Build it with :func:`build_table`, :func:`default_table` or :func:`read_table`.
    """

    rows: tuple[TariffRow, ...]

    @property
    def switches(self) -> frozenset[str]:
        """Every switch that some row knows."""
        return frozenset(row.switch for row in self.rows if row.switch)

    def row_for(
        self, programme: Programme, month: int, payer: Payer, sector: str, switches: frozenset[str]
    ) -> TariffRow:
        """The row that prices this month; raises :class:`TariffError` when there is none."""
        found = [
            row
            for row in self.rows
            if row.programme is programme and row.applies(month, payer, sector, switches)
        ]
        if not found:
            raise TariffError([f"no tariff for {programme} paid by {payer} in {write_month(month)}"])
        return max(found, key=lambda row: row.specificity)

    def monthly_cost_rupiah(
        self,
        programme: Programme,
        month: int,
        fund: FundCostKey,
        sector: str = "",
        base_rupiah: int = DEFAULT_BASE_RUPIAH,
    ) -> int:
        """Rupiah for one programme and one month, rounded half up."""
        row = self.row_for(programme, month, fund.payer, sector, fund.switches)
        discount = fund.discount if programme in DISCOUNTED_PROGRAMMES else Fraction(0)
        return row.price_rupiah(base_rupiah, discount)

    def bundle_cost_rupiah(self, worker: WorkerCostKey, fund: FundCostKey) -> int:
        """Rupiah for a whole bundle over all its months, each month at its own tariff."""
        return sum(
            self.monthly_cost_rupiah(programme, month, fund, worker.sector, worker.base_rupiah)
            for programme in worker.bundle
            for month in range(worker.start_month, worker.start_month + worker.months)
        )

    def cost_matrix(
        self, workers: Sequence[WorkerCostKey], funds: Sequence[FundCostKey]
    ) -> npt.NDArray[np.int64]:
        """``bundle_cost_rupiah`` for every pair: shape len(workers) x len(funds), int64.

        Prices each (programme, month, sector, base, fund key) once and sums by prefix sums, so a
        hundred thousand pairs cost little more than the distinct months they touch.
        """
        costs = np.zeros((len(workers), len(funds)), dtype=np.int64)
        groups: dict[tuple[Programme, str, int], list[int]] = {}
        for index, key in enumerate(workers):
            for programme in key.bundle:
                groups.setdefault((programme, key.sector, key.base_rupiah), []).append(index)
        for (programme, sector, base_rupiah), members in groups.items():
            starts = np.array([workers[index].start_month for index in members])
            ends = starts + np.array([workers[index].months for index in members])
            first, last = int(starts.min()), int(ends.max())
            needed = np.zeros(last - first + 1, dtype=np.int64)
            np.add.at(needed, starts - first, 1)
            np.add.at(needed, ends - first, -1)
            touched = np.cumsum(needed)[:-1] > 0
            for column, fund in enumerate(funds):
                prices = np.zeros(last - first + 1, dtype=np.int64)
                for offset in np.flatnonzero(touched):
                    prices[offset + 1] = self.monthly_cost_rupiah(
                        programme, first + int(offset), fund, sector, base_rupiah
                    )
                until = np.cumsum(prices)
                np.add.at(costs[:, column], members, until[ends - first] - until[starts - first])
        return costs


def build_table(rows: Iterable[TariffRow]) -> TariffTable:
    """Check the rows against each other; raises :class:`TariffError` naming every overlap and gap.

    Two rows overlap when one month of one programme, payer and sector could be priced by either of
    them. A gap is a month without a price between two months that have one.
    """
    kept = tuple(rows)
    problems = [*_overlaps(kept), *_gaps(kept)]
    if problems:
        raise TariffError(problems)
    return TariffTable(kept)


def _overlaps(rows: Sequence[TariffRow]) -> list[str]:
    problems = []
    for position, row in enumerate(rows):
        for other in rows[:position]:
            same_reach = row.programme is other.programme and row.specificity == other.specificity
            same_target = row.payer == other.payer and row.sector == other.sector
            if same_reach and same_target and _months_meet(row, other):
                problems.append(
                    f"row {row.row_number}: {_describe(row)} overlaps row {other.row_number} "
                    f"from {write_month(max(row.valid_from, other.valid_from))}; expected one row per month"
                )
    return problems


def _months_meet(row: TariffRow, other: TariffRow) -> bool:
    return row.valid_from <= other.valid_to and other.valid_from <= row.valid_to


def _gaps(rows: Sequence[TariffRow]) -> list[str]:
    problems = []
    for programme in Programme:
        for payer in Payer:
            base = sorted(
                (row.valid_from, row.valid_to)
                for row in rows
                if row.programme is programme
                and row.payer in (None, payer)
                and row.sector is None
                and not row.switch
            )
            if not base:
                problems.append(f"no row prices {programme} paid by {payer} for all sectors")
                continue
            covered_to = base[0][1]
            for valid_from, valid_to in base[1:]:
                if valid_from > covered_to + 1:
                    problems.append(
                        f"{programme} paid by {payer} has no price from {write_month(covered_to + 1)} "
                        f"to {write_month(valid_from - 1)}; expected months without a gap"
                    )
                covered_to = max(covered_to, valid_to)
    return problems


def _describe(row: TariffRow) -> str:
    switch = f" with {row.switch}" if row.switch else ""
    return f"{row.programme} for payer {row.payer or 'any'}, sector {row.sector or 'any'}{switch}"


def parse_rows(text: str) -> tuple[TariffRow, ...]:
    """Rows of a tariff CSV with a header (``KNOWN_COLUMNS``; only ``programme`` and a price are needed).

    Raises :class:`TariffError` naming every wrong row, column, value and what was expected.
    """
    text = text.removeprefix("\ufeff")
    try:
        return _read_rows(text)
    except csv.Error as error:
        raise TariffError([f"not a CSV file: {error}"]) from None


def _read_rows(text: str) -> tuple[TariffRow, ...]:
    header_line = text.partition("\n")[0]
    delimiter = ";" if header_line.count(";") > header_line.count(",") else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    unknown = [name for name in columns if name not in KNOWN_COLUMNS]
    if "programme" not in columns or unknown or len(set(columns)) != len(columns):
        raise TariffError(
            [f"row 1: expected a header of some of {', '.join(KNOWN_COLUMNS)} with at least programme"]
        )
    reader.fieldnames = columns
    rows: list[TariffRow] = []
    problems: list[str] = []
    for cells in reader:
        number = reader.line_num
        if None in cells or None in cells.values():
            problems.append(f"row {number}: expected {len(columns)} cells")
            continue
        found: list[str] = []
        row = _parse_row(number, {name: (cell or "").strip() for name, cell in cells.items()}, found)
        problems.extend(found)
        if row is not None and not found:
            rows.append(row)
    if problems:
        raise TariffError(problems)
    return tuple(rows)


def _parse_row(number: int, cells: dict[str, str], problems: list[str]) -> TariffRow | None:
    def refuse(column: str, expected: str) -> None:
        problems.append(f"row {number}, {column}: {cells.get(column, '')[:40]!r}; expected {expected}")

    def whole(column: str) -> int | None:
        text = cells.get(column, "")
        if not text:
            return None
        if not _WHOLE.fullmatch(text) or not 0 < int(text) <= _HIGHEST_RUPIAH:
            refuse(column, f"whole rupiah from 1 to {_HIGHEST_RUPIAH}")
            return None
        return int(text)

    def percent(column: str) -> Fraction | None:
        text = cells.get(column, "")
        if not text:
            return None
        if not _DECIMAL.fullmatch(text) or Fraction(text) > 100:
            refuse(column, "a percentage from 0 to 100")
            return None
        return Fraction(text)

    def month(column: str, default: int) -> int:
        text = cells.get(column, "")
        if not text:
            return default
        try:
            return parse_month(text)
        except ValueError:
            refuse(column, "a month such as 2026-04")
            return default

    def word(column: str) -> str:
        text = cells.get(column, "")
        if text and not _WORD.fullmatch(text):
            refuse(column, "a lowercase word of letters, digits and underscores")
        return text

    programme: Programme | None = None
    try:
        programme = parse_programme(cells.get("programme", ""))
    except BundleError:
        refuse("programme", "one of " + ", ".join(Programme))
    payer_text = cells.get("payer", "")
    payer: Payer | None = None
    if payer_text:
        try:
            payer = Payer(payer_text)
        except ValueError:
            refuse("payer", "csr, apbd or empty")
    flat, share = whole("monthly_rupiah"), percent("percent_of_base")
    if (not cells.get("monthly_rupiah")) == (not cells.get("percent_of_base")):
        refuse("monthly_rupiah", "either monthly_rupiah or percent_of_base")
    valid_from, valid_to = month("valid_from", FIRST_MONTH), month("valid_to", LAST_MONTH)
    if valid_from > valid_to:
        refuse("valid_to", "a month not before valid_from")
    lowest, highest = whole("lowest_rupiah") or 0, whole("highest_rupiah") or _HIGHEST_RUPIAH
    if lowest > highest:
        refuse("highest_rupiah", "an amount not below lowest_rupiah")
    mark = cells.get("mark", "") or "u"
    if mark not in ("v", "n", "u"):
        refuse("mark", "v, n or u")
    discount = percent("discount_percent") or Fraction(0)
    sector, switch = word("sector"), word("switch")
    if programme is None:
        return None
    return TariffRow(
        programme=programme,
        payer=payer,
        sector=sector or None,
        valid_from=valid_from,
        valid_to=valid_to,
        monthly_rupiah=flat,
        percent_of_base=share,
        lowest_rupiah=lowest,
        highest_rupiah=highest,
        discount=discount / 100,
        switch=switch,
        law=cells.get("law", ""),
        mark=mark,
        row_number=number,
    )


def override_table(table: TariffTable, rows: Iterable[TariffRow]) -> TariffTable:
    """The table with ``rows`` in place of all its rows for the same programmes and payers.

    A row without payer replaces both. Programmes and payers that ``rows`` do not name stay as they are.
    """
    added = tuple(rows)
    replaced = {(row.programme, payer) for row in added for payer in Payer if row.payer in (None, payer)}
    kept: list[TariffRow] = []
    for row in table.rows:
        left = [
            payer for payer in Payer if row.payer in (None, payer) and (row.programme, payer) not in replaced
        ]
        if len(left) == len(Payer) or (left and row.payer is not None):
            kept.append(row)
        elif left:
            kept.append(_for_payer(row, left[0]))
    return build_table([*kept, *added])


def _for_payer(row: TariffRow, payer: Payer) -> TariffRow:
    return replace(row, payer=payer)


@cache
def default_table() -> TariffTable:
    """The shipped table, read once."""
    text = resources.files("models.data").joinpath("tariffs.csv").read_text(encoding="utf-8")
    return build_table(parse_rows(text))


@cache
def _sectors() -> dict[str, str]:
    text = resources.files("models.data").joinpath("sectors.csv").read_text(encoding="utf-8")
    return {row["occupation"]: row["sector"] for row in csv.DictReader(io.StringIO(text))}


def sector_of_occupation(occupation: str) -> str:
    """The tariff sector of an occupation code, or an empty string when it has none of its own."""
    return _sectors().get(occupation, "")
