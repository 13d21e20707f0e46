"""From rows somebody typed to events in the outbox, and from there through registration."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from models.message import EventEnvelope
from tests.builders import KUKAR
from tests.event_builders import CONTEXT, NOW, message, nik_of, worker_data
from workflow.import_files import FileUnreadableError, read_table
from workflow.intake import SubmitOutcome, submit_event_lines, submit_fund_events, submit_worker_events
from workflow.load_regions import load_regions
from workflow.outbox import OutboxRecord, take_unpublished
from workflow.register import register_workers
from workflow.validate import FundReport, validate_funds


@pytest.fixture(scope="module")
def shared_engine(module_database_url: str) -> Iterator[Engine]:
    """For tests that store nothing."""
    engine = open_engine(module_database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


def worker_row(number: int = 1, **changes: Any) -> dict[str, Any]:
    row = {
        "nik": nik_of(number),
        "name": f"Pekerja Rekaan {number}",
        "village": "64.02.05.2001",
        "occupation": "nelayan",
        "sex": "L",
        "birth_year": "1980",
        "programmes": "JKK+JKM",
        "months": "3",
        "start_month": "2026-12",
        "priority": "50",
    } | changes
    return {key: value for key, value in row.items() if value is not ...}


def submit(engine: Engine, *rows: dict[str, Any], **options: Any) -> SubmitOutcome:
    return submit_worker_events(engine, CONTEXT, rows, source="/file", **options)


def stored(engine: Engine) -> list[OutboxRecord]:
    with engine.connect() as connection:
        return take_unpublished(connection, 100_000)


def decode(record: OutboxRecord) -> list[EventEnvelope]:
    """The events of an outbox row as a worker would see them."""
    carrier = message(record.value, topic=record.topic, headers=record.headers)
    if record.headers["content-type"] == b"application/json":
        headers = {name: value.decode() for name, value in record.headers.items()}
        time = dt.datetime.fromisoformat(headers["ce_time"])
        return [
            EventEnvelope(
                headers["ce_source"], headers["ce_id"], headers["ce_type"], time, record.value, carrier
            )
        ]
    content = orjson.loads(record.value)
    return [
        EventEnvelope(
            item["source"],
            item["id"],
            item["type"],
            dt.datetime.fromisoformat(item["time"]),
            orjson.dumps(item["data"]),
            carrier,
            position,
        )
        for position, item in enumerate(content if isinstance(content, list) else [content])
    ]


def register_stored(engine: Engine) -> list[str]:
    envelopes = [envelope for record in stored(engine) for envelope in decode(record)]
    return list(register_workers(engine, CONTEXT, envelopes).outcomes)


@pytest.mark.parametrize("batched", [True, False])
def test_rows_become_sealed_events_that_register(engine: Engine, batched: bool) -> None:
    outcome = submit(
        engine, worker_row(1), worker_row(2, months=12.0, start_month=dt.date(2027, 1, 1)), batched=batched
    )
    assert (outcome.events, list(outcome.problems)) == (2, [])
    records = stored(engine)
    assert all(record.intake for record in records)
    for record in records:
        assert nik_of(1).encode() not in record.value and b"Rekaan" not in record.value
    assert register_stored(engine) == ["registered", "registered"]


def test_the_same_file_twice_is_the_same_events(engine: Engine) -> None:
    submit(engine, worker_row(1), worker_row(2))
    submit(engine, worker_row(1), worker_row(2), time=NOW + dt.timedelta(hours=1))
    assert sorted(register_stored(engine)) == ["registered", "registered", "repeated", "repeated"]


def test_a_changed_row_is_a_new_event(engine: Engine) -> None:
    submit(engine, worker_row(1))
    submit(engine, worker_row(1, months=6), time=NOW + dt.timedelta(hours=1))
    assert register_stored(engine) == ["registered", "updated"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nik": "640205170880"}, "row 18: nik: a NIK has 16 digits"),
        ({"nik": "6402991708900001"}, "row 18: nik: its first six digits are no district"),
        ({"nik": ...}, "row 18: nik: missing"),
        (
            {"nik": 6402051708800001.0},
            "row 18: nik: the cell is a number and has lost digits; format the column as text",
        ),
        ({"village": "64.02.05.9999"}, "row 18: village: 64.02.05.9999 is not in the region table"),
        ({"months": 13}, "row 18: months: must be a whole number from 1 to 12"),
        ({"months": "tiga"}, "row 18: months: must be a whole number, digits only"),
        ({"programmes": "JKK+ABC"}, "row 18: programmes: must be of JKK, JKM, JHT, JKN"),
        ({"programmes": "JKK+JKK"}, "row 18: programmes: Value error, names a programme twice"),
        (
            {"start_month": "2031-01"},
            "row 18: start_month: more than 12 months before or 24 after the event's time",
        ),
        ({"declared_base_rupiah": -5}, "row 18: declared_base_rupiah: below zero"),
        ({"priority": ...}, "row 18: priority: missing"),
        ({"alamat": "Jalan"}, "row 18: alamat: unknown column"),
        (
            {"time": "2026-11-01T08:00:00"},
            "row 18: time: must say its time zone, like 2026-11-30T09:00:00+08:00",
        ),
        ({"time": "2027-11-01T08:00:00+08:00"}, "row 18: time: lies more than a day in the future"),
        ({"name": "x" * 201}, "row 18: name: longer than 200 characters"),
    ],
)
def test_a_wrong_row_is_explained_and_nothing_is_stored(
    shared_engine: Engine, changes: dict[str, Any], expected: str
) -> None:
    outcome = submit(shared_engine, worker_row(1), worker_row(2, **changes), first_row=17)
    assert [str(problem) for problem in outcome.problems] == [expected]
    assert outcome.events == outcome.messages == 0
    assert stored(shared_engine) == []


def test_good_rows_pass_when_asked_for(engine: Engine) -> None:
    outcome = submit(engine, worker_row(1), worker_row(2, months=0), worker_row(3), partial=True)
    assert (outcome.events, len(outcome.problems)) == (2, 1)
    assert register_stored(engine) == ["registered", "registered"]


def test_what_differs_from_the_nik_is_a_warning_only(engine: Engine) -> None:
    outcome = submit(engine, worker_row(1, sex="p", birth_year=1981))
    assert outcome.events == 1
    assert [str(warning) for warning in outcome.warnings] == [
        "row 1: birth_year: differs from the NIK's",
        "row 1: sex: differs from the NIK's",
    ]
    assert register_stored(engine) == ["registered"]


def test_batches_stay_within_their_limits_and_keep_a_workers_events_in_order(engine: Engine) -> None:
    rows = [worker_row(number % 1_500) | {"id": str(number)} for number in range(9_000)]
    outcome = submit(engine, *rows)
    assert outcome.events == 9_000
    records = stored(engine)
    assert len(records) == outcome.messages < 60
    place: dict[bytes, str] = {}
    ids: dict[str, list[int]] = {}
    for record in records:
        assert len(record.value) <= 512 * 1024
        events = orjson.loads(record.value)
        assert len(events) <= 500
        for event in events:
            nik_hash = event["data"]["nik_hash"]
            assert place.setdefault(nik_hash, str(record.key)) == str(record.key)
            ids.setdefault(nik_hash, []).append(int(event["id"]))
    assert all(numbers == sorted(numbers) for numbers in ids.values())


def test_large_events_are_packed_within_the_batch_size_and_the_largest_goes_alone(engine: Engine) -> None:
    sizes = [100_000] * 12 + [600_000]
    lines = [
        orjson.dumps({"specversion": "1.0", "id": str(number), "data": {"note": "x" * size}})
        for number, size in enumerate(sizes)
    ]
    assert submit_event_lines(engine, CONTEXT, lines, source="/file").events == 13
    records = stored(engine)
    assert sorted(len(record.value) > 512 * 1024 for record in records) == [False, False, False, True]
    packed = [event for record in records for event in _as_list(orjson.loads(record.value))]
    assert {event["id"] for event in packed} == {str(number) for number in range(13)}


def _as_list(content: Any) -> list[Any]:
    return content if isinstance(content, list) else [content]


def test_a_pledge_file_becomes_fund_events(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "pledges.csv"
    path.write_text(
        "fund_id;revision;regency;name;window_from;window_to;funder;npwp;amount_rupiah;regions;programmes;"
        "jkk_jkm_discount;max_months\n"
        "csr-1;1;64.02;Komitmen;2026-01;2026-12;PT Contoh Rekaan;01.300.066.6-091.000;5000000;"
        '"64.02.05;64.02.06";JKK+JKM;ya;\n',
        encoding="utf-8",
    )
    outcome = submit_fund_events(engine, CONTEXT, "pledges", read_table(path), source="/file", first_row=2)
    assert outcome.problems == [] and outcome.events == 1
    (record,) = stored(engine)
    assert (record.topic, record.key) == ("funding.pledge-changed.v1", b"csr-1")
    (report,) = validate_funds(CONTEXT, decode(record))
    assert isinstance(report, FundReport)
    assert report.change.npwp == "013000666091000"  # type: ignore[union-attr]
    assert report.change.rules.regions == ("64.02.05", "64.02.06")
    assert report.change.rules.programmes == ("JKK", "JKM")
    assert report.change.rules.max_months is None


BUDGET_ROW = {
    "fund_id": "apbd-1",
    "revision": 1,
    "regency": "64.02",
    "name": "Pos",
    "window_from": "2026-01",
    "window_to": "2026-12",
    "fiscal_year": 2026,
    "account_code": "5.1.02.02.01.0065",
    "ceiling_rupiah": 1_000_000,
    "released_rupiah": 500_000,
}


def test_a_budget_line_becomes_a_fund_event(engine: Engine) -> None:
    outcome = submit_fund_events(engine, CONTEXT, "budgets", [BUDGET_ROW], source="/file")
    assert (outcome.events, list(outcome.problems)) == (1, [])
    (report,) = validate_funds(CONTEXT, decode(stored(engine)[0]))
    assert isinstance(report, FundReport)
    assert report.envelope.id == "apbd-1-1"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"released_rupiah": "-1"}, "row 1: released_rupiah: below zero"),
        (
            {"ceiling_rupiah": 10.5},
            "row 1: ceiling_rupiah: must be a whole number of rupiah, written without a point",
        ),
        ({"ceiling_rupiah": "1.000.000"}, "row 1: ceiling_rupiah: must be a whole number, digits only"),
        ({"regions": "64.99"}, "row 1: regions: 64.99 is not in the region table"),
        ({"window_to": "2025-01"}, "row 1: window_to: lies before window_from"),
        ({"revision": None}, "row 1: revision: missing"),
    ],
)
def test_a_wrong_budget_line_is_explained(
    shared_engine: Engine, changes: dict[str, Any], expected: str
) -> None:
    bad = submit_fund_events(shared_engine, CONTEXT, "budgets", [BUDGET_ROW | changes], source="/file")
    assert [str(problem) for problem in bad.problems] == [expected]


def test_lines_may_be_rows_or_events_and_a_plain_nik_is_sealed_in_both(engine: Engine) -> None:
    event = {"specversion": "1.0", "type": "coverage.worker-uncovered.v1", "source": "/registry"}
    time = NOW.isoformat()
    lines = [
        orjson.dumps(worker_row(1)),
        b"",
        orjson.dumps(event | {"id": "a", "time": time, "data": worker_row(2)}),
        orjson.dumps(event | {"id": "b", "time": time, "data": worker_data(3)}),
        orjson.dumps(event | {"id": "c", "time": time, "data": {"months": 99}}),
    ]
    outcome = submit_event_lines(engine, CONTEXT, lines, source="/file")
    assert (outcome.events, list(outcome.problems)) == (4, [])
    for record in stored(engine):
        assert nik_of(1).encode() not in record.value and nik_of(2).encode() not in record.value
    assert sorted(register_stored(engine)) == ["refused", "registered", "registered", "registered"]
    with engine.connect() as connection:
        ids = connection.execute(text("SELECT source, event_id FROM inbox_event")).all()
    assert ("/registry", "a") in ids and ("/registry", "b") in ids


def test_a_line_that_is_passed_on_stays_as_it_was_written(engine: Engine) -> None:
    line = b'{ "specversion": "1.0", "type": "funding.pledge-changed.v7", "data": {"fund_id": "x"} }'
    submit_event_lines(engine, CONTEXT, [line], source="/file")
    (record,) = stored(engine)
    assert (record.topic, record.key, record.value) == ("funding.pledge-changed.v1", b"x", line)


@pytest.mark.parametrize("line", [b"{", b"[]", b'"text"', b'{"nik": "\xff"}'])
def test_a_line_that_is_no_object_is_a_problem_with_its_number(shared_engine: Engine, line: bytes) -> None:
    outcome = submit_event_lines(shared_engine, CONTEXT, [b"\n", line], source="/file")
    assert [problem.row for problem in outcome.problems] == [2]
    assert stored(shared_engine) == []


def test_a_workbook_is_read_like_a_csv_table(tmp_path: Path) -> None:
    import xlsxwriter

    path = tmp_path / "workers.xlsx"
    with xlsxwriter.Workbook(path) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["NIK ", "Months", "start_month"])
        sheet.write_string(2, 0, nik_of(1))
        sheet.write_number(2, 1, 3)
        sheet.write_datetime(2, 2, dt.date(2026, 12, 1), workbook.add_format({"num_format": "yyyy-mm"}))
    assert list(read_table(path)) == [
        {"nik": None, "months": None, "start_month": None},
        {"nik": nik_of(1), "months": 3.0, "start_month": dt.date(2026, 12, 1)},
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"nik\n1\n", "expected a .csv or .xlsx file"),
        ("a.xlsx", b"not a zip", "not an Excel workbook"),
        ("a.csv", b"nik\n\xff\n", "not UTF-8"),
        ("a.csv", b"", "must name every column"),
        ("a.csv", b"nik,,name\n", "must name every column"),
        ("a.csv", b"nik,NIK\n", "two columns have the same name"),
        ("a.csv", b"nik\n1,2\n", "row 2 has more cells"),
        ("a.csv", b'nik\n"1\n', "not a CSV table"),
    ],
)
def test_a_file_that_is_no_table_says_why(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileUnreadableError, match=expected):
        list(read_table(path))
