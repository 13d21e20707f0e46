"""Tables to take away are whole however long they are, and speak the reader's language."""

from __future__ import annotations

import csv
import io

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine

from tests.builders import apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, now, sign_in_wholly
from workflow.record import record_action

#: More than a cursor fetches at once, and not a round number of times that.
RECORDS = 2_345


@pytest.fixture(scope="module")
def reader(engine: Engine, url: str) -> Browser:
    apply_fund(engine, pledge("csr-1", 10_000_000))
    with engine.begin() as connection:
        for number in range(RECORDS):
            record_action(connection, "arsip@kantor.example", "uji_ekspor", str(number), {}, now())
    browser = Browser(url, "10.7.9.1")
    account = add_person(engine, "ekspor@kantor.example", "auditor")
    sign_in_wholly(browser, engine, "ekspor@kantor.example", account)
    return browser


def test_a_long_table_is_whole(reader: Browser) -> None:
    expected = [str(number) for number in reversed(range(RECORDS))]
    answer = reader.get("/audit.csv?action=uji_ekspor&lang=en")
    assert int(answer.headers["content-length"]) == len(answer.content)
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    end = rows.index([])
    assert [row[4] for row in rows[1:end]] == expected
    assert rows[end + 1 :] == [["At most", "100000"], ["action", "uji_ekspor"]], (
        "what was filtered stands below"
    )
    book = CalamineWorkbook.from_filelike(io.BytesIO(reader.get("/audit.xlsx?action=uji_ekspor").content))
    sheet = book.get_sheet_by_index(0).to_python()
    assert [str(row[4]) for row in sheet[1:]] == expected
    assert len({row[6] for row in sheet[1:]}) == RECORDS, "each with its own seal"


@pytest.mark.parametrize(
    ("path", "indonesian", "english"),
    [
        ("/funds.csv", "Kode,Nama,Jenis,Penyandang dana", "Code,Name,Kind,Funder"),
        ("/funds/csr-1/journal.csv", "Nomor,Waktu,Jenis,Jumlah,Sebab", "Number,When,Kind,Amount,Cause"),
        ("/review/batches.csv", "Dana,Kode,Jenis,Kecamatan", "Fund,Code,Kind,District"),
        ("/unfunded.csv", "Kode,Kecamatan,Alasan,Kebutuhan", "Code,District,Reason,Needs"),
        (
            "/audit.csv",
            "Nomor,Waktu,Siapa,Tindakan,Perihal,Rincian",
            "Number,When,Who,Action,Subject,Details",
        ),
    ],
)
def test_headings_are_in_the_readers_language(
    reader: Browser, path: str, indonesian: str, english: str
) -> None:
    for language, heading in (("id", indonesian), ("en", english)):
        first = reader.get(f"{path}?lang={language}").content.decode("utf-8-sig").splitlines()[0]
        assert first.startswith(heading), first


def test_the_second_sheet_says_what_was_taken(reader: Browser) -> None:
    for language, name in (("id", "Keterangan"), ("en", "About this table")):
        content = reader.get(f"/review/batches.xlsx?kind=csr&lang={language}").content
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        assert book.sheet_names[1] == name
        notes = book.get_sheet_by_name(name).to_python()
        assert ["Saringan" if language == "id" else "Filter", "kind=csr"] in notes
