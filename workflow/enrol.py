"""Enrol: approved lines go to the social-security agency as a file with a control total.

A batch is first stored, then written from what is stored: writing it again gives
the same file, so a crash between the two loses nothing and sends nobody twice.
"""

from __future__ import annotations

import csv
import datetime as dt
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xlsxwriter
from sqlalchemy import Connection, Engine, insert, select, text

from models.programme import bundle_of_mask, write_bundle
from models.review_tables import EnrolmentBatch, EnrolmentLine
from models.tables import Fund
from models.vault import Vault
from workflow.move_money import lock_funds
from workflow.record import record_action

#: The file's columns, as the agency's form names them.
COLUMNS: Final = (
    "no",
    "referensi",
    "nik",
    "nama",
    "program",
    "bulan_mulai",
    "jumlah_bulan",
    "iuran_rupiah",
)

_UNSENT_LINES = text(
    """
    SELECT p.id, p.amount_rupiah FROM proposal p
    WHERE p.fund_id = :fund_id AND p.state = 'approved'
      AND NOT EXISTS (SELECT 1 FROM enrolment_line e WHERE e.proposal_id = p.id)
    ORDER BY p.id
    """
)

_READ_LINES = text(
    """
    SELECT e.number, e.reference, w.nik_encrypted, w.name_encrypted, w.nik_hash, n.programmes, n.start_month,
           p.months, p.amount_rupiah
    FROM enrolment_line e
    JOIN proposal p ON p.id = e.proposal_id
    JOIN coverage_need n ON n.id = p.need_id
    JOIN worker w ON w.id = n.worker_id
    WHERE e.batch_id = :batch_id ORDER BY e.number
    """
)


@dataclass(frozen=True, slots=True)
class EnrolmentFiles:
    """A batch as written: its number of lines, control total, and where the files are."""

    batch_id: uuid.UUID
    lines: int
    total_rupiah: int
    csv_path: Path
    xlsx_path: Path


class NothingToEnrolError(Exception):
    """The fund has no approved line that was not sent before."""


def export_enrolment(
    engine: Engine, vault: Vault, fund_code: str, officer: str, directory: Path, now: dt.datetime
) -> EnrolmentFiles:
    """Put the fund's approved, unsent lines into a batch and write its files.

    Raises ``NothingToEnrolError``, or ``LookupError`` for an unknown fund.
    """
    batch_id = make_batch(engine, fund_code, officer, now)
    return write_enrolment(engine, vault, batch_id, directory)


def make_batch(engine: Engine, fund_code: str, officer: str, now: dt.datetime) -> uuid.UUID:
    """Store the fund's approved, unsent lines as a batch; its files can be written any time after.

    Raises ``NothingToEnrolError``, or ``LookupError`` for an unknown fund.
    """
    batch_id = uuid.uuid4()
    with engine.begin() as connection:
        fund_id = connection.scalar(select(Fund.id).where(Fund.code == fund_code))
        if fund_id is None:
            raise LookupError(f"no fund {fund_code}")
        # Lines are approved under the fund's lock, so none can join while this batch is made.
        lock_funds(connection, [fund_id])
        lines = connection.execute(_UNSENT_LINES, {"fund_id": fund_id}).all()
        if not lines:
            raise NothingToEnrolError(f"fund {fund_code} has no approved line that was not sent before")
        total_rupiah = sum(line.amount_rupiah for line in lines)
        connection.execute(
            insert(EnrolmentBatch).values(
                id=batch_id,
                fund_id=fund_id,
                officer=officer,
                lines=len(lines),
                total_rupiah=total_rupiah,
                exported_at=now,
            )
        )
        connection.execute(
            insert(EnrolmentLine),
            [
                {
                    "reference": f"{batch_id.hex[:12]}-{number:06d}",
                    "batch_id": batch_id,
                    "number": number,
                    "proposal_id": line.id,
                }
                for number, line in enumerate(lines, start=1)
            ],
        )
        record_action(
            connection,
            officer,
            "export_enrolment",
            str(batch_id),
            {"fund": fund_code, "lines": len(lines), "total_rupiah": total_rupiah},
            now,
        )
    return batch_id


def repeat_export(
    engine: Engine, vault: Vault, fund_code: str, officer: str, directory: Path, now: dt.datetime
) -> EnrolmentFiles:
    """Write the files of the fund's latest batch again, and record who did.

    For an export that stored its batch and died before its files were written. Raises
    ``LookupError`` when the fund has no batch.
    """
    with engine.connect() as connection:
        batch_id = connection.scalar(
            select(EnrolmentBatch.id)
            .join(Fund, Fund.id == EnrolmentBatch.fund_id)
            .where(Fund.code == fund_code)
            .order_by(EnrolmentBatch.exported_at.desc(), EnrolmentBatch.id)
            .limit(1)
        )
    if batch_id is None:
        raise LookupError(f"fund {fund_code} has no enrolment batch")
    return repeat_batch(engine, vault, batch_id, fund_code, officer, directory, now)


def repeat_batch(
    engine: Engine,
    vault: Vault,
    batch_id: uuid.UUID,
    fund_code: str,
    officer: str,
    directory: Path,
    now: dt.datetime,
) -> EnrolmentFiles:
    """Write the files of a stored batch of this fund, and record first who takes them.

    Raises ``LookupError`` for an unknown batch; then nothing is recorded.
    """
    with engine.begin() as connection:
        if connection.scalar(select(EnrolmentBatch.id).where(EnrolmentBatch.id == batch_id)) is None:
            raise LookupError(f"no enrolment batch {batch_id}")
        record_action(connection, officer, "repeat_export", str(batch_id), {"fund": fund_code}, now)
    return write_enrolment(engine, vault, batch_id, directory)


def write_enrolment(engine: Engine, vault: Vault, batch_id: uuid.UUID, directory: Path) -> EnrolmentFiles:
    """Write a stored batch as CSV and XLSX, each ending with the control total; may be repeated.

    Raises ``LookupError`` for an unknown batch. The files hold NIKs and names: they are readable
    by their owner only.
    """
    with engine.connect() as connection:
        batch = connection.execute(
            select(EnrolmentBatch.lines, EnrolmentBatch.total_rupiah, Fund.code)
            .join(Fund, Fund.id == EnrolmentBatch.fund_id)
            .where(EnrolmentBatch.id == batch_id)
        ).one_or_none()
        if batch is None:
            raise LookupError(f"no enrolment batch {batch_id}")
        rows = list(_read_rows(connection, vault, batch_id))
    if (len(rows), sum(row[7] for row in rows)) != (batch.lines, batch.total_rupiah):
        raise RuntimeError(f"batch {batch_id} does not add up to its control total; run the audit")
    control = ("TOTAL", f"{batch.lines} baris", "", "", "", "", "", batch.total_rupiah)
    directory.mkdir(parents=True, exist_ok=True)
    name = f"pendaftaran-{batch.code}-{batch_id.hex[:12]}"
    csv_path, xlsx_path = directory / f"{name}.csv", directory / f"{name}.xlsx"
    for path in (csv_path, xlsx_path):
        path.touch(mode=0o600)
        path.chmod(0o600)
    with csv_path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([_without_formula(cell) for cell in row] for row in (*rows, control))
    with xlsxwriter.Workbook(str(xlsx_path), {"constant_memory": True}) as workbook:
        sheet = workbook.add_worksheet("Pendaftaran")
        for number, row in enumerate((COLUMNS, *rows, control)):
            for column, cell in enumerate(row):
                # Written as strings, cells that look like formulas stay text.
                if isinstance(cell, int):
                    sheet.write_number(number, column, cell)
                else:
                    sheet.write_string(number, column, cell)
    return EnrolmentFiles(batch_id, batch.lines, batch.total_rupiah, csv_path, xlsx_path)


def _read_rows(
    connection: Connection, vault: Vault, batch_id: uuid.UUID
) -> Iterator[tuple[int, str, str, str, str, str, int, int]]:
    for line in connection.execute(_READ_LINES, {"batch_id": batch_id}):
        yield (
            line.number,
            line.reference,
            vault.open_nik(line.nik_encrypted),
            vault.open_name(line.name_encrypted, line.nik_hash) if line.name_encrypted else "",
            write_bundle(bundle_of_mask(line.programmes)),
            f"{line.start_month:%Y-%m}",
            line.months,
            line.amount_rupiah,
        )


def _without_formula(cell: object) -> object:
    """A spreadsheet that opens the CSV must not run a name that starts like a formula (OWASP)."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell
