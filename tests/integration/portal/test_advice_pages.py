"""Unfunded and what-if over a real match: numbers that add up, advice that works, nothing stored."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from portal.export import quote_formula
from tests.builders import apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words
from tests.integration.portal.test_api import program
from tests.integration.test_allocate import add_needs, allocate


@pytest.fixture(scope="module")
def match(engine: Engine) -> None:
    """Money for one of three fishers, and a driver whom no fund accepts."""
    for number, priority in ((1, 90), (2, 50), (3, 10)):
        add_needs(engine, number, priority=priority)
    add_needs(engine, 4, priority=70, occupation="sopir")
    apply_fund(engine, pledge("nelayan", 60_000, rules={"occupations": ["nelayan"]}))
    allocate(engine)


@pytest.fixture
def officer(engine: Engine, match: None, new_browser: Callable[[], Browser]) -> Browser:
    browser = new_browser()
    email = f"{uuid.uuid4().hex}@saran.example"
    sign_in_wholly(browser, engine, email, add_person(engine, email, "officer"))
    return browser


def test_everybody_who_waits_stands_under_a_reason(officer: Browser) -> None:
    page = words(officer.get("/unfunded").text)
    assert "3 pekerja menunggu dana." in page
    assert "Kebutuhan lain lebih mendesak untuk dana yang sama 2" in page
    assert "Tidak ada dana di sana yang menerima pekerjaannya 1" in page


def test_the_cheapest_change_names_fund_rule_and_rupiah(officer: Browser) -> None:
    answer = officer.get("/unfunded/changes")
    assert answer.status_code == 200
    page = words(answer.text)
    assert "nelayan: tambah dananya 2" in page
    assert "nelayan: buka untuk pekerjaan ini 1" in page
    assert "every_occupation=1" in answer.text


def test_what_the_advice_promises_is_what_the_match_then_gives(officer: Browser) -> None:
    page = words(officer.get("/what-if/answer?fund=nelayan&more_millions=1&every_occupation=1").text)
    assert "Pekerja dengan dana: +3. Dana: +Rp 1 juta." in page
    assert "Tidak ada yang disimpan" in page
    picture = officer.get("/what-if/districts.svg?fund=nelayan&more_millions=1&every_occupation=1")
    assert picture.headers["content-type"] == "image/svg+xml"


def test_asking_stores_nothing(officer: Browser, engine: Engine) -> None:
    count = text(
        "SELECT (SELECT count(*) FROM proposal), (SELECT count(*) FROM allocation_run),"
        " (SELECT count(*) FROM journal_entry), (SELECT sum(pledged_rupiah) FROM fund)"
    )
    with engine.connect() as connection:
        before = tuple(connection.execute(count).one())
    assert officer.get("/what-if/answer?new_millions=1&new_kind=apbd").status_code == 200
    with engine.connect() as connection:
        assert tuple(connection.execute(count).one()) == before


@pytest.mark.usefixtures("match")
def test_a_program_asks_the_same(engine: Engine, url: str) -> None:
    ask = program(engine, url, "auditor").ask
    question = {"fund": "nelayan", "more_rupiah": 1_000_000, "every_occupation": True}
    answer = ask("POST", "/what-if", question).json()
    assert answer["after"]["workers"] - answer["before"]["workers"] == 3
    assert sum(each["gained"] for each in answer["districts"]) == answer["gained"] == 3
    assert ask("POST", "/what-if", {"fund": "tidak-ada"}).status_code == 404
    assert ask("POST", "/what-if", {"fund": "nelayan", "more_rupiah": -5_000_000}).status_code == 422
    changes = ask("GET", "/cheapest-changes").json()["items"]
    assert {each["rule"]: each["helped"] for each in changes} == {"amount_left": 2, "occupation_accepted": 1}


@pytest.mark.parametrize(
    ("query", "status"),
    [("fund=tidak-ada", 404), ("fund=nelayan&more_millions=-5", 422), ("more_millions=banyak", 422)],
)
def test_a_question_that_cannot_be_is_refused(officer: Browser, query: str, status: int) -> None:
    assert officer.get(f"/what-if/answer?{query}").status_code == status


def test_a_link_shares_the_question(officer: Browser) -> None:
    page = officer.get("/what-if?fund=nelayan&more_millions=250&max_months=6").text
    assert 'value="250"' in page
    assert 'hx-get="/what-if/answer?fund=nelayan&amp;more_millions=250&amp;max_months=6"' in page


def test_the_reasons_can_be_taken_away(officer: Browser) -> None:
    lines = officer.get("/unfunded.csv").text.splitlines()
    assert lines[0].endswith("Kode,Kecamatan,Alasan,Kebutuhan")
    assert sum(int(line.rsplit(",", 1)[1]) for line in lines[1:] if ",outbid," in line) == 2
    assert officer.get("/unfunded.xlsx").content.startswith(b"PK")


@pytest.mark.parametrize("text_", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_is_never_a_formula(text_: str) -> None:
    assert quote_formula(text_).startswith("'")
    assert quote_formula("Bu Rekaan = 1") == "Bu Rekaan = 1"
