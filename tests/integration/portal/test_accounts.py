"""The life of an account: invited, accepted, changed, disabled; the first administrator; the command line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import IntegrityError

from gotong.up import say_first_administrator
from models.account_tables import Account
from models.database import open_engine
from models.review_tables import AuditRecord
from models.role import Role
from models.vault import Vault
from tests.integration.portal.site import (
    COMPANY,
    MASTER_KEY,
    OTHER_COMPANY,
    PASSWORD,
    Browser,
    add_person,
    now,
    sign_in_wholly,
    words,
)
from workflow.account import (
    AccountRefusedError,
    Scope,
    TokenInvalidError,
    change_role,
    create_account,
    disable_account,
    enable_account,
    ensure_demo_accounts,
    ensure_first_administrator,
    issue_link,
    use_link,
)
from workflow.load_regions import load_regions

NewBrowser = Callable[[], Browser]
ROOT = Path(__file__).resolve().parents[3]


def email() -> str:
    return f"warga-{uuid.uuid4().hex[:8]}@contoh.example"


def test_an_invitation_from_page_to_first_sign_in(new_browser: NewBrowser, engine: Engine) -> None:
    boss = new_browser()
    boss_email, guest_email = email(), email()
    boss_id = add_person(engine, boss_email, "administrator")
    sign_in_wholly(boss, engine, boss_email, boss_id)
    form = {
        "email": guest_email.upper(),
        "name": "Budi <b>Rekaan</b>",
        "role": "verifier",
        "scope": "64.02.05.2001",
    }
    page = boss.post("/people", form)
    assert page.status_code == 200
    assert "<b>Rekaan" not in page.text
    link = re.search(r"https://[^/]+(/invitation/[\w-]{43})<", page.text)
    assert link is not None
    assert link[1] not in boss.get("/people").text, "the link is shown once"
    guest = new_browser()
    assert guest.sign_in(guest_email).status_code == 401, "not before the invitation is accepted"
    assert "Budi" in guest.get(link[1]).text
    assert guest.post(link[1], {"password": PASSWORD, "again": PASSWORD}).status_code == 200
    assert guest.get(link[1]).status_code == 404
    assert guest.sign_in(guest_email).status_code == 303
    with engine.connect() as connection:
        records = connection.execute(
            select(AuditRecord.actor, AuditRecord.action).order_by(AuditRecord.number)
        )
        assert (boss_email, "account_create") in {tuple(record) for record in records}


def test_the_last_administrator_and_oneself_stay(browser: Browser, engine: Engine) -> None:
    boss_email = email()
    boss_id = add_person(engine, boss_email, "administrator")
    sign_in_wholly(browser, engine, boss_email, boss_id)
    for action, form in (("disable", {}), ("role", {"role": "auditor"}), ("second-factor", {})):
        assert browser.post(f"/people/{boss_id}/{action}", form).status_code == 422
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE account SET state = 'disabled' WHERE role = 'administrator' AND id <> :id"),
            {"id": boss_id},
        )
    with pytest.raises(AccountRefusedError, match="last_administrator"):
        disable_account(engine, "command line", boss_id, now())
    with pytest.raises(AccountRefusedError, match="last_administrator"):
        change_role(engine, "command line", boss_id, "auditor", Scope(), now())
    assert browser.get("/people").status_code == 200


@pytest.mark.parametrize(
    ("role", "scope", "reason"),
    [
        ("officer", Scope(), "scope_wrong"),
        ("officer", Scope(regency="64.02", funder=COMPANY), "scope_wrong"),
        ("officer", Scope(regency="64.99"), "regency_unknown"),
        ("company_user", Scope(regency="64.02"), "scope_wrong"),
        ("company_user", Scope(funder="12345"), "npwp_invalid"),
        ("company_user", Scope(funder="6402051708900001"), "npwp_invalid"),
        ("verifier", Scope(village="64.02.05"), "village_unknown"),
        ("administrator", Scope(regency="64.02"), "scope_wrong"),
        ("auditor", Scope(village="64.02.05.2001"), "scope_wrong"),
    ],
)
def test_a_scope_must_fit_its_role(engine: Engine, role: Role, scope: Scope, reason: str) -> None:
    with pytest.raises(AccountRefusedError) as refused:
        create_account(engine, "test", email=email(), name="X", role=role, scope=scope, now=now())
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("role", "scope"),
    [
        ("company_user", Scope(funder=OTHER_COMPANY)),
        ("auditor", Scope()),
        ("administrator", Scope()),
        ("verifier", Scope(village="64.02.05.2001")),
    ],
)
def test_within_a_company_nobody_is_sent_beyond_it(engine: Engine, role: Role, scope: Scope) -> None:
    account_id = add_person(engine, email(), "company_user")
    with pytest.raises(AccountRefusedError, match="scope_wrong"):
        change_role(engine, "test", account_id, role, scope, now(), within=COMPANY)
    with pytest.raises(AccountRefusedError, match="scope_wrong"):
        create_account(
            engine, "test", email=email(), name="X", role=role, scope=scope, now=now(), within=COMPANY
        )


def test_the_database_refuses_a_scope_that_does_not_fit(engine: Engine) -> None:
    account_id = add_person(engine, email(), "auditor")
    for change in (
        "role = 'officer'",
        "role = 'company_admin'",
        "funder = '0013000666091000'",
        "role = 'king'",
    ):
        with pytest.raises(IntegrityError), engine.begin() as connection:
            connection.execute(text(f"UPDATE account SET {change} WHERE id = :id"), {"id": account_id})


def test_both_notations_of_an_npwp_are_one_company(engine: Engine) -> None:
    add_person(engine, first := email(), "company_user", Scope(funder="01.300.066.6-091.000"))
    add_person(engine, second := email(), "company_user", Scope(funder=COMPANY))
    with engine.connect() as connection:
        funders = connection.scalars(select(Account.funder).where(Account.email.in_([first, second])))
        assert set(funders) == {COMPANY}


def test_an_address_has_one_account(engine: Engine) -> None:
    address = email()
    add_person(engine, address, "auditor")
    with pytest.raises(AccountRefusedError, match="email_taken"):
        add_person(engine, address.upper(), "auditor")


def test_disabling_ends_open_links_and_enabling_gives_no_new_ones(engine: Engine) -> None:
    account_id = add_person(engine, email(), "auditor")
    link = issue_link(engine, "test", account_id, now())
    disable_account(engine, "test", account_id, now())
    disable_account(engine, "test", account_id, now())
    with pytest.raises(AccountRefusedError, match="wrong_state"):
        issue_link(engine, "test", account_id, now())
    enable_account(engine, "test", account_id, now())
    with pytest.raises(TokenInvalidError):
        use_link(engine, link.token, "reset", PASSWORD, now())


def test_two_at_once_use_a_link_once(engine: Engine) -> None:
    account_id = add_person(engine, email(), "auditor")
    link = issue_link(engine, "test", account_id, now())
    done: list[str] = []

    def use(password: str) -> None:
        try:
            use_link(engine, link.token, "reset", password, now())
            done.append(password)
        except TokenInvalidError:
            pass

    threads = [threading.Thread(target=use, args=(f"perahu nomor {n} di hulu",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1


def test_the_first_administrator_is_printed_once(database_url: str) -> None:
    engine = open_engine(database_url)
    load_regions(engine, ["64.02"])
    ensure_demo_accounts(
        engine, Vault(MASTER_KEY), regency="64.02", funder=COMPANY, village="64.02.05.2001", now=now()
    )
    said: list[str] = []
    say_first_administrator(engine, "http://127.0.0.1:6402", said.append)
    link = re.search(r"http://127\.0\.0\.1:6402/invitation/([\w-]{43})", " ".join(said))
    assert link is not None
    said.clear()
    say_first_administrator(engine, "http://127.0.0.1:6402", said.append)
    assert said == []
    use_link(engine, link[1], "invitation", PASSWORD, now())
    assert ensure_first_administrator(engine, now()) is None
    engine.dispose()


def test_the_demos_accounts_are_made_once(engine: Engine) -> None:
    def make() -> Any:
        return ensure_demo_accounts(
            engine, Vault(MASTER_KEY), regency="64.02", funder=COMPANY, village="64.02.05.2001", now=now()
        )

    assert make() == make()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM account WHERE demo")) == 7


def test_the_command_line_makes_lists_and_disables(module_database_url: str, engine: Engine) -> None:
    address = email()

    def run(*arguments: str, code: int = 0) -> str:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GOTONG_")}
        environment |= {"GOTONG_DATABASE_URL": module_database_url, "GOTONG_MASTER_KEY": MASTER_KEY.hex()}
        done = subprocess.run(
            [sys.executable, "-m", "gotong", "account", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    made = run("create", address, "--role", "officer", "--name", "Petugas", "--regency", "64.02")
    token = re.search(r"/invitation/([\w-]{43})", made)
    assert token is not None
    use_link(engine, token[1], "invitation", PASSWORD, now())
    assert f"{address}  officer  64.02  active" in run("list")
    assert "/reset/" in run("link", address)
    assert "needs --regency" in run("role", address, "--role", "officer", code=2)
    run("disable", address)
    assert f"{address}  officer  64.02  disabled" in run("list")
    assert "no such account" in run("disable", "tidak@ada.example", code=2)
    assert "no role" in run("create", email(), "--role", "king", "--name", "X", code=2)


def test_the_words_of_a_refused_invitation(browser: Browser, engine: Engine) -> None:
    boss_email = email()
    sign_in_wholly(browser, engine, boss_email, add_person(engine, boss_email, "administrator"))
    page = browser.post("/people", {"email": email(), "name": "A", "role": "verifier", "scope": "99.99"})
    assert page.status_code == 422
    assert "Tidak ada desa atau kelurahan dengan kode ini." in words(page.text)
