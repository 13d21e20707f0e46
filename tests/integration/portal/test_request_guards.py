"""What every request meets first: other sites, floods, headers, cookies of the demo, refusals in words."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Engine

from models.vault import Vault
from portal.app import PortalSettings, create_portal
from tests.integration.portal.site import MASTER_KEY, Browser, add_person, now, serve, sign_in_wholly
from workflow.account import DEMO_PASSWORD, ensure_demo_accounts

NewBrowser = Callable[[], Browser]


@pytest.fixture(scope="module")
def administrator(engine: Engine) -> tuple[str, uuid.UUID]:
    return "admin@penjaga.example", add_person(engine, "admin@penjaga.example", "administrator")


@pytest.fixture
def signed_in(browser: Browser, engine: Engine, administrator: tuple[str, uuid.UUID]) -> Browser:
    sign_in_wholly(browser, engine, *administrator)
    return browser


FOREIGN_HEADERS = [
    {"sec_fetch_site": "cross-site"},
    {"sec_fetch_site": "same-site"},
    {"sec_fetch_site": "none"},
    {"sec_fetch_site": "cross-site", "origin": "HOST"},
    {"sec_fetch_site": "", "origin": "https://jahat.example"},
    {"sec_fetch_site": "", "origin": "null"},
    {"sec_fetch_site": ""},
    {"sec_fetch_site": "", "authorization": "Bearer x"},
]


@pytest.mark.parametrize("headers", FOREIGN_HEADERS, ids=str)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_another_site_changes_nothing(signed_in: Browser, headers: dict[str, str], method: str) -> None:
    host = signed_in.url.removeprefix("http://")
    sent = {name: value.replace("HOST", f"https://{host}") for name, value in headers.items()}
    answer = signed_in.send(method, "/account/sessions/end-others", {}, sent)
    assert answer.status_code == 403
    assert "Tidak ada yang diubah" in answer.text


def test_the_own_site_may_change_with_either_proof(signed_in: Browser) -> None:
    host = signed_in.url.removeprefix("http://")
    path = "/account/sessions/end-others"
    assert signed_in.post(path).status_code == 303
    assert signed_in.post(path, sec_fetch_site="", origin=f"https://{host}").status_code == 303
    assert signed_in.post(path, sec_fetch_site="", origin=f"https://{host}.jahat.example").status_code == 403


def test_signing_in_from_another_site_is_refused(browser: Browser) -> None:
    form = {"email": "x@contoh.example", "password": "y"}
    assert browser.post("/login", form, sec_fetch_site="cross-site").status_code == 403
    assert browser.post("/login", form).status_code == 401


def test_every_answer_carries_the_headers(signed_in: Browser) -> None:
    answers = [
        signed_in.get("/account"),
        signed_in.get("/tidak-ada"),
        signed_in.get("/static/accounts.css"),
        signed_in.get("/login/enrolment"),
        signed_in.post("/account/sessions/end-others", sec_fetch_site="cross-site"),
        signed_in.post("/people"),
    ]
    assert [answer.status_code for answer in answers] == [200, 404, 200, 401, 403, 422]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answers[0].headers["Cache-Control"] == "no-store"


def test_a_refusal_is_a_problem_for_a_program_and_repeats_nothing(signed_in: Browser) -> None:
    answer = signed_in.get("/people/rahasia-6402", accept="application/json")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert json.loads(answer.text) == {
        "type": "urn:gotong:problem:not_found",
        "title": "There is no such thing here",
        "status": 404,
    }
    for path in ("/rahasia-6402", "/people/rahasia-6402/disable"):
        assert "rahasia-6402" not in signed_in.get(path).text
    assert "rahasia-6402" not in signed_in.post("/people/rahasia-6402/disable").text


def test_a_wrong_method_and_an_unfinished_form_are_pages_too(signed_in: Browser) -> None:
    wrong = signed_in.send("DELETE", "/people", None, {"sec-fetch-site": "same-origin"})
    assert wrong.status_code == 405
    assert wrong.headers["Allow"]
    unfinished = signed_in.post("/account/password", {"old": "x"})
    assert unfinished.status_code == 422
    for answer in (wrong, unfinished):
        assert "Permintaan ini tidak lengkap" in answer.text


def test_a_part_of_a_page_is_sent_to_sign_in(browser: Browser) -> None:
    answer = browser.get("/figures", hx_request="true")
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/login"


@pytest.fixture(scope="module")
def narrow_url(module_database_url: str, engine: Engine) -> Iterator[str]:
    settings = PortalSettings(
        module_database_url,
        ("64.02",),
        master_keys=(MASTER_KEY,),
        changes_per_minute=4,
        sign_ins_per_minute=3,
    )
    with serve(create_portal(settings)) as url:
        yield url


def test_one_address_cannot_flood_sign_in(narrow_url: str) -> None:
    form = {"email": "x@contoh.example", "password": "y"}
    browser, other = Browser(narrow_url, "10.4.0.1"), Browser(narrow_url, "10.4.0.2")
    answers = [browser.post("/login", form) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 61
    assert other.post("/login", form).status_code == 401
    assert browser.get("/login").status_code == 200, "reading is free"


def test_one_account_cannot_flood_changes_from_many_addresses(narrow_url: str, engine: Engine) -> None:
    add_person(engine, "deras@penjaga.example", "auditor")
    browser = Browser(narrow_url, "10.4.1.0")
    browser.sign_in("deras@penjaga.example")
    codes = []
    for number in range(5):
        browser.address = f"10.4.1.{number + 1}"
        codes.append(browser.post("/account/sessions/end-others").status_code)
    assert codes == [303] * 4 + [429]


def test_one_address_cannot_flood_changes(narrow_url: str) -> None:
    browser = Browser(narrow_url, "10.4.2.1")
    codes = [browser.post("/account/sessions/end-others").status_code for _ in range(5)]
    assert codes == [401] * 4 + [429]


@pytest.fixture(scope="module")
def demo_url(module_database_url: str, engine: Engine) -> Iterator[str]:
    ensure_demo_accounts(
        engine,
        Vault(MASTER_KEY),
        regency="64.02",
        funder="013000666091000",
        village="64.02.05.2001",
        now=now(),
    )
    settings = PortalSettings(module_database_url, ("64.02",), demo=True, master_keys=(MASTER_KEY,))
    with serve(create_portal(settings)) as url:
        yield url


def test_the_demo_shows_its_accounts_and_lets_each_in(demo_url: str) -> None:
    visitor = Browser(demo_url, tls=False)
    assert visitor.get("/").status_code == 200, "figures without personal data, in the demo for everybody"
    page = visitor.get("/login").text
    for email in ("petugas", "petugas2", "perusahaan", "admin.perusahaan", "desa", "auditor", "admin"):
        assert f"{email}@demo.invalid" in page
        browser = Browser(demo_url, tls=False)
        answer = browser.sign_in(f"{email}@demo.invalid", DEMO_PASSWORD)
        assert answer.status_code == 303
        if answer.headers["location"] != "/":
            step = browser.get(answer.headers["location"]).text
            code = step.partition('value="')[2].partition('name="code"')[2]
            shown = code.partition('value="')[2][:6]
            assert browser.post("/login/second-factor", {"code": shown}).status_code == 303
        assert browser.get("/account").status_code == 200, email


def test_the_demo_on_its_own_machine_does_without_tls_but_not_beyond(demo_url: str) -> None:
    here = Browser(demo_url, tls=False)
    here.sign_in("auditor@demo.invalid", DEMO_PASSWORD)
    (cookie,) = here.set_cookies
    assert cookie.startswith("gotong_demo=")
    assert "HttpOnly" in cookie
    assert "Secure" not in cookie
    elsewhere = Browser(demo_url, tls=False)
    answer = elsewhere.post(
        "/login", {"email": "auditor@demo.invalid", "password": DEMO_PASSWORD}, host="demo.example"
    )
    assert answer.status_code == 303
    assert elsewhere.set_cookies[0].startswith("__Host-gotong=")
    assert "Secure" in elsewhere.set_cookies[0]
    assert "gotong_demo" not in elsewhere.cookies
    through_proxy = Browser(demo_url, "10.4.3.1")
    through_proxy.cookies["gotong_demo"] = here.cookies["gotong_demo"]
    assert through_proxy.get("/account").status_code == 401


def test_outside_the_demo_figures_need_a_session(browser: Browser) -> None:
    assert browser.get("/").status_code == 401
    assert browser.get("/figures").status_code == 401


def test_plain_http_outside_the_demo_gets_a_secure_cookie_still(url: str, engine: Engine) -> None:
    add_person(engine, "polos@penjaga.example", "auditor")
    browser = Browser(url, tls=False)
    browser.sign_in("polos@penjaga.example")
    assert browser.set_cookies[0].startswith("__Host-gotong=")
    assert "Secure" in browser.set_cookies[0]
