"""The API's later parts: offers, a company's own view, alerts, verification, what-if."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, text

from models.role import Role
from tests.builders import apply_fund, pledge
from tests.integration.portal.rows_alerts import make_alert
from tests.integration.portal.rows_api import OFFER
from tests.integration.portal.site import COMPANY, OTHER_COMPANY, Browser, add_person, now, sign_in_wholly
from tests.integration.portal.test_api import program
from tests.integration.portal.test_company_pages import approve
from tests.integration.portal.test_village_page import NAME, NIK, add_named_need, propose, state_of
from tests.unit.test_check_document import PDF
from workflow.account import Scope
from workflow.keep_document import keep_document

Caller = Callable[..., httpx.Response]


@pytest.fixture
def enter(engine: Engine, new_browser: Callable[[], Browser]) -> Callable[[Role], Caller]:
    """A person of a role who uses the API with the session of a browser."""

    def make(role: Role) -> Caller:
        browser, email = new_browser(), f"{uuid.uuid4().hex}@api.example"
        sign_in_wholly(browser, engine, email, add_person(engine, email, role))

        def ask(method: str, path: str, content: object = None, **headers: str) -> httpx.Response:
            sent = {"sec-fetch-site": "same-origin"} | headers
            return browser.send(method, f"/api/v1{path}", None, sent, json=content)

        return ask

    return make


def change(ask: Caller, path: str, content: object = None, of: str = "", method: str = "POST") -> Any:
    """Read the ETag of ``of`` and change what it names under a key of its own."""
    tag = ask("GET", of or path.rpartition("/")[0]).headers["etag"]
    return ask(method, path, content, if_match=tag, idempotency_key=uuid.uuid4().hex)


def test_an_offer_is_made_by_a_program_and_answered_by_a_person(
    engine: Engine, url: str, enter: Callable[[Role], Caller]
) -> None:
    company, officer = program(engine, url, "company_user").ask, enter("officer")
    made = company("POST", "/offers", OFFER, idempotency_key="tawaran-1")
    assert (made.status_code, made.json()["state"]) == (201, "open")
    again = company("POST", "/offers", OFFER, idempotency_key="tawaran-1")
    assert again.json() == made.json(), "a repeat is one offer"
    path = f"/offers/{made.json()['id']}"
    assert program(engine, url, "officer").ask("POST", f"{path}/confirm").status_code == 403, "no key decides"
    stranger = program(engine, url, "company_user", Scope(funder=OTHER_COMPANY)).ask
    foreign, none = stranger("GET", path), stranger("GET", f"/offers/{uuid.uuid4()}")
    assert (foreign.status_code, foreign.text) == (404, none.text)
    old = officer("GET", path).headers["etag"]
    assert change(officer, f"{path}/confirm").json()["state"] == "confirmed"
    late = officer("POST", f"{path}/decline", {"remark": "x"}, if_match=old, idempotency_key="t-2")
    assert late.status_code == 412
    assert change(officer, f"{path}/decline", {"remark": "x"}).json()["type"].endswith("offer_closed")
    with engine.connect() as connection:
        sent = "SELECT count(*) FROM outbox_message WHERE intake AND headers::text LIKE :id"
        assert connection.scalar(text(sent), {"id": f"%{made.json()['id']}%"}) == 1


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"amount_rupiah": 0}, 422),
        ({"amount_rupiah": 1.5}, 422),
        ({"window_from": "2027-13"}, 422),
        ({"window_from": "2028-01"}, 422),
        ({"regency": "64.99"}, 422),
        ({"fund": "punya-orang"}, 404),
        ({"npwp": OTHER_COMPANY}, 422),
    ],
    ids=str,
)
def test_a_wrong_offer_is_refused(engine: Engine, url: str, wrong: dict[str, Any], status: int) -> None:
    answer = program(engine, url, "company_user").ask(
        "POST", "/offers", OFFER | wrong, idempotency_key=uuid.uuid4().hex
    )
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_company_reads_its_people_and_messages_without_names(engine: Engine, url: str) -> None:
    funder = "0315678904091000"
    for number in range(6):
        need_id = add_named_need(engine, 4100 + number)
        propose(engine, need_id, f"api-dampak-{number}", npwp=funder)
        approve(engine, need_id, "2026-12-01", *(["2027-01-01"] if number < 4 else []))
    ask = program(engine, url, "company_user", Scope(funder=funder)).ask
    impact = ask("GET", "/company/impact").json()
    assert impact["total"] == {"workers": 6, "enrolled": 0, "months": 10}
    months = ask("GET", "/company/cover-months").json()["items"]
    assert [each["workers"] for each in months] == [6, None], "four people are not counted"
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = ask("GET", f"/company/workers?limit=4{cursor}").json()
        seen += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert len({each["pseudonym"] for each in seen}) == len(seen) == 6
    assert seen == sorted(seen, key=lambda each: str(each["pseudonym"]))
    assert ask("GET", "/company/workers?cursor=WyJhIl0").status_code == 422
    first = ask("GET", "/company/messages?limit=2").json()
    rest = ask("GET", f"/company/messages?limit=500&cursor={first['next']}").json()["items"]
    refs = [each["ref"] for each in [*first["items"], *rest]]
    assert len(refs) == len(set(refs)) == 6, "a pledge received, six times"
    everything = str([impact, months, seen, refs])
    assert NAME not in everything and NIK[:12] not in everything


def test_a_statement_is_signed_once_under_one_key(engine: Engine, url: str) -> None:
    apply_fund(engine, pledge("api-pernyataan", 1_000_000, npwp=COMPANY))
    ask = program(engine, url, "company_admin").ask
    first = ask("POST", "/statements", {"year": 2026}, idempotency_key="nyata-1")
    again = ask("POST", "/statements", {"year": 2026}, idempotency_key="nyata-1")
    assert (first.status_code, again.json()) == (201, first.json())
    assert [each["number"] for each in ask("GET", "/statements").json()["items"]] == [first.json()["number"]]


def test_an_alert_is_taken_on_and_closed(engine: Engine, enter: Callable[[Role], Caller]) -> None:
    officer = enter("officer")
    path = f"/alerts/{make_alert(engine, 'own', '')}"
    assert change(officer, f"{path}/acknowledge", {"note": "Saya"}).json()["state"] == "acknowledged"
    assert change(officer, f"{path}/acknowledge", {}).status_code == 409
    assert change(officer, f"{path}/resolve", {}).json()["state"] == "resolved"


def test_a_rule_of_alerts_is_changed_as_it_was_read(enter: Callable[[Role], Caller]) -> None:
    officer, path = enter("officer"), "/alert-rules/fund_lapse"
    rule = officer("GET", path).json()
    terms = {name: value for name, value in rule.items() if name not in ("name", "kind")}
    done = change(officer, path, terms | {"fire": 3000}, of=path, method="PUT")
    assert done.json() == rule | {"fire": 3000}
    wrong = change(officer, path, terms | {"clear": 9000}, of=path, method="PUT")
    assert wrong.json()["type"] == "urn:gotong:problem:clear_above_fire"


def test_a_fund_gets_thresholds_of_its_own_and_the_regencys_again(
    engine: Engine, enter: Callable[[Role], Caller]
) -> None:
    apply_fund(engine, pledge("api-ambang", 1_000_000, npwp=COMPANY))
    officer, path = enter("officer"), "/alert-overrides/funds/api-ambang"

    def held() -> dict[str, Any]:
        rules = officer("GET", path).json()["rules"]
        return {each["rule"]: (each["fire"], each["clear"], each["own"]) for each in rules}

    before = held()
    assert not before["fund_lapse"][2]
    own = {"fire": 4_200, "clear": 4_000}
    done = change(officer, path, {"rule": "fund_lapse", "own": own}, of=path, method="PATCH")
    assert done.status_code == 200
    assert held() == before | {"fund_lapse": (4_200, 4_000, True)}
    old = officer("GET", path).headers["etag"]
    wrong = {"rule": "fund_lapse", "own": {"fire": 100, "clear": 9_000}}
    refused = change(officer, path, wrong, of=path, method="PATCH")
    assert refused.json()["type"] == "urn:gotong:problem:clear_above_fire"
    unknown = change(officer, path, {"rule": "waiting_long", "own": own}, of=path, method="PATCH")
    assert unknown.json()["type"] == "urn:gotong:problem:rule_unknown", (
        "a district's rule is none of a fund's"
    )
    change(officer, path, {"rule": "fund_lapse", "own": None}, of=path, method="PATCH")
    assert held() == before
    late = officer(
        "PATCH", path, {"rule": "fund_lapse", "own": own}, if_match=old, idempotency_key=uuid.uuid4().hex
    )
    assert late.status_code == 412, "read before it was taken back"


def test_what_stands_still_is_let_go_on_and_a_match_is_stopped(
    engine: Engine, enter: Callable[[Role], Caller]
) -> None:
    operator, officer = enter("administrator"), enter("officer")
    topic = "funding.budget-changed.v1"
    with engine.begin() as connection:
        connection.execute(text("UPDATE regency SET halted_reason = 'uji' WHERE code = '64.02'"))
        connection.execute(
            text(
                "INSERT INTO intake_pause (topic, paused_at, partition, events, refused, reasons, example)"
                " VALUES (:topic, now(), 0, 200, 150, '{}', '')"
            ),
            {"topic": topic},
        )
    apply_fund(engine, pledge("api-bocor", 1_000_000))
    with engine.begin() as connection:  # a balance without an entry: a breach that the audit finds
        connection.execute(text("UPDATE fund SET reserved_rupiah = 1 WHERE code = 'api-bocor'"))
    stays = operator("POST", "/regencies/64.02/resume", idempotency_key=uuid.uuid4().hex)
    assert (stays.status_code, stays.json()["type"]) == (409, "urn:gotong:problem:breach_stands")
    with engine.begin() as connection:
        halted = connection.scalar(text("SELECT halted_reason FROM regency WHERE code = '64.02'"))
        connection.execute(text("UPDATE regency SET halted_reason = NULL"))
        connection.execute(text("UPDATE fund SET reserved_rupiah = 0 WHERE code = 'api-bocor'"))
    assert halted == "uji", "a breach that stands keeps it halted"
    unknown = operator("POST", "/regencies/11.01/resume", idempotency_key=uuid.uuid4().hex)
    assert unknown.status_code == 404
    key = uuid.uuid4().hex
    for _ in range(2):
        gone_on = operator("POST", f"/intake/{topic}/resume", idempotency_key=key)
        assert (gone_on.status_code, gone_on.json()) == (200, {"resumed": topic})
    assert operator("POST", f"/intake/{topic}/resume", idempotency_key=uuid.uuid4().hex).status_code == 404
    idle = officer("POST", "/runs/cancel", idempotency_key=uuid.uuid4().hex)
    assert (idle.status_code, idle.json()["type"]) == (409, "urn:gotong:problem:nothing_runs")
    with engine.begin() as connection:
        run = connection.scalar(
            text(
                "INSERT INTO allocation_run (id, regency_code, generation, policy, status)"
                " VALUES (gen_random_uuid(), '64.02', 900000, '{}', 'RUNNING') RETURNING id"
            )
        )
    stopped = officer("POST", "/runs/cancel", idempotency_key=uuid.uuid4().hex)
    assert stopped.json() == {"run": str(run)}
    with engine.begin() as connection:
        asked = connection.scalar(
            text("UPDATE allocation_run SET status = 'ABANDONED' WHERE id = :id RETURNING cancel_asked_by"),
            {"id": run},
        )
    assert asked is not None and asked.endswith("@api.example")


def test_a_finding_is_kept_and_taken_back(engine: Engine, enter: Callable[[Role], Caller]) -> None:
    need_id, verifier = add_named_need(engine, 4301), enter("verifier")
    listed = verifier("GET", "/verification/workers?limit=500")
    assert need_id in [each["need"] for each in listed.json()["items"]]
    assert NAME not in listed.text and NIK[:12] not in listed.text
    path = f"/verification/workers/{need_id}"
    found = change(verifier, f"{path}/findings", {"outcome": "deceased"})
    assert (found.status_code, found.json()["outcome"]) == (201, "deceased")
    assert state_of(engine, need_id) == ("closed", "deceased")
    assert verifier("GET", path).status_code == 404
    undo = f"/verification/findings/{found.json()['id']}/undo"
    assert verifier("POST", undo, idempotency_key="undo-1").json()["undone_at"] is not None
    assert enter("verifier")("POST", undo, idempotency_key="undo-2").status_code == 404, "another's finding"


def test_a_funds_documents_are_listed_for_the_office(engine: Engine, url: str) -> None:
    apply_fund(engine, pledge("api-berkas", 1_000_000, npwp=COMPANY))
    kept = keep_document(engine, "64.02", "api-berkas", "perjanjian.pdf", PDF, "siti", now())
    page = program(engine, url, "auditor").ask("GET", "/funds/api-berkas/documents").json()
    assert [(each["id"], each["kind"]) for each in page["items"]] == [(str(kept), "pdf")]
    company = program(engine, url, "company_user")
    assert company.ask("GET", "/funds/api-berkas/documents").status_code == 403
