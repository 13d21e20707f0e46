"""Enrolment: what is sent adds up, and every line of the agency's answer has one outcome."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.vault import Vault, decode_base64, make_master_key
from tests.builders import KUKAR, NOW, apply_fund, pledge
from tests.integration.test_allocate import add_needs, allocate, engine
from tests.integration.test_review import LINE_RUPIAH, money, request
from workflow.audit import audit
from workflow.enrol import (
    COLUMNS,
    NothingToEnrolError,
    export_enrolment,
    repeat_export,
)
from workflow.reconcile import AnswerUnreadableError, parse_answers, reconcile_answers
from workflow.report import read_overview
from workflow.review import Batch, decide

__all__ = ["engine"]

SYNTHETIC_NIK = "6402051708909001"


@pytest.fixture
def vault() -> Vault:
    return Vault.from_text(make_master_key())


@pytest.fixture
def references(engine: Engine, vault: Vault, tmp_path: Path) -> list[str]:
    """Three approved lines that have been sent to the agency."""
    approve_three(engine, vault)
    export_enrolment(engine, vault, "csr-1", "siti", tmp_path, NOW)
    with engine.connect() as connection:
        return list(connection.scalars(text("SELECT reference FROM enrolment_line ORDER BY number")))


def approve_three(engine: Engine, vault: Vault) -> None:
    needs = add_needs(engine, 1, 2, 3)
    with engine.begin() as connection:
        for number, need in enumerate(needs):
            nik = str(int(SYNTHETIC_NIK) + number)
            sealed = vault.seal_worker(nik, f"=Rekaan {number}")
            assert sealed["name_encrypted"] is not None
            connection.execute(
                text(
                    "UPDATE worker SET nik_encrypted = :nik, nik_hash = :hash, name_encrypted = :name"
                    " WHERE id = (SELECT worker_id FROM coverage_need WHERE id = :need)"
                ),
                {
                    "nik": decode_base64(sealed["nik_encrypted"]),
                    "hash": bytes.fromhex(sealed["nik_hash"]),
                    "name": decode_base64(sealed["name_encrypted"]),
                    "need": need,
                },
            )
    apply_fund(engine, pledge(amount_rupiah=500_000))
    run_id = allocate(engine).run_id
    assert run_id is not None
    decide(engine, request(engine, Batch(run_id, "csr-1", "64.02.05")), NOW)


def answer(engine: Engine, *rows: dict[str, Any]) -> dict[str, int]:
    outcome = reconcile_answers(engine, parse_answers(rows), "siti", NOW)
    assert audit(engine) == []
    return dict(outcome.outcomes)


def accepted(reference: str, **changes: Any) -> dict[str, Any]:
    return {"referensi": reference, "status": "diterima"} | changes


def refused(reference: str, reason: str) -> dict[str, Any]:
    return {"referensi": reference, "status": "ditolak", "alasan": reason}


def buckets(engine: Engine) -> tuple[int, int, int]:
    fund = read_overview(engine, KUKAR).funds[0]
    return fund.available_rupiah, fund.committed_rupiah, fund.disbursed_rupiah


def need_states(engine: Engine) -> list[tuple[str, int]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT state, months FROM coverage_need ORDER BY id"))
        return [(row.state, row.months) for row in rows]


def test_the_file_names_every_worker_and_ends_with_the_control_total(
    engine: Engine, vault: Vault, tmp_path: Path
) -> None:
    approve_three(engine, vault)
    files = export_enrolment(engine, vault, "csr-1", "siti", tmp_path, NOW)
    with files.csv_path.open(encoding="utf-8") as file:
        header, *rows, total = list(csv.reader(file))
    assert tuple(header) == COLUMNS
    assert [row[2] for row in rows] == [str(int(SYNTHETIC_NIK) + number) for number in range(3)]
    assert sum(int(row[7]) for row in rows) == int(total[7]) == files.total_rupiah == 3 * LINE_RUPIAH
    assert all(row[3].startswith("'=") for row in rows), "a name cannot become a formula"
    assert files.csv_path.stat().st_mode & 0o077 == 0


def test_a_line_is_sent_once_and_the_file_can_be_written_again(
    engine: Engine, vault: Vault, tmp_path: Path
) -> None:
    approve_three(engine, vault)
    files = export_enrolment(engine, vault, "csr-1", "siti", tmp_path, NOW)
    with pytest.raises(NothingToEnrolError):
        export_enrolment(engine, vault, "csr-1", "siti", tmp_path, NOW)
    again = repeat_export(engine, vault, "csr-1", "budi", tmp_path / "again", NOW)
    assert again.batch_id == files.batch_id
    assert again.csv_path.read_bytes() == files.csv_path.read_bytes()


def test_a_fund_without_a_batch_has_nothing_to_write_again(
    engine: Engine, vault: Vault, tmp_path: Path
) -> None:
    with pytest.raises(LookupError, match="csr-1"):
        repeat_export(engine, vault, "csr-1", "budi", tmp_path, NOW)


def test_accepted_lines_are_enrolled_and_disbursed(engine: Engine, references: list[str]) -> None:
    assert answer(engine, *(accepted(reference) for reference in references)) == {"enrolled": 3}
    assert buckets(engine) == (500_000 - 3 * LINE_RUPIAH, 0, 3 * LINE_RUPIAH)
    assert need_states(engine) == [("enrolled", 3)] * 3


@pytest.mark.parametrize(("reason", "state"), [("deceased", "closed"), ("data_incomplete", "waiting")])
def test_a_refusal_returns_the_money_and_closes_or_returns_the_need(
    engine: Engine, references: list[str], reason: str, state: str
) -> None:
    assert answer(engine, refused(references[0], reason)) == {"refused": 1}
    assert buckets(engine) == (500_000 - 2 * LINE_RUPIAH, 2 * LINE_RUPIAH, 0)
    assert need_states(engine)[0][0] == state


def test_fewer_months_leave_the_others_to_be_funded_again(engine: Engine, references: list[str]) -> None:
    row = accepted(references[0], jumlah_bulan=1, iuran_rupiah=16_800)
    assert answer(engine, row) == {"partial": 1}
    assert buckets(engine) == (500_000 - 2 * LINE_RUPIAH - 16_800, 2 * LINE_RUPIAH, 16_800)
    assert need_states(engine) == [("enrolled", 3), ("approved", 3), ("approved", 3), ("waiting", 2)]
    allocate(engine)
    assert need_states(engine)[3] == ("proposed", 2)
    assert audit(engine) == []


def test_less_money_for_all_months_returns_the_rest(engine: Engine, references: list[str]) -> None:
    assert answer(engine, accepted(references[0], iuran_rupiah=50_000)) == {"partial": 1}
    assert buckets(engine)[2] == 50_000


def test_a_surplus_goes_to_suspense_and_never_below_zero(engine: Engine, references: list[str]) -> None:
    assert answer(engine, accepted(references[0], iuran_rupiah=LINE_RUPIAH + 700)) == {"overpaid": 1}
    assert buckets(engine)[2] == LINE_RUPIAH
    assert suspense(engine) == [("overpaid", 700)]


def test_the_same_file_twice_changes_nothing(engine: Engine, references: list[str]) -> None:
    rows = [accepted(references[0]), refused(references[1], "deceased")]
    assert answer(engine, *rows) == answer(engine, *rows) == {"enrolled": 1, "refused": 1}
    assert suspense(engine) == []


def test_a_repeated_line_in_another_file_changes_nothing(engine: Engine, references: list[str]) -> None:
    answer(engine, accepted(references[0]))
    assert answer(engine, accepted(references[0]), accepted(references[1])) == {"repeated": 1, "enrolled": 1}
    assert buckets(engine)[2] == 2 * LINE_RUPIAH


def test_a_contradiction_moves_nothing_and_waits_for_a_person(engine: Engine, references: list[str]) -> None:
    rows = [accepted(references[0]), refused(references[0], "deceased")]
    assert answer(engine, *rows) == {"enrolled": 1, "contradictory": 1}
    assert buckets(engine)[2] == LINE_RUPIAH
    assert suspense(engine) == [("contradictory", 0)]


def test_an_unknown_reference_moves_nothing_and_waits_for_a_person(
    engine: Engine, references: list[str]
) -> None:
    assert answer(engine, accepted("no-such-line", iuran_rupiah=99)) == {"unknown": 1}
    assert money(engine)[2] == 3 * LINE_RUPIAH
    assert suspense(engine) == [("unknown", 99)]


def test_a_wrong_file_changes_nothing_and_names_each_row(engine: Engine, references: list[str]) -> None:
    rows = [
        accepted(references[0]),
        {"referensi": references[1], "status": "mungkin"},
        {"referensi": "", "status": "diterima"},
        refused(references[2], "because"),
        accepted(references[2], iuran_rupiah="12.5"),
        accepted(references[2], jumlah_bulan=13),
    ]
    with pytest.raises(AnswerUnreadableError) as refusal:
        parse_answers(rows)
    assert [problem.split(":")[0] for problem in refusal.value.problems] == [
        "row 3",
        "row 4",
        "row 5",
        "row 6",
        "row 7",
    ]
    assert money(engine)[2] == 3 * LINE_RUPIAH


def suspense(engine: Engine) -> list[tuple[str, int]]:
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT kind, amount_rupiah FROM suspense_item ORDER BY id"))
        return [(row.kind, row.amount_rupiah) for row in rows]
