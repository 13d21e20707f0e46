"""Changes through the API: people, a fund's terms and documents, enrolment and its answer, read messages."""

from __future__ import annotations

import csv
import io
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine, text

from models.role import Role
from models.vault import Vault
from portal.unit import open_unit
from tests.builders import apply_fund, pledge
from tests.integration.portal.site import (
    COMPANY,
    MASTER_KEY,
    OTHER_COMPANY,
    Browser,
    add_person,
    now,
    sign_in_wholly,
)
from tests.integration.portal.test_api import program
from tests.integration.portal.test_row_security import visitor
from tests.integration.test_enrol import SYNTHETIC_NIK, approve_three
from tests.unit.test_check_document import PDF
from workflow.account import Scope
from workflow.audit import audit
from workflow.load_regions import load_regions


class Person:
    """Somebody who uses the API with the session of a browser."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    def ask(self, method: str, path: str, content: object = None, **headers: str) -> httpx.Response:
        sent = {"sec-fetch-site": "same-origin"} | headers
        return self.browser.send(method, f"/api/v1{path}", None, sent, json=content)

    def change(self, method: str, path: str, content: object = None, *, of: str) -> httpx.Response:
        """Change what ``of`` shows, as it stands now, under a key of its own."""
        tag = self.ask("GET", of).headers["etag"]
        return self.ask(method, path, content, if_match=tag, idempotency_key=uuid.uuid4().hex)

    def send_file(self, path: str, name: str, content: bytes, key: str = "") -> httpx.Response:
        headers = {"sec-fetch-site": "same-origin", "idempotency-key": key or uuid.uuid4().hex}
        headers = self.browser._headers(headers)
        with httpx.Client(trust_env=False, timeout=60, verify=False) as client:  # noqa: S501 - plain http
            address = f"{self.browser.url}/api/v1{path}"
            return client.post(address, files={"file": (name, content)}, headers=headers)


Enter = Callable[..., Person]


@pytest.fixture(scope="module")
def enter(engine: Engine, url: str) -> Enter:
    """One person for each role and scope."""
    entered: dict[tuple[Role, Scope | None], Person] = {}

    def make(role: Role, scope: Scope | None = None) -> Person:
        if (role, scope) not in entered:
            browser, email = Browser(url, f"10.8.1.{len(entered) + 1}"), f"{uuid.uuid4().hex}@api.example"
            sign_in_wholly(browser, engine, email, add_person(engine, email, role, scope))
            entered[role, scope] = Person(browser)
        return entered[role, scope]

    return make


def kind_of(answer: httpx.Response) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def test_somebody_is_invited_given_a_role_and_shut_out(enter: Enter, url: str) -> None:
    administrator = enter("administrator")
    asked = {"email": "Baru@api.example", "name": "Orang Baru", "role": "officer", "scope": "64.02"}
    made = administrator.ask("POST", "/people", asked, idempotency_key="undang-1")
    assert (made.status_code, made.json()["email"], made.json()["state"]) == (
        201,
        "baru@api.example",
        "invited",
    )
    link = made.json()["link"]
    assert "baru@api.example" in Browser(url, "10.8.2.1").get("/invitation/" + link.rpartition("/")[2]).text
    again = administrator.ask("POST", "/people", asked, idempotency_key="undang-1").json()
    assert again == made.json() | {"link": None}, "a repeat is one invitation, and its secret is not kept"
    path = f"/people/{made.json()['id']}"
    assert administrator.ask("PUT", f"{path}/role", {"role": "auditor"}).status_code == 428
    changed = administrator.change("PUT", f"{path}/role", {"role": "auditor"}, of=path)
    assert (changed.json()["role"], changed.json()["regency"]) == ("auditor", None)
    wrong = administrator.change("PUT", f"{path}/role", {"role": "verifier", "scope": "64.02"}, of=path)
    assert (wrong.status_code, kind_of(wrong)) == (422, "account_village_unknown")
    other = administrator.change("POST", f"{path}/link", of=path).json()
    assert other["purpose"] == "invitation" and other["link"] != link
    assert administrator.change("POST", f"{path}/disable", of=path).json()["state"] == "disabled"
    refused = administrator.change("POST", f"{path}/link", of=path)
    assert (refused.status_code, kind_of(refused)) == (409, "account_wrong_state")
    assert administrator.change("POST", f"{path}/enable", of=path).json()["state"] == "invited"
    twice = administrator.ask("POST", "/people", asked, idempotency_key="undang-2")
    assert (twice.status_code, kind_of(twice)) == (409, "account_email_taken")


def test_the_link_of_an_invitation_is_kept_nowhere(enter: Enter, engine: Engine) -> None:
    asked = {"email": "rahasia@api.example", "name": "Orang", "role": "auditor"}
    made = enter("administrator").ask("POST", "/people", asked, idempotency_key="rahasia")
    token = made.json()["link"].rpartition("/")[2]
    with engine.connect() as connection:
        kept = connection.scalar(text("SELECT body::text FROM idempotent_request WHERE key = 'rahasia'"))
        tokens = connection.execute(text("SELECT * FROM account_token")).all()
    assert "rahasia@api.example" in kept and token not in kept and token not in str(tokens)


def test_a_companys_administrator_knows_the_own_people_alone(enter: Enter) -> None:
    admin, other = enter("company_admin"), enter("company_admin", Scope(funder=OTHER_COMPANY))
    asked = {"email": "staf@api.example", "name": "Staf", "role": "company_user"}
    mine = admin.ask("POST", "/people", asked, idempotency_key="staf").json()
    assert mine["funder"] == COMPANY
    emails = [each["email"] for each in other.ask("GET", "/people?limit=500").json()["items"]]
    assert len(emails) == 1 and "staf@api.example" not in emails
    foreign, none = other.ask("GET", f"/people/{mine['id']}"), other.ask("GET", f"/people/{uuid.uuid4()}")
    assert (foreign.status_code, foreign.text) == (404, none.text)
    officer = asked | {"email": "naik@api.example", "role": "officer", "scope": "64.02"}
    refused = admin.ask("POST", "/people", officer, idempotency_key="naik")
    assert (refused.status_code, kind_of(refused)) == (422, "account_scope_wrong")


def test_a_fund_gets_a_next_revision_as_it_was_read(enter: Enter, engine: Engine) -> None:
    apply_fund(engine, pledge("api-syarat", 5_000_000, npwp=COMPANY, rules={"occupations": ["nelayan"]}))
    officer, path = enter("officer"), "/funds/api-syarat/terms"
    terms = officer.ask("GET", path)
    assert terms.json()["amount_rupiah"] == 5_000_000 and terms.json()["ceiling_rupiah"] is None
    asked = {"amount_rupiah": 7_000_000, "rules": {"max_months": 6}}
    tag = terms.headers["etag"]
    sent = officer.ask("PATCH", path, asked, if_match=tag, idempotency_key="syarat-1")
    assert (sent.status_code, sent.json()) == (202, {"code": "api-syarat", "revision": 2})
    again = officer.ask("PATCH", path, asked, if_match=tag, idempotency_key="syarat-1")
    assert again.json() == sent.json()
    other = officer.ask("PATCH", path, {"window_to": "2027-06"}, if_match=tag, idempotency_key="syarat-2")
    assert (other.status_code, kind_of(other)) == (409, "under_way")
    with engine.connect() as connection:
        body = (
            "SELECT convert_from(value, 'UTF8')::jsonb AS body FROM outbox_message WHERE key = 'api-syarat'"
        )
        events = [row.body.get("data", row.body) for row in connection.execute(text(body))]
    assert len(events) == 1
    rules = events[0]["rules"]
    assert (events[0]["amount_rupiah"], rules["max_months"], rules["occupations"]) == (
        7_000_000,
        6,
        ["nelayan"],
    )
    # What comes from elsewhere makes what was read old.
    apply_fund(engine, pledge("api-syarat", 9_000_000, npwp=COMPANY, revision=5))
    stale = officer.ask("PATCH", path, {"window_to": "2027-06"}, if_match=tag, idempotency_key="syarat-3")
    assert stale.status_code == 412


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"ceiling_rupiah": 1}, "schema_violation"),
        ({"window_from": "2028-01"}, "window_out_of_order"),
        ({"rules": {"regions": ["99"]}}, "region_unknown"),
        ({"rules": {"age_from": 60, "age_to": 20}}, "ages_out_of_order"),
        ({"amount_rupiah": 1.5}, "invalid"),
        ({"rules": {"unknown": 1}}, "invalid"),
        ({"npwp": "1"}, "invalid"),
    ],
    ids=str,
)
def test_wrong_terms_are_refused(enter: Enter, engine: Engine, wrong: dict[str, Any], reason: str) -> None:
    apply_fund(engine, pledge("api-salah", 5_000_000))
    path = "/funds/api-salah/terms"
    answer = enter("officer").change("PATCH", path, wrong, of=path)
    assert (answer.status_code, kind_of(answer)) == (422, reason)


def test_a_document_is_handed_in_once_and_read_by_a_program(enter: Enter, engine: Engine, url: str) -> None:
    apply_fund(engine, pledge("api-berkas", 1_000_000))
    officer, path = enter("officer"), "/funds/api-berkas/documents"
    kept = officer.send_file(path, "perjanjian.pdf", PDF, "berkas-1")
    assert (kept.status_code, kept.json()["kind"], kept.json()["size_bytes"]) == (201, "pdf", len(PDF))
    assert officer.send_file(path, "perjanjian.pdf", PDF, "berkas-1").json() == kept.json()
    reused = officer.send_file(path, "perjanjian.pdf", PDF + b"\n", "berkas-1")
    assert kind_of(reused) == "idempotency_key_reused"
    file = program(engine, url, "auditor").ask("GET", f"/documents/{kept.json()['id']}")
    assert file.content == PDF and file.headers["content-disposition"].startswith("attachment;")
    for content, status, reason in ((b"MZ...", 422, "file_unknown_kind"), (b"", 422, "file_empty")):
        answer = officer.send_file(path, "x.pdf", content)
        assert (answer.status_code, kind_of(answer)) == (status, reason)
    large = officer.send_file(path, "x.pdf", b"%PDF-" + bytes(11 * 1024 * 1024))
    assert (large.status_code, kind_of(large)) == (413, "file_too_large")
    assert officer.ask("POST", path, {}, idempotency_key="tanpa").status_code == 422


def test_lines_are_enrolled_and_the_answer_reconciled_in_the_own_regency(
    enter: Enter, engine: Engine, url: str
) -> None:
    approve_three(engine, Vault(MASTER_KEY))
    load_regions(engine, ["64.03"])
    officer, stranger = enter("officer"), enter("officer", Scope(regency="64.03"))
    batches = "/funds/csr-1/enrolment-batches"
    assert stranger.ask("POST", batches, idempotency_key="d-0").status_code == 404
    made = officer.ask("POST", batches, idempotency_key="d-1")
    assert (made.status_code, made.json()["lines"]) == (201, 3)
    assert officer.ask("POST", batches, idempotency_key="d-1").json() == made.json()
    nothing = officer.ask("POST", batches, idempotency_key="d-2")
    assert (nothing.status_code, kind_of(nothing)) == (409, "nothing_to_enrol")

    path = f"/enrolment-batches/{made.json()['id']}"
    assert stranger.ask("POST", f"{path}/file").status_code == 404
    assert program(engine, url, "officer").ask("POST", f"{path}/file").status_code == 403, "no key gets NIKs"
    file = officer.ask("POST", f"{path}/file")
    rows = list(csv.DictReader(io.StringIO(file.text)))
    assert [row["nik"] for row in rows[:3]] == [str(int(SYNTHETIC_NIK) + number) for number in range(3)]
    assert rows[3]["iuran_rupiah"] == str(made.json()["total_rupiah"])
    book = officer.ask("POST", f"{path}/file?form=xlsx")
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(book.content)).get_sheet_by_index(0).to_python()
    assert [str(row[1]) for row in sheet[1:4]] == [row["referensi"] for row in rows[:3]]
    with engine.connect() as connection:
        taken = "SELECT count(*) FROM audit_record WHERE action = 'repeat_export' AND subject = :id"
        assert connection.scalar(text(taken), {"id": made.json()["id"]}) == 2, "on record each time"
        answers = str(connection.execute(text("SELECT body FROM idempotent_request")).all())
    assert SYNTHETIC_NIK not in answers

    answer = "referensi;status;alasan\n" + "".join(f"{row['referensi']};diterima;\n" for row in rows[:2])
    answer += f"{rows[2]['referensi']};ditolak;deceased\n"
    elsewhere = stranger.send_file("/enrolment-answers", "jawaban.csv", answer.encode())
    assert elsewhere.json()["outcomes"] == {"unknown": 3}, "nothing of another regency moves"
    wrong = officer.send_file("/enrolment-answers", "jawaban.csv", b"referensi;status\nx;mungkin\n")
    assert wrong.status_code == 422 and "row 2" in wrong.json()["problems"][0]
    done = officer.send_file("/enrolment-answers", "jawaban.csv", answer.encode())
    assert done.json()["outcomes"] == {"enrolled": 2, "refused": 1}
    assert officer.send_file("/enrolment-answers", "j.csv", answer.encode()).json() == done.json()
    lines = officer.ask("GET", f"{path}/lines").json()["items"]
    assert [line["answer"] for line in lines] == ["accepted", "accepted", "refused"]
    assert [finding for finding in audit(engine) if "csr-1" in str(finding)] == []


def test_messages_are_read_up_to_a_moment_and_the_menu_counts_the_rest(enter: Enter, engine: Engine) -> None:
    funder = "0041567892091000"
    terms: dict[str, Any] = {"npwp": funder, "name": "Komitmen Kabar"}
    apply_fund(engine, pledge("api-kabar", 1_000_000, **terms))
    person = enter("company_user", Scope(funder=funder))
    colleague = enter("company_admin", Scope(funder=funder))
    assert person.ask("GET", "/company/message-mark").json() == {"read_at": None, "unread": 1}
    newest = person.ask("GET", "/company/messages?limit=1").json()["items"][0]
    read = person.ask("PUT", "/company/message-mark", {"read_at": newest["at"]}, idempotency_key="baca-1")
    assert read.json()["unread"] == 0
    back = {"read_at": "2020-01-01T00:00:00Z"}
    assert person.ask("PUT", "/company/message-mark", back, idempotency_key="baca-2").json() == read.json()
    assert badge(colleague.browser) == 1, "each reads for themselves"

    # An officer changes window, then rules, then both, then nothing but the amount.
    changes: list[dict[str, Any]] = [
        {"window_to": "2027-11"},
        {"rules": {"occupations": ["nelayan"]}},
        {"window_to": "2027-12", "rules": {"sexes": ["P"]}},
    ]
    for revision, change in enumerate(changes, start=2):
        terms |= change
        apply_fund(engine, pledge("api-kabar", 1_000_000, revision=revision, **terms))
    apply_fund(engine, pledge("api-kabar", 2_000_000, revision=5, **terms))
    kinds = [each["kind"] for each in person.ask("GET", "/company/messages").json()["items"]]
    assert sorted(kinds) == ["pledge", "rules_changed", "terms_changed", "top_up", "window_changed"]
    page = person.browser.get("/company/messages?lang=id").text
    assert "bulan yang dibiayai diubah" in page and "siapa yang dibiayai diubah" in page
    apply_fund(engine, pledge("api-kabar-2", 1_000, revision=1, **terms | {"npwp": OTHER_COMPANY}))
    assert badge(colleague.browser) == 5, "of the own company alone"
    assert person.browser.get("/company?lang=id").text.count("message-badge") == 1


def badge(browser: Browser) -> int:
    page = browser.get("/company/messages/badge?lang=en").text
    return int(page.partition('data-count="')[2].partition('"')[0])


def test_no_key_marks_a_persons_messages(engine: Engine, url: str) -> None:
    answer = program(engine, url, "company_user").ask(
        "PUT", "/company/message-mark", {"read_at": now().isoformat()}, idempotency_key="kunci"
    )
    assert answer.status_code == 403


def test_changed_terms_are_the_funders_and_the_regencys_to_read(engine: Engine) -> None:
    apply_fund(engine, pledge("api-rls", 1_000_000, npwp=COMPANY))
    apply_fund(engine, pledge("api-rls", 1_000_000, npwp=COMPANY, revision=2, window_to="2027-06"))
    readers: list[tuple[Role, dict[str, str], bool]] = [
        ("company_user", {"funder": COMPANY}, True),
        ("company_user", {"funder": OTHER_COMPANY}, False),
        ("officer", {"regency": "64.02"}, True),
        ("officer", {"regency": "64.03"}, False),
        ("verifier", {"village": "64.02.05.2001"}, False),
        ("administrator", {}, False),
    ]
    rows = text("SELECT count(*) FROM terms_change WHERE changed = '{window_to}' AND revision = 2")
    for role, scope, expected in readers:
        with open_unit(engine, visitor(role, **scope)) as connection:
            seen = connection.scalar(rows) or 0
        assert (seen > 0) == expected, f"{role} {scope}"
