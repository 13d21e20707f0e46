"""While a fund's rules are being written, the page says how many waiting workers they reach."""

from __future__ import annotations

import datetime as dt
import re
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, text

from models.programme import bundle_mask, parse_bundle
from tests.builders import add_need, apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words

#: One need that every rule below accepts, and one more for each rule that refuses it alone.
_NEEDS: dict[str, object] = {
    "fits": {},
    "elsewhere": {"village_code": "64.02.01.2001"},
    "farmer": {"occupation": "petani"},
    "health": {"programmes": bundle_mask(parse_bundle("JKK+JKM+JKN"))},
    "woman": {"sex": "P"},
    "unknown sex": {"sex": None},
    "young": {"birth_year": 2006},
    "old": {"birth_year": 1950},
    "unknown age": {"birth_year": None},
    "long": {"months": 12},
    "late": {"start_month": dt.date(2027, 9, 1)},
}


@pytest.fixture(scope="module")
def seeded(engine: Engine) -> Engine:
    apply_fund(engine, pledge("csr-hitung", 10_000_000))
    # Serves one district alone, and has money; the other would serve everybody, and has none left.
    apply_fund(engine, pledge("csr-lain", 10_000_000, rules={"regions": ["64.02.01"]}))
    apply_fund(engine, pledge("csr-habis", 0))
    with engine.begin() as connection:
        for number, changes in enumerate(_NEEDS.values(), start=50_000):
            assert isinstance(changes, dict)
            add_need(connection, number, **changes)
        add_need(connection, 60_000, state="proposed")
        add_need(connection, 60_001, state="closed", unfunded_reason=None)
    return engine


@pytest.fixture(scope="module")
def officer(seeded: Engine, url: str) -> Browser:
    browser = Browser(url, "10.7.2.1")
    account = add_person(seeded, "hitung@kantor.example", "officer")
    sign_in_wholly(browser, seeded, "hitung@kantor.example", account)
    return browser


def ask(officer: Browser, **form: str) -> str:
    return words(officer.get(f"/funds/csr-hitung/eligible?{urlencode({'lang': 'en'} | form)}").text)


def waiting(said: str) -> int:
    found = re.search(r"(\d+) waiting workers fit", said)
    assert found, said
    return int(found[1])


@pytest.mark.parametrize(
    ("form", "refuses"),
    [
        ({}, set()),
        ({"regions": "64.02.05"}, {"elsewhere"}),
        ({"regions": "64.02.05.2001"}, {"elsewhere"}),
        ({"occupations": "nelayan"}, {"farmer"}),
        ({"programmes": "JKK,JKM,JHT"}, {"health"}),
        ({"sexes": "L"}, {"woman", "unknown sex"}),
        ({"age_from": "21"}, {"young", "unknown age"}),
        ({"age_to": "60"}, {"old", "unknown age"}),
        ({"max_months": "6"}, {"long"}),
        ({"window_to": "2027-11"}, set()),  # the month in which both the long and the late one end
        ({"window_to": "2027-10"}, {"long", "late"}),
        ({"window_from": "2027-01"}, set(_NEEDS) - {"late"}),
        ({"head_count_cap": "1"}, set()),
    ],
)
def test_each_rule_is_counted_as_the_match_would(
    officer: Browser, form: dict[str, str], refuses: set[str]
) -> None:
    assert waiting(ask(officer, **form)) == len(_NEEDS) - len(refuses)


def test_rules_together_leave_the_one_that_fits(officer: Browser) -> None:
    said = ask(
        officer,
        regions="64.02.05",
        occupations="nelayan",
        programmes="JKK,JKM",
        sexes="L",
        age_from="21",
        age_to="60",
        max_months="6",
        window_to="2027-10",
    )
    assert waiting(said) == 1
    assert "1 more fit and stand in proposals" in said
    assert f"With the rules that hold now: {len(_NEEDS)}" in said


def test_who_has_no_other_fund_is_told(officer: Browser) -> None:
    assert f"{len(_NEEDS) - 1} of them no other fund" in ask(officer)
    assert "0 of them no other fund" in ask(officer, regions="64.02.01")


def test_an_occupation_nobody_has_is_named(officer: Browser) -> None:
    said = ask(officer, occupations="nelayann")
    assert waiting(said) == 0
    assert "No worker was ever reported as: nelayann" in said


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"age_from": "dua puluh"}, "Not filled in as it should be: Youngest age"),
        ({"programmes": "JKK,XXX"}, "Not filled in as it should be: Programmes"),
        ({"window_to": "besok"}, "Not filled in as it should be: Last month"),
        ({"regions": "di mana saja"}, "Not filled in as it should be: Where"),
        ({"regions": "64.02.99"}, "not in the region table"),
        ({"age_from": "60", "age_to": "20"}, "The oldest age lies below the youngest"),
        ({"window_from": "2027-05", "window_to": "2027-01"}, "last month lies before its first"),
    ],
)
def test_rubbish_is_refused_in_words(officer: Browser, form: dict[str, str], said: str) -> None:
    assert said in ask(officer, **form)


def test_ages_out_of_order_are_not_sent(officer: Browser, engine: Engine) -> None:
    form = {"revision": "1", "age_from": "60", "age_to": "20"}
    answer = officer.post("/funds/csr-hitung/edit?lang=en", form)
    assert answer.status_code == 422
    assert "The oldest age lies below the youngest" in words(answer.text)
    with engine.connect() as connection:
        sent = connection.scalar(
            text("SELECT count(*) FROM outbox_message WHERE key = 'csr-hitung' AND intake")
        )
    assert sent == 0


def test_the_form_ticks_what_holds_and_none_means_all(officer: Browser, engine: Engine) -> None:
    apply_fund(
        engine,
        pledge("csr-centang", 1_000_000, rules={"regions": ["64.02.05"], "occupations": ["fisher", "x"]}),
    )
    page = officer.get("/funds/csr-centang/edit?lang=id").text
    assert re.search(r'name="regions" value="64.02.05" checked', page)
    assert re.search(r'name="occupations" value="fisher" checked> nelayan', page)
    assert 'name="occupations" value="x"' in page
    form = {"revision": "1", "regions": "", "occupations": ""}  # what a form without a tick sends
    assert officer.post("/funds/csr-centang/edit", form).status_code == 303
    with engine.connect() as connection:
        sent = connection.scalar(
            text("SELECT value FROM outbox_message WHERE key = 'csr-centang' AND intake")
        )
    assert b'"regions":[]' in sent and b'"occupations":[]' in sent
