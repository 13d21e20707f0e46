"""Signing in as a person and as an attacker would: over HTTP, on a real database."""

from __future__ import annotations

import datetime as dt
import re
import statistics
import threading
import time
import uuid
from collections.abc import Callable

import pyotp
import pytest
from sqlalchemy import Engine, select, text

from models.account_tables import Account, AccountSession, RecoveryCode
from models.vault import Vault
from tests.integration.portal.site import (
    MASTER_KEY,
    PASSWORD,
    Browser,
    add_person,
    authenticator_code,
    sign_in_wholly,
    words,
)
from workflow.account import Scope, change_role, disable_account, issue_link
from workflow.sign_in import IDLE_LASTS, SESSION_LASTS, check_session

NewBrowser = Callable[[], Browser]


def email() -> str:
    return f"orang-{uuid.uuid4().hex[:8]}@contoh.example"


def test_a_password_alone_is_enough_for_who_moves_no_money(browser: Browser, engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    assert browser.get("/account").status_code == 401
    answer = browser.sign_in(address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/home")
    page = browser.get("/account")
    assert page.status_code == 200
    assert address in page.text


def test_wrong_password_and_unknown_address_read_the_same(browser: Browser, engine: Engine) -> None:
    address, unknown = email(), email()
    add_person(engine, address, "auditor")
    wrong = browser.sign_in(address, "salah sama sekali")
    nobody = browser.sign_in(unknown, "salah sama sekali")
    assert wrong.status_code == nobody.status_code == 401
    assert wrong.text.replace(address, "X") == nobody.text.replace(unknown, "X")
    assert browser.token is None


def test_an_unknown_address_costs_as_much_time(new_browser: NewBrowser, engine: Engine) -> None:
    known = [email() for _ in range(4)]
    for each in known:
        add_person(engine, each, "auditor")

    def seconds(address: str) -> float:
        started = time.perf_counter()
        new_browser().sign_in(address, "salah sama sekali")
        return time.perf_counter() - started

    seconds(email())
    of_known = statistics.median(seconds(each) for each in known)
    of_unknown = statistics.median(seconds(email()) for _ in known)
    # The hash takes tens of milliseconds; without it an unknown address would answer in a tenth of that.
    assert of_unknown > of_known / 3


def test_the_cookie_is_bound_to_this_host_and_out_of_reach(browser: Browser, engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    browser.sign_in(address)
    (cookie,) = browser.set_cookies
    assert cookie.startswith("__Host-gotong=")
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
    assert not any(part.startswith(("domain", "expires", "max-age")) for part in attributes)


def test_the_database_knows_no_token_and_no_password(browser: Browser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "auditor")
    browser.sign_in(address)
    with engine.connect() as connection:
        stored = connection.execute(select(AccountSession.__table__)).all()
        hashed = connection.scalar(select(Account.password_hash).where(Account.id == account_id))
    assert browser.token is not None
    assert browser.token not in str(stored)
    assert hashed is not None
    assert hashed.startswith("$argon2id$")
    assert PASSWORD not in hashed


def test_a_token_set_before_is_not_kept_at_sign_in(browser: Browser, engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    browser.cookies["__Host-gotong"] = "angreifer"
    browser.sign_in(address)
    first = browser.token
    assert first != "angreifer"
    browser.sign_in(address)
    assert browser.token != first
    assert first is not None
    assert check_session(engine, first, dt.datetime.now(dt.UTC)) is None  # the earlier one has ended


@pytest.mark.parametrize("role", ["officer", "administrator", "company_admin"])
def test_who_moves_money_or_gives_rights_must_enrol_a_second_factor(
    browser: Browser, engine: Engine, role: str
) -> None:
    address = email()
    account_id = add_person(engine, address, role)  # type: ignore[arg-type]
    answer = browser.sign_in(address)
    assert answer.headers["location"].startswith("/login/enrolment")
    half = browser.token
    for path in ("/", "/account", "/people", "/login/second-factor"):
        assert browser.get(path).status_code == 401, path
    page = browser.get("/login/enrolment")
    secret = re.search(r'class="key">([A-Z2-7 ]+)<', page.text)
    assert secret is not None
    picture = browser.get("/login/enrolment/qr.svg")
    assert picture.headers["content-type"] == "image/svg+xml"
    assert "<svg" in picture.text
    assert browser.post("/login/enrolment", {"code": "000000"}).status_code == 401
    code = pyotp.TOTP(secret[1].replace(" ", "")).now()
    done = browser.post("/login/enrolment", {"code": code})
    assert done.status_code == 200
    assert len(re.findall(r"<code>[A-Z2-7]{4}(?:-[A-Z2-7]{4}){3}</code>", done.text)) == 10
    assert browser.token != half
    assert browser.get("/account").status_code == 200
    assert browser.get("/login/enrolment").status_code == 401  # the secret is not shown again
    assert half is not None
    assert check_session(engine, half, dt.datetime.now(dt.UTC)) is None
    with engine.connect() as connection:
        sealed = connection.scalar(select(Account.totp_secret_encrypted).where(Account.id == account_id))
    assert sealed is not None
    assert secret[1].replace(" ", "").encode() not in sealed


def test_a_code_is_good_once(new_browser: NewBrowser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "officer")
    sign_in_wholly(new_browser(), engine, address, account_id)
    code = authenticator_code(engine, account_id)
    first, second = new_browser(), new_browser()
    for each in (first, second):
        assert each.sign_in(address).headers["location"].startswith("/login/second-factor")
    assert first.post("/login/second-factor", {"code": code}).status_code == 303
    assert second.post("/login/second-factor", {"code": code}).status_code == 401
    assert second.get("/account").status_code == 401


def test_a_recovery_code_is_good_once(new_browser: NewBrowser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "officer")
    browser = new_browser()
    browser.sign_in(address)
    browser.get("/login/enrolment")
    done = browser.post("/login/enrolment", {"code": authenticator_code(engine, account_id)})
    code = re.findall(r"<code>([A-Z2-7-]{19})</code>", done.text)[0]
    with engine.connect() as connection:
        assert code.replace("-", "") not in str(connection.execute(select(RecoveryCode.__table__)).all())
    for expected in (303, 401):
        other = new_browser()
        other.sign_in(address)
        assert other.post("/login/second-factor", {"code": code.lower()}).status_code == expected


def test_the_second_factor_cannot_be_guessed(new_browser: NewBrowser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "officer")
    sign_in_wholly(new_browser(), engine, address, account_id)
    browser = new_browser()
    browser.sign_in(address)
    codes = [browser.post("/login/second-factor", {"code": f"{n:06d}"}).status_code for n in range(6)]
    assert codes == [401] * 5 + [429]
    right = browser.post("/login/second-factor", {"code": authenticator_code(engine, account_id)})
    assert right.status_code == 429
    assert int(right.headers["Retry-After"]) > 0


def test_guessing_a_password_locks_the_account_longer_and_longer(
    new_browser: NewBrowser, engine: Engine
) -> None:
    address = email()
    add_person(engine, address, "auditor")
    # Each guess from another network address: the account alone is what locks.
    assert [new_browser().sign_in(address, "salah salah").status_code for _ in range(6)] == [401] * 5 + [429]
    locked = new_browser().sign_in(address)
    assert locked.status_code == 429, "even the right password waits"
    first = int(locked.headers["Retry-After"])
    assert 1 <= first <= 31
    _let_time_pass(engine)
    assert new_browser().sign_in(address, "salah lagi").status_code == 401
    second = int(new_browser().sign_in(address).headers["Retry-After"])
    assert 45 <= second <= 61
    _let_time_pass(engine)
    assert new_browser().sign_in(address).status_code == 303
    # A success forgives: five guesses are free again.
    assert [new_browser().sign_in(address, "salah").status_code for _ in range(5)] == [401] * 5


def test_unknown_addresses_lock_like_known_ones(new_browser: NewBrowser) -> None:
    address = email()
    assert [new_browser().sign_in(address, "salah salah").status_code for _ in range(6)] == [401] * 5 + [429]


def test_guessing_at_once_is_no_cheaper(new_browser: NewBrowser, engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    codes: list[int] = []

    def guess(browser: Browser) -> None:
        codes.append(browser.sign_in(address, "salah salah").status_code)

    threads = [threading.Thread(target=guess, args=(new_browser(),)) for _ in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [401] * 5 + [429] * 10


def test_one_network_address_cannot_try_many_accounts(browser: Browser) -> None:
    codes = [browser.sign_in(email(), "salah salah").status_code for _ in range(26)]
    assert codes == [401] * 25 + [429]


def test_signing_out_ends_the_session_for_whoever_copied_the_token(browser: Browser, engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    browser.sign_in(address)
    copy = browser.token
    assert browser.post("/logout").status_code == 303
    assert browser.token is None
    assert copy is not None
    browser.cookies["__Host-gotong"] = copy
    assert browser.get("/account").status_code == 401


@pytest.mark.parametrize(
    ("column", "age"),
    [("seen_at", IDLE_LASTS), ("expires_at", dt.timedelta(0)), ("seen_at", SESSION_LASTS)],
)
def test_a_session_ends_when_idle_and_at_the_latest_after_a_day(
    browser: Browser, engine: Engine, column: str, age: dt.timedelta
) -> None:
    address = email()
    add_person(engine, address, "auditor")
    browser.sign_in(address)
    assert browser.get("/account").status_code == 200
    with engine.begin() as connection:
        connection.execute(
            text(f"UPDATE account_session SET {column} = clock_timestamp() - CAST(:age AS interval)"),
            {"age": age},
        )
    assert browser.get("/account").status_code == 401


def test_what_has_ended_is_cleared_away(new_browser: NewBrowser, engine: Engine) -> None:
    address, other = email(), email()
    account_id = add_person(engine, address, "auditor")
    add_person(engine, other, "auditor")
    new_browser().sign_in(address)
    new_browser().sign_in(email(), "salah salah")
    with engine.begin() as connection:
        connection.execute(text("UPDATE account_session SET expires_at = clock_timestamp()"))
        connection.execute(text("UPDATE sign_in_lock SET failed_at = failed_at - interval '25 hours'"))
    new_browser().sign_in(other)
    with engine.connect() as connection:
        left = select(AccountSession.id).where(AccountSession.account_id == account_id)
        assert connection.execute(left).all() == []
        assert connection.scalar(text("SELECT count(*) FROM sign_in_lock")) == 1, "the last sign-in's address"


def test_use_keeps_a_session_but_not_beyond_its_end(browser: Browser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "auditor")
    browser.sign_in(address)
    with engine.begin() as connection:
        connection.execute(text("UPDATE account_session SET seen_at = seen_at - interval '59 minutes'"))
    assert browser.get("/account").status_code == 200
    with engine.connect() as connection:
        session = connection.execute(
            select(AccountSession.seen_at, AccountSession.expires_at, AccountSession.created_at).where(
                AccountSession.account_id == account_id
            )
        ).one()
    assert dt.datetime.now(dt.UTC) - session.seen_at < dt.timedelta(minutes=1)
    assert session.expires_at - session.created_at == SESSION_LASTS


def test_disabling_bites_on_the_next_request(browser: Browser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "auditor")
    browser.sign_in(address)
    assert browser.get("/account").status_code == 200
    disable_account(engine, "test", account_id, dt.datetime.now(dt.UTC))
    assert browser.get("/account").status_code == 401
    assert browser.sign_in(address).status_code == 401


def test_disabling_behind_the_portal_bites_too(browser: Browser, engine: Engine) -> None:
    """The sessions end with it; but were one left, the account's state alone would stop it."""
    address = email()
    account_id = add_person(engine, address, "auditor")
    browser.sign_in(address)
    with engine.begin() as connection:
        connection.execute(text("UPDATE account SET state = 'disabled' WHERE id = :id"), {"id": account_id})
    assert browser.get("/account").status_code == 401


def test_another_role_bites_on_the_next_request(browser: Browser, engine: Engine) -> None:
    address, other = email(), email()
    account_id = add_person(engine, address, "administrator")
    add_person(engine, other, "administrator")
    sign_in_wholly(browser, engine, address, account_id)
    assert browser.get("/people").status_code == 200
    change_role(engine, "test", account_id, "auditor", Scope(), dt.datetime.now(dt.UTC))
    assert browser.get("/people").status_code == 401
    with engine.begin() as connection:  # and were the session still there, the role alone would stop it
        connection.execute(
            text("UPDATE account SET totp_secret_encrypted = NULL, totp_confirmed_at = NULL WHERE id = :id"),
            {"id": account_id},
        )
    browser.sign_in(address)
    assert browser.get("/people").status_code == 403


def test_a_role_changed_behind_the_portal_bites_too(browser: Browser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "administrator")
    sign_in_wholly(browser, engine, address, account_id)
    with engine.begin() as connection:
        connection.execute(text("UPDATE account SET role = 'auditor' WHERE id = :id"), {"id": account_id})
    assert browser.get("/people").status_code == 403


def test_sessions_are_listed_and_revoked(new_browser: NewBrowser, engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    here, there, elsewhere = new_browser(), new_browser(), new_browser()
    for each in (here, there, elsewhere):
        each.sign_in(address)
    page = here.get("/account").text
    ends = re.findall(r'action="(/account/sessions/[0-9a-f-]{36}/end)"', page)
    assert len(ends) == 2
    assert there.address in page
    assert here.post(ends[0]).status_code == 303
    assert sorted(each.get("/account").status_code for each in (there, elsewhere)) == [200, 401]
    assert here.post("/account/sessions/end-others").status_code == 303
    assert [each.get("/account").status_code for each in (here, there, elsewhere)] == [200, 401, 401]


def test_changing_the_password_ends_other_sessions_and_renews_the_token(
    new_browser: NewBrowser, engine: Engine
) -> None:
    address = email()
    add_person(engine, address, "auditor")
    here, there = new_browser(), new_browser()
    for each in (here, there):
        each.sign_in(address)
    before = here.token
    new = "dua belas perahu layar"
    form = {"old": "bukan ini", "password": new, "again": new}
    assert here.post("/account/password", form).status_code == 422
    assert there.get("/account").status_code == 200
    assert here.post("/account/password", form | {"old": PASSWORD}).status_code == 200
    assert here.token != before
    assert here.get("/account").status_code == 200
    assert there.get("/account").status_code == 401
    assert there.sign_in(address).status_code == 401
    assert there.sign_in(address, new).status_code == 303


@pytest.mark.parametrize("next_", ["https://jahat.example/", "//jahat.example/", "/\\jahat.example", "jahat"])
def test_signing_in_leads_nowhere_else(browser: Browser, engine: Engine, next_: str) -> None:
    address = email()
    add_person(engine, address, "auditor")
    answer = browser.post("/login", {"email": address, "password": PASSWORD, "next": next_})
    assert answer.headers["location"] == "/home"
    answer = browser.get(f"/login?next={next_}")
    assert answer.headers["location"] == "/home"


def test_a_reset_link_works_once_and_ends_sessions(new_browser: NewBrowser, engine: Engine) -> None:
    address = email()
    account_id = add_person(engine, address, "auditor")
    browser, visitor = new_browser(), new_browser()
    browser.sign_in(address)
    link = issue_link(engine, "test", account_id, dt.datetime.now(dt.UTC))
    assert link.purpose == "reset"
    path, new = f"/reset/{link.token}", "tiga belas jembatan gantung"
    assert visitor.get(f"/invitation/{link.token}").status_code == 404, "a reset is no invitation"
    assert address in visitor.get(path).text
    assert visitor.post(path, {"password": "pendek", "again": "pendek"}).status_code == 422
    assert visitor.post(path, {"password": new, "again": new + "x"}).status_code == 422
    assert visitor.post(path, {"password": new, "again": new}).status_code == 200
    assert visitor.post(path, {"password": new, "again": new}).status_code == 404
    assert visitor.get(path).status_code == 404
    assert browser.get("/account").status_code == 401
    assert browser.sign_in(address).status_code == 401
    assert browser.sign_in(address, new).status_code == 303


def test_links_expire_and_a_newer_one_ends_the_older(browser: Browser, engine: Engine) -> None:
    account_id = add_person(engine, email(), "auditor")
    moment = dt.datetime.now(dt.UTC)
    old, late = (issue_link(engine, "test", account_id, moment - dt.timedelta(hours=h)) for h in (0, 2))
    assert browser.get(f"/reset/{old.token}").status_code == 404
    assert browser.get(f"/reset/{late.token}").status_code == 404, "two hours old"
    good = issue_link(engine, "test", account_id, moment)
    assert browser.get(f"/reset/{good.token}").status_code == 200


def test_demo_accounts_open_nothing_but_a_demo(browser: Browser, engine: Engine) -> None:
    from workflow.account import DEMO_PASSWORD, ensure_demo_accounts

    accounts = ensure_demo_accounts(
        engine,
        Vault(MASTER_KEY),
        regency="64.02",
        funder="013000666091000",
        village="64.02.05.2001",
        now=dt.datetime.now(dt.UTC),
    )
    assert {account.role for account in accounts} == {
        "officer", "company_user", "company_admin", "verifier", "auditor", "administrator"
    }  # fmt: skip
    page = browser.get("/login").text
    assert DEMO_PASSWORD not in page
    assert "demo.invalid" not in page
    assert browser.sign_in("auditor@demo.invalid", DEMO_PASSWORD).status_code == 401


def test_the_page_says_it_in_words(browser: Browser) -> None:
    assert "Alamat surel atau kata sandi salah." in words(browser.sign_in(email()).text)
    assert "Please sign in" in words(browser.get("/account?lang=en").text)


def _let_time_pass(engine: Engine) -> None:
    """As if every lock had just ended."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE sign_in_lock SET locked_until = clock_timestamp() - interval '1 s'"))
