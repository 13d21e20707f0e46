"""Enrolment by pages: the file for the agency is made and taken, and the answer comes back line by line."""

from __future__ import annotations

import csv
import io

import httpx
import pytest
from sqlalchemy import Engine, text

from models.role import Role
from models.vault import Vault
from tests.integration.portal.site import MASTER_KEY, Browser, add_person, sign_in_wholly, words
from tests.integration.test_enrol import SYNTHETIC_NIK, approve_three
from workflow.account import Scope
from workflow.audit import audit
from workflow.load_regions import load_regions


def enter(engine: Engine, url: str, role: Role, address: str, scope: Scope | None = None) -> Browser:
    browser, email = Browser(url, address), f"{role}-{address}@kantor.example"
    account = add_person(engine, email, role, *([scope] if scope else []))
    sign_in_wholly(browser, engine, email, account)
    return browser


def hand_in(browser: Browser, content: bytes) -> httpx.Response:
    """Send an answer as the form does."""
    headers = browser._headers({"sec-fetch-site": "same-origin"})
    with httpx.Client(trust_env=False, timeout=30, verify=False) as client:  # noqa: S501 - plain http here
        return client.post(
            f"{browser.url}/enrolment/answers?lang=en",
            files={"file": ("jawaban.csv", content)},
            headers=headers,
        )


def test_a_file_is_made_taken_and_answered(engine: Engine, url: str) -> None:
    approve_three(engine, Vault(MASTER_KEY))
    load_regions(engine, ["64.03"])
    officer = enter(engine, url, "officer", "10.7.5.1")
    auditor = enter(engine, url, "auditor", "10.7.5.2")
    stranger = enter(engine, url, "officer", "10.7.5.3", Scope(regency="64.03"))
    page = officer.get("/enrolment?lang=en").text
    assert "Make the file" in page and "3" in words(page)
    assert "Make the file" not in auditor.get("/enrolment?lang=en").text
    assert stranger.post("/enrolment/batches", {"fund": "csr-1"}).status_code == 422

    made = officer.post("/enrolment/batches", {"fund": "csr-1"})
    assert made.status_code == 303
    batch = made.headers["location"].partition("made=")[2].partition("#")[0]
    again = officer.post("/enrolment/batches", {"fund": "csr-1"})
    assert again.status_code == 422
    assert "Every approved line was sent." in words(officer.get("/enrolment?lang=en").text)
    assert stranger.post(f"/enrolment/batches/{batch}/file", {"form": "csv"}).status_code == 404
    assert auditor.post(f"/enrolment/batches/{batch}/file", {"form": "csv"}).status_code == 403

    file = officer.post(f"/enrolment/batches/{batch}/file", {"form": "csv"})
    assert file.headers["content-disposition"].startswith("attachment;")
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["nik"] for row in rows[:3]] == [str(int(SYNTHETIC_NIK) + number) for number in range(3)]
    with engine.connect() as connection:
        taken = connection.scalar(text("SELECT count(*) FROM audit_record WHERE action = 'repeat_export'"))
    assert taken == 1, "whoever takes identity numbers is on record"
    assert SYNTHETIC_NIK not in officer.get("/enrolment").text

    wrong = hand_in(officer, b"referensi;status\nx;mungkin\n")
    assert wrong.status_code == 422 and "row 2" in wrong.text
    answer = "referensi;status;alasan\n" + "".join(f"{row['referensi']};diterima;\n" for row in rows[:2])
    answer += f"{rows[2]['referensi']};ditolak;deceased\n"
    assert "No such line was sent" in words(hand_in(stranger, answer.encode()).text)
    said = words(hand_in(officer, answer.encode()).text)
    assert "Enrolled and paid as sent: 2" in said and "Refused; the money is free again: 1" in said
    assert "Enrolled and paid as sent: 2" in words(hand_in(officer, answer.encode()).text), (
        "twice is harmless"
    )
    said = words(officer.get("/enrolment?lang=en").text)
    assert "2 enrolled" in said and "1 refused" in said and "open" not in said.partition("Sent")[2]
    assert audit(engine) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04 no workbook", "damaged"),
        (b"", "no table"),
        (b"\x00\x01\x02", "holds no answer"),
        (b"nik;nama\n1;2\n", "columns referensi and status are needed"),
    ],
)
def test_what_is_no_answer_is_refused_in_words(engine: Engine, url: str, content: bytes, told: str) -> None:
    officer = enter(engine, url, "officer", f"10.7.6.{len(content)}")
    answer = hand_in(officer, content)
    assert answer.status_code == 422
    assert told in words(answer.text)
