"""Every class of wrong input: exit code 2, the row and the column named, nothing written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.offline.conftest import FUND, FUNDS_HEADER, WORKER, WORKERS_HEADER, Offline, Outcome

WORKER_CELLS = dict(zip(WORKERS_HEADER.split(","), WORKER.split(","), strict=True))
FUND_CELLS = dict(zip(FUNDS_HEADER.split(","), FUND.split(","), strict=True))


def refused(outcome: Outcome, *words: str) -> None:
    assert outcome.code == 2, outcome.stderr
    for word in words:
        assert word in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not outcome.out.exists()


def worker_with(**cells: str) -> str:
    return ",".join({**WORKER_CELLS, **cells}.values())


def fund_with(**cells: str) -> str:
    return ",".join({**FUND_CELLS, **cells}.values())


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("worker_id", "", "expected an identifier"),
        ("worker_id", "   ", "expected an identifier"),
        ("worker_id", "x" * 201, "at most 200 characters"),
        ("worker_id", "a\x07b", "control characters"),
        ("village", "", "expected a village code such as 64.02.05.2001"),
        ("village", "64.02.05", "expected a village code"),
        ("village", "6402052001", "expected a village code"),
        ("village", "64.02.99.2001", "no district 64.02.99"),
        ("village", "64.02.05.2999", "no village 64.02.05.2999"),
        ("village", "64.99.01.2001", "no regency or city 64.99"),
        ("village", "99.01.01.2001", "no province 99"),
        ("village", "31.00.01.2001", "expected a village code"),
        ("occupation", "", "lowercase word"),
        ("occupation", "Fisher", "lowercase word"),
        ("occupation", "rice farmer", "lowercase word"),
        ("sex", "M", "expected L, P or empty"),
        ("sex", "l", "expected L, P or empty"),
        ("birth_year", "1899", "a year from 1900"),
        ("birth_year", "2200", "a year from 1900"),
        ("birth_year", "80", "a year from 1900"),
        ("birth_year", "-1", "a year from 1900"),
        ("birth_year", "1980.0", "a year from 1900"),
        ("programmes", "", "at least one programme"),
        ("programmes", "JKP", "unknown programme 'JKP'"),
        ("programmes", "jkk+jkm", "unknown programme"),
        ("programmes", "JKK;JKM", "joined by +"),
        ("programmes", "JKK+JKK", "twice"),
        ("programmes", "JKK+", "unknown programme ''"),
        ("months", "", "months from 1 to 12"),
        ("months", "0", "months from 1 to 12"),
        ("months", "13", "months from 1 to 12"),
        ("months", "-3", "months from 1 to 12"),
        ("months", "1.5", "months from 1 to 12"),
        ("months", "\u0661\u0662", "months from 1 to 12"),
        ("priority", "", "from 1 to 100"),
        ("priority", "0", "from 1 to 100"),
        ("priority", "101", "from 1 to 100"),
        ("priority", "9" * 5000, "from 1 to 100"),
        ("priority", "high", "from 1 to 100"),
        ("priority", "1e1", "from 1 to 100"),
    ],
)
def test_a_wrong_cell_of_a_worker(offline: Offline, column: str, value: str, expected: str) -> None:
    outcome = offline.allocate([WORKER, worker_with(**{"worker_id": "w2", column: value})])
    refused(outcome, f"workers.csv row 3, {column}: ", expected, "1 wrong row; nothing was written.")


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("fund_id", "", "expected an identifier"),
        ("kind", "", "expected csr or apbd"),
        ("kind", "CSR", "expected csr or apbd"),
        ("amount_rupiah", "", "whole rupiah from 1"),
        ("amount_rupiah", "0", "whole rupiah from 1"),
        ("amount_rupiah", "-1000000", "whole rupiah from 1"),
        ("amount_rupiah", "1000000.5", "whole rupiah from 1"),
        ("amount_rupiah", "1000000.0", "whole rupiah from 1"),
        ("amount_rupiah", "1.000.000", "without separators"),
        ("amount_rupiah", "Rp 1000000", "whole rupiah from 1"),
        ("amount_rupiah", "1e9", "whole rupiah from 1"),
        ("amount_rupiah", str(2**53 + 1), "whole rupiah from 1 to 9007199254740992"),
        ("amount_rupiah", "9" * 60, "whole rupiah from 1"),
        ("amount_rupiah", "NaN", "whole rupiah from 1"),
        ("regions", "64.0", "expected region codes"),
        ("regions", "64.02.", "expected region codes"),
        ("regions", "64.02.05.", "expected region codes"),
        ("regions", "Kutai", "expected region codes"),
        ("regions", "64.02.99", "no district 64.02.99"),
        ("regions", "64.02;99", "no province 99"),
        ("occupations", "fisher;Farmer", "lowercase word"),
        ("occupations", "fisher;;farmer", "lowercase word"),
        ("programmes", "JKK;JKX", "unknown programme 'JKX'"),
        ("programmes", "JKK+JKM", "joined by ;"),
        ("max_months", "-1", "or empty"),
        ("max_months", "six", "or empty"),
        ("head_count_cap", "-1", "or empty"),
        ("head_count_cap", "1.5", "or empty"),
        ("district_cap", "9" * 20, "or empty"),
        ("min_workers", "-5", "or empty"),
        ("expires", "31-12-2026", "expected a date such as 2026-12-31"),
        ("expires", "2026-02-30", "expected a date"),
        ("expires", "20261231", "expected a date"),
        ("expires", "never", "expected a date"),
        ("jkk_jkm_discount", "-0.1", "a fraction from 0 to 1"),
        ("jkk_jkm_discount", "1.1", "a fraction from 0 to 1"),
        ("jkk_jkm_discount", "50%", "a fraction from 0 to 1"),
        ("jkk_jkm_discount", "50", "a fraction from 0 to 1"),
        ("jkk_jkm_discount", "nan", "a fraction from 0 to 1"),
    ],
)
def test_a_wrong_cell_of_a_fund(offline: Offline, column: str, value: str, expected: str) -> None:
    outcome = offline.allocate(funds=[FUND, fund_with(**{"fund_id": "f2", column: value})])
    refused(outcome, f"funds.csv row 3, {column}: ", expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty; expected a header"),
        (b"\n\n", "no header found"),
        (WORKER + "\n", "no header found"),
        ("\xef\xbb\xbf".encode("latin-1") + WORKER.encode(), "no header found"),
        (WORKERS_HEADER.replace(",months", "") + "\n", "missing column(s) months"),
        (WORKERS_HEADER.replace("months", "bulan") + "\n", "missing column(s) months"),
        (WORKERS_HEADER + ",months\n" + WORKER + ",3\n", "column(s) months stand twice"),
        (bytes(range(256)) * 40, "NUL byte"),
        (bytes(range(1, 256)) * 40, "no header found"),
        (b"PK\x03\x04" + bytes(200), "spreadsheet or ZIP file"),
        (b"\x1f\x8b\x08" + bytes(200), "compressed file"),
        ((WORKERS_HEADER + "\n" + WORKER).encode("utf-16"), "UTF-16"),
        (f"{WORKERS_HEADER}\n{WORKER}\n{WORKER[:5]}\0{WORKER[5:]}\n", "NUL byte in row 3"),
        (f"{WORKERS_HEADER}\n".encode() + WORKER.replace("fisher", "p\xeacheur").encode("latin-1"), "UTF-8"),
        (f"{WORKERS_HEADER}\n{WORKER},extra\n", "row 2: found 9 cells, expected 8"),
        (f"{WORKERS_HEADER}\nw1,64.02.05.2001\n", "row 2: found 2 cells, expected 8"),
        (f"{WORKERS_HEADER}\n   \n", "row 2: found 1 cells, expected 8"),
        (f"{WORKERS_HEADER}\n{WORKER}\n{WORKER}\n", "row 3, worker_id: the same identifier as in row 2"),
        (f'{WORKERS_HEADER}\n"w1,64.02.05.2001,fisher,L,1980,JKK,1,5\n', "row 2"),
    ],
)
def test_a_workers_file_that_is_no_such_table(offline: Offline, content: str | bytes, expected: str) -> None:
    refused(offline.allocate(content), "workers.csv", expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the file is empty"),
        (FUND + "\n", "no header found"),
        (FUNDS_HEADER.replace(",kind", "") + "\n", "missing column(s) kind"),
        (b"PK\x03\x04" + bytes(200), "spreadsheet"),
        (f"{FUNDS_HEADER}\n{FUND}\n{FUND}\n", "row 3, fund_id: the same identifier as in row 2"),
        (
            f"{FUNDS_HEADER}\n{FUND}".replace(",", ";").replace("1000000;", "1000000;64.02;64.03"),
            "lists joined by ; need quotes",
        ),
    ],
)
def test_a_funds_file_that_is_no_such_table(offline: Offline, content: str | bytes, expected: str) -> None:
    refused(offline.allocate(funds=content), "funds.csv", expected)


def test_ten_thousand_wrong_rows_are_all_counted_and_the_first_hundred_named(offline: Offline) -> None:
    rows = [worker_with(worker_id=f"w{i}", months="13", priority="0") for i in range(10_000)]
    outcome = offline.allocate([WORKER.replace("w1", "good"), *rows], [fund_with(amount_rupiah="0")])
    refused(outcome, "10,001 wrong rows; nothing was written. The first 100:")
    named = {line.split(",")[0] for line in outcome.stderr.splitlines() if line.startswith("workers.csv row")}
    assert named == {f"workers.csv row {number}" for number in range(3, 103)}


def test_faults_of_both_files_are_told_together(offline: Offline) -> None:
    outcome = offline.allocate([worker_with(months="0")], [fund_with(kind="x")])
    refused(outcome, "workers.csv row 2, months", "funds.csv row 2, kind", "2 wrong rows")


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_rows_keep_their_numbers_whatever_the_dialect(
    offline: Offline, delimiter: str, mark: str, line_end: str
) -> None:
    lines = [
        WORKERS_HEADER,
        WORKER,
        worker_with(worker_id="w2"),
        "",
        worker_with(worker_id="w3", months="99"),
    ]
    text = mark + line_end.join(line.replace(",", delimiter) for line in lines) + line_end
    refused(offline.allocate(text), "workers.csv row 5, months: '99'", "1 wrong row")


def test_rows_are_counted_as_in_a_spreadsheet_when_a_cell_holds_a_line_end(offline: Offline) -> None:
    text = f'{WORKERS_HEADER},note\n{WORKER},"two\nlines"\n{worker_with(worker_id="w2", sex="X")},-\n'
    refused(offline.allocate(text), "workers.csv row 3, sex")


def test_an_identifier_is_never_repeated_in_a_message(offline: Offline) -> None:
    secret = "6402051708900001"
    outcome = offline.allocate([worker_with(worker_id=secret + "\x07")])
    refused(outcome, "row 2, worker_id")
    assert secret not in outcome.stderr
    outcome = offline.allocate([worker_with(worker_id=secret), worker_with(worker_id=secret)])
    refused(outcome, "row 3, worker_id: the same identifier as in row 2")
    assert secret not in outcome.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("worker_id\nw1\n", "missing column(s) fund_id"),
        ("w1,f1\n", "no header found"),
        ("worker_id,fund_id\nw1,f1\nw1,f1\n", "row 3, worker_id: the same identifier as in row 2"),
        (b"PK\x03\x04", "spreadsheet"),
        ("worker_id,fund_id\nw1,\n", "row 2, fund_id"),
    ],
)
def test_a_wrong_earlier_plan(offline: Offline, content: str | bytes, expected: str) -> None:
    previous = offline.write("previous.csv", content)
    refused(offline.allocate([WORKER], [FUND], "--previous", str(previous)), "previous.csv", expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("tiers = [", "not TOML"),
        (b"\xff\xfe\xfa", "not UTF-8"),
        ('colour = "red"', "unknown key 'colour'"),
        ('tiers = ["coverage", "beauty"]', "'beauty' is unknown"),
        ("tiers = []", "first tier must be coverage"),
        ('tiers = ["coverage", "equity", "equity"]', "more than once"),
        ('tiers = [{name = "coverage", tolerance = -0.1}]', "tolerance"),
        ('tiers = [{name = "coverage", tolerance = nan}]', "tolerance"),
        ('tiers = [{name = "coverage", tolerance = "much"}]', "tolerance must be a number"),
        ('tiers = [{name = "coverage", weight = -1}]', "weight"),
        ('tiers = [{name = "coverage", speed = 1}]', "unknown key 'speed'"),
        ('coverage_counts = "heads"', "coverage_counts"),
    ],
)
def test_a_wrong_policy(offline: Offline, content: str | bytes, expected: str) -> None:
    policy = offline.write("policy.toml", content)
    refused(offline.allocate([WORKER], [FUND], "--policy", str(policy)), "policy.toml", expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("programme,monthly_rupiah\nJKK,0\n", "row 2, monthly_rupiah"),
        ("programme,monthly_rupiah\nJKK,1\nJKK,2\n", "overlaps"),
        ("programme,valid_to,monthly_rupiah\nJKK,2001-01,1\n", "no tariff for JKK"),
        ("price\n1\n", "expected a header"),
        (b"\xff\xff", "not UTF-8"),
    ],
)
def test_a_wrong_tariff_file(offline: Offline, content: str | bytes, expected: str) -> None:
    tariffs = offline.write("tariffs.csv", content)
    refused(offline.allocate([WORKER], [FUND], "--tariffs", str(tariffs)), expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--time-limit", "0"),
        ("--time-limit", "-1"),
        ("--time-limit", "nan"),
        ("--time-limit", "inf"),
        ("--start-month", "2027"),
        ("--policy", "/nowhere.toml"),
        ("--previous", "/"),
        ("--no-such-option",),
    ],
)
def test_wrong_usage(offline: Offline, arguments: tuple[str, ...]) -> None:
    refused(offline.allocate([WORKER], [FUND], *arguments))


def test_a_missing_file_and_an_output_that_is_a_file(offline: Offline, tmp_path: Path) -> None:
    assert offline.call("allocate", "--workers", "/nowhere", "--funds", "/nowhere", "--out", "x").code == 2
    assert offline.call("allocate").code == 2
    offline.out.write_text("precious")
    assert offline.allocate().code == 2
    assert offline.out.read_text() == "precious"


def test_wrong_input_leaves_an_earlier_result_alone(offline: Offline) -> None:
    offline.allocate()
    before = {path.name: path.read_bytes() for path in offline.out.iterdir()}
    assert offline.allocate([worker_with(months="0")]).code == 2
    assert {path.name: path.read_bytes() for path in offline.out.iterdir()} == before
