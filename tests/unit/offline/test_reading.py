"""The fast reader and the row-by-row reader are two views of one file: they must agree."""

from __future__ import annotations

import csv
import io
import os
import random
import threading
from datetime import date
from pathlib import Path

import pytest

from tests.unit.offline.conftest import FUND, FUNDS_HEADER, WORKER, WORKERS_HEADER, Offline
from workflow.match_files import FaultList, read_workers
from workflow.match_regions import RegionCodes, known_regions

FILE = (
    b"worker_id,village,occupation,sex,birth_year,programmes,months,priority,note\n"
    b"w1,64.02.05.2001,fisher,L,1980,JKK+JKM,12,50,a\n"
    b'"w,2",64.02.05.2002,farmer,P,,JKN,3,100,"x ""q"" y"\n'
    b'w3,64.02.06.1003,driver,,1990,JKM+JKK+JHT,1,1,"two\nlines"\n'
    b"w4,64.01.01.2009,fisher,L,1980,JKK,12,50,\n"
)
BITS = [b'"', b",", b"\n", b"\r", b"\r\n", b";", b" ", b"\xff", b"\xc3\xa9", b"", b'""', b"\n\n", b"0", b"'"]


@pytest.fixture(scope="module")
def regions() -> RegionCodes:
    return known_regions()


@pytest.mark.parametrize("seed", range(40))
def test_a_spoilt_file_is_refused_with_reasons_or_read_as_it_stands(
    seed: int, regions: RegionCodes, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    path = tmp_path / "workers.csv"
    for _ in range(25):
        data = bytearray(FILE)
        for _ in range(chance.randint(1, 2)):
            place = chance.randrange(len(data) + 1)
            data[place : place + chance.choice((0, 0, 1, 2))] = chance.choice(BITS)
        path.write_bytes(data)
        faults = FaultList()
        rows, _notes = read_workers(path, regions, date(2026, 11, 23), faults)
        if rows is None:
            assert faults.rows
            assert not any("cannot be read as CSV: " in str(fault) for fault in faults.faults), bytes(data)
        else:
            text = bytes(data).decode("utf-8", errors="surrogateescape")
            read = [cells for cells in csv.reader(io.StringIO(text, newline="")) if cells]
            position = [name.strip().lower() for name in read[0]].index("worker_id")
            assert [str(worker) for worker in rows.worker_ids] == [cells[position] for cells in read[1:]]


def test_a_file_larger_than_one_block_is_read_whole(regions: RegionCodes, tmp_path: Path) -> None:
    path = tmp_path / "workers.csv"
    long = "x" * 150
    lines = [WORKER.replace("w1", f"{long}{i}") for i in range(40_000)]
    path.write_text("\n".join([WORKERS_HEADER, *lines]), encoding="utf-8")
    assert path.stat().st_size > 6_000_000
    faults = FaultList()
    rows, _notes = read_workers(path, regions, date(2026, 11, 23), faults)
    assert rows is not None and len(rows) == 40_000
    assert len({str(worker) for worker in rows.worker_ids}) == 40_000
    # The very last row's fault is found and numbered.
    path.write_text("\n".join([WORKERS_HEADER, *lines, lines[7]]), encoding="utf-8")
    assert read_workers(path, regions, date(2026, 11, 23), faults)[0] is None
    assert str(faults.faults[0]).startswith(
        "workers.csv row 40002, worker_id: the same identifier as in row 9"
    )


def test_a_file_may_come_through_a_pipe(offline: Offline) -> None:
    pipe = offline.folder / "pipe"
    os.mkfifo(pipe)
    funds = offline.write("funds.csv", f"{FUNDS_HEADER}\n{FUND}\n")
    writer = threading.Thread(target=pipe.write_text, args=(f"{WORKERS_HEADER}\n{WORKER}\n",))
    writer.start()
    done = offline.call("allocate", "--workers", str(pipe), "--funds", str(funds), "--out", str(offline.out))
    writer.join()
    assert done.code == 0 and done.paid == {"w1": "f1"}


def test_a_province_is_checked_only_where_its_villages_are_known() -> None:
    regions = RegionCodes.from_codes(["64", "64.02", "64.02.05", "64.02.05.2001", "63", "63.01"])
    assert regions.village_fault("64.02.05.2001") is None
    assert regions.village_fault("64.02.05.2002") is not None
    # 63 is known by name only, 31 not at all: neither can be checked, both are provinces.
    assert regions.village_fault("63.09.01.2001") is None
    assert regions.village_fault("31.71.01.1001") is None
    assert regions.village_fault("20.01.01.2001") is not None
    assert regions.prefix_fault("64.02.05") is None
    assert regions.prefix_fault("64.03") is not None
    assert regions.prefix_fault("31.71") is None
