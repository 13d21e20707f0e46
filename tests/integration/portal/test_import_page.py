"""A table is looked at before anything of it is taken in."""

from __future__ import annotations

import html
import re

import httpx
import pytest
from sqlalchemy import Engine, text

from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words
from tests.unit.test_check_document import docx

NIK = "6402061708809002"
_HEADER = "nik,name,village,occupation,programmes,months,start_month,priority\n"
_ROW = f"{NIK},Budi Rekaan,64.02.06.1001,fisher,JKK+JKM,3,2027-01,90\n"
_PLEDGE = (
    "fund_id,revision,regency,name,funder,npwp,amount_rupiah,window_from,window_to\n"
    "csr-impor,1,{regency},Komitmen,PT Rekaan,013000666091000,1000000,2027-01,2027-12\n"
)


@pytest.fixture(scope="module")
def officer(engine: Engine, url: str) -> Browser:
    browser = Browser(url, "10.7.4.1")
    account = add_person(engine, "impor@kantor.example", "officer")
    sign_in_wholly(browser, engine, "impor@kantor.example", account)
    return browser


def send(
    browser: Browser, content: str | bytes, kind: str = "workers", *, name: str = "tabel.csv", **fields: str
) -> httpx.Response:
    headers = browser._headers({"sec-fetch-site": "same-origin"})
    data = content.encode() if isinstance(content, str) else content
    with httpx.Client(trust_env=False, timeout=30, verify=False) as client:  # noqa: S501 - plain http here
        return client.post(
            f"{browser.url}/imports?lang=en",
            data={"kind": kind} | fields,
            files={"file": (name, data)},
            headers=headers,
        )


def waiting(engine: Engine) -> tuple[int, int]:
    """Messages to publish, and records of imports."""
    with engine.connect() as connection:
        return (
            connection.scalar(text("SELECT count(*) FROM outbox_message WHERE intake")) or 0,
            connection.scalar(text("SELECT count(*) FROM audit_record WHERE action = 'import_file'")) or 0,
        )


def reviewed(page: str) -> str:
    found = re.search(r'name="reviewed" value="([0-9a-f]{64})"', page)
    assert found, words(page)
    return found[1]


def test_looking_takes_nothing_in_and_a_second_press_does(officer: Browser, engine: Engine) -> None:
    before = waiting(engine)
    page = send(officer, _HEADER + _ROW)
    assert page.status_code == 200
    assert "1 row is in order. Nothing was taken in yet" in words(page.text)
    assert waiting(engine) == before
    taken = send(officer, _HEADER + _ROW, reviewed=reviewed(page.text))
    assert "1 row is on its way" in words(taken.text)
    assert waiting(engine) == (before[0] + 1, before[1] + 1)
    assert NIK not in page.text + taken.text and "Budi" not in page.text + taken.text


def test_another_file_than_the_one_looked_at_is_not_taken_in(officer: Browser, engine: Engine) -> None:
    before = waiting(engine)
    seen = reviewed(send(officer, _HEADER + _ROW).text)
    page = send(officer, _HEADER + _ROW.replace(",90", ",91"), reviewed=seen)
    assert page.status_code == 422
    assert "not the file you looked at" in words(page.text)
    assert waiting(engine) == before


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (_HEADER + _ROW + _ROW.replace(NIK, "1234"), "workers", "1 problems"),
        (_HEADER + _ROW.replace("64.02.06", "64.71.01"), "workers", "lies outside 64.02"),
        (_PLEDGE.format(regency="64.03"), "pledges", "lies outside 64.02"),
        (_HEADER, "workers", "has no rows"),
        ("", "workers", "no table that can be read"),
        (b"\xff\xfe", "workers", "save it as CSV UTF-8"),
        (docx(), "workers", "no table that can be read"),
        (docx({"word/x.xml": b"<x>" + b" " * 5_000_000 + b"</x>"}), "workers", "unpack to far more"),
        (_HEADER + _ROW, "money", "Say what the rows are"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_taken_in(
    officer: Browser, engine: Engine, content: str | bytes, kind: str, said: str
) -> None:
    before = waiting(engine)
    page = send(officer, content, kind)
    assert said in html.unescape(words(page.text))
    assert 'name="reviewed"' not in page.text
    assert "Budi" not in page.text and NIK not in page.text
    assert waiting(engine) == before


def test_pledges_come_in_the_same_way(officer: Browser, engine: Engine) -> None:
    seen = reviewed(send(officer, _PLEDGE.format(regency="64.02"), "pledges").text)
    send(officer, _PLEDGE.format(regency="64.02"), "pledges", reviewed=seen)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM outbox_message WHERE key = 'csr-impor'")) == 1
