"""Documents of a fund: checked, hashed, recorded, and handed out as they were handed in."""

from __future__ import annotations

import hashlib
import http.client
import uuid
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from models.role import Role
from portal.unit import open_unit
from tests.builders import apply_fund, pledge
from tests.integration.portal.site import COMPANY, VILLAGE, Browser, add_person, sign_in_wholly, words
from tests.integration.portal.test_row_security import visitor
from tests.unit.test_check_document import PDF, docx
from workflow.load_regions import load_regions


@pytest.fixture(scope="module")
def seeded(engine: Engine) -> Engine:
    load_regions(engine, ["64.03"])
    apply_fund(engine, pledge("csr-1", 10_000_000, npwp=COMPANY))
    apply_fund(engine, pledge("csr-2", 10_000_000))
    apply_fund(engine, pledge("csr-lain", 10_000_000, regency="64.03"))
    return engine


@pytest.fixture(scope="module")
def officer(seeded: Engine, url: str) -> Browser:
    browser = Browser(url, "10.7.3.1")
    account = add_person(seeded, "berkas@kantor.example", "officer")
    sign_in_wholly(browser, seeded, "berkas@kantor.example", account)
    return browser


def send(browser: Browser, code: str, name: str, content: bytes) -> httpx.Response:
    """Send a file as the form does."""
    headers = browser._headers({"sec-fetch-site": "same-origin"})
    with httpx.Client(trust_env=False, timeout=30, verify=False) as client:  # noqa: S501 - plain http here
        return client.post(
            f"{browser.url}/funds/{code}/documents?lang=en", files={"file": (name, content)}, headers=headers
        )


def test_a_document_is_kept_recorded_and_handed_out(officer: Browser, seeded: Engine) -> None:
    answer = send(officer, "csr-1", "Perjanjian Siti.exe", PDF)
    assert answer.status_code == 303
    kept = answer.headers["location"].partition("kept=")[2]
    again = send(officer, "csr-1", "lagi.pdf", PDF)
    assert again.headers["location"] == answer.headers["location"]
    digest = hashlib.sha256(PDF).hexdigest()
    for page in ("/funds/csr-1", "/funds/csr-1/documents"):
        said = words(officer.get(page).text)
        assert digest in said and "Perjanjian Siti.exe.pdf" in said and "berkas@kantor.example" in said
    file = officer.get(f"/documents/{kept}")
    assert file.content == PDF
    assert file.headers["content-type"] == "application/pdf"
    assert file.headers["x-content-type-options"] == "nosniff"
    assert file.headers["content-disposition"].startswith("attachment;")
    assert "Perjanjian%20Siti.exe.pdf" in file.headers["content-disposition"]
    assert file.headers["content-security-policy"] == "sandbox; default-src 'none'"
    with seeded.connect() as connection:
        records = connection.execute(
            text("SELECT actor, detail FROM audit_record WHERE action = 'add_document' AND subject = 'csr-1'")
        ).all()
    assert [record.actor for record in records] == ["berkas@kantor.example"]
    assert records[0].detail["sha256"] == digest
    assert "Siti" not in str(records[0].detail)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("palsu.pdf", b"MZ a program", "whatever its name says"),
        ("makro.docx", docx({"word/vbaProject.bin": b"x"}), "macros"),
        ("besar.docx", docx({"word/x.xml": b"<x>" + b" " * 5_000_000 + b"</x>"}), "unpack to far more"),
        ("kosong.pdf", b"", "empty"),
    ],
)
def test_a_refusal_is_told_in_words_and_nothing_is_kept(
    officer: Browser, seeded: Engine, name: str, content: bytes, said: str
) -> None:
    answer = send(officer, "csr-2", name, content)
    assert answer.status_code == 422
    assert said in words(answer.text)
    with seeded.connect() as connection:
        held = connection.scalar(
            text(
                "SELECT count(*) FROM fund_document d JOIN fund f ON f.id = d.fund_id WHERE f.code = 'csr-2'"
            )
        )
    assert held == 0


def test_nothing_is_read_before_size_and_person_are_known(
    officer: Browser, new_browser: object, seeded: Engine
) -> None:
    """Only the head of the request is sent; an answer that comes all the same did not wait for the file."""
    company: Browser = new_browser()  # type: ignore[operator]
    sign_in_wholly(
        company, seeded, "pt@berkas.example", add_person(seeded, "pt@berkas.example", "company_user")
    )
    for browser, length, status in ((officer, 12_000_000, 413), (company, 1_000_000, 403)):
        where = urlsplit(browser.url)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
        connection.putrequest("POST", "/funds/csr-2/documents")
        head = browser._headers({"sec-fetch-site": "same-origin", "content-length": str(length)})
        for key, value in (head | {"content-type": "multipart/form-data; boundary=x"}).items():
            connection.putheader(key, value)
        connection.endheaders()
        assert connection.getresponse().status == status
        connection.close()


def test_a_form_without_a_file_is_told(officer: Browser) -> None:
    answer = officer.post("/funds/csr-2/documents?lang=en")
    assert answer.status_code == 422
    assert "Choose a file first" in words(answer.text)


@pytest.fixture
def document(seeded: Engine) -> uuid.UUID:
    document_id = uuid.uuid4()
    with seeded.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO fund_document (id, fund_id, name, kind, content, sha256, added_by, added_at)"
                " SELECT :id, id, 'x.pdf', 'pdf', :content, sha256(:content), 'petugas', now() FROM fund"
                " WHERE code = 'csr-1'"
            ),
            {"id": document_id, "content": document_id.bytes},
        )
    return document_id


@pytest.mark.parametrize(
    ("role", "scope", "sees"),
    [
        ("officer", {"regency": "64.02"}, True),
        ("officer", {"regency": "64.03"}, False),
        ("officer", {}, False),
        ("auditor", {}, True),
        ("auditor", {"regency": "64.03"}, False),
        ("company_admin", {"funder": COMPANY}, False),
        ("verifier", {"village": VILLAGE}, False),
        ("administrator", {}, False),
    ],
)
def test_the_database_shows_documents_to_the_regencys_office_alone(
    seeded: Engine, document: uuid.UUID, role: Role, scope: dict[str, str], sees: bool
) -> None:
    with open_unit(seeded, visitor(role, **scope)) as connection:
        found = connection.scalar(text("SELECT count(*) FROM fund_document WHERE id = :id"), {"id": document})
    assert found == (1 if sees else 0)


@pytest.mark.parametrize("statement", ["UPDATE fund_document SET name = 'y'", "DELETE FROM fund_document"])
def test_a_document_is_never_changed_or_removed(seeded: Engine, document: uuid.UUID, statement: str) -> None:
    with pytest.raises(IntegrityError, match="append-only"), seeded.begin() as connection:
        connection.execute(text(statement))


def test_the_database_checks_the_hash(seeded: Engine) -> None:
    with pytest.raises(IntegrityError, match="hash_is_sha256"), seeded.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO fund_document (id, fund_id, name, kind, content, sha256, added_by, added_at)"
                " SELECT gen_random_uuid(), id, 'x.pdf', 'pdf', 'x', sha256('y'), 'petugas', now() FROM fund"
                " WHERE code = 'csr-1'"
            )
        )
