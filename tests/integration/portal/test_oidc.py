"""Signing in at an identity provider that really runs: discovery, code flow with PKCE, signed ID token."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import Engine, select

from models.account_tables import Account
from portal.accounts.oidc import OidcSettings
from portal.app import PortalSettings, create_portal
from tests.integration.portal.site import MASTER_KEY, Browser, add_person, now, serve
from workflow.account import disable_account

Callback = Callable[[Browser, str], str]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The provider's issuer address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "oidc_provider_mock", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--require-nonce"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    issuer = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{issuer}/.well-known/openid-configuration", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                assert process.poll() is None, "the provider did not start"
                assert time.monotonic() < deadline, "the provider does not answer"
                time.sleep(0.1)
        yield issuer
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def oidc_url(module_database_url: str, engine: Engine, provider: str) -> Iterator[str]:
    issuer = httpx.get(f"{provider}/.well-known/openid-configuration", trust_env=False).json()["issuer"]
    settings = PortalSettings(
        module_database_url,
        ("64.02",),
        master_keys=(MASTER_KEY,),
        oidc=OidcSettings(issuer, "gotong", "rahasia-klien"),
    )
    with serve(create_portal(settings)) as url:
        yield url


@pytest.fixture
def consent(provider: str) -> Callback:
    """What a person does at the provider: returns the address that the provider sends the browser to."""

    def say_yes(browser: Browser, subject: str) -> str:
        away = browser.get("/login/oidc?next=/account")
        assert away.status_code == 303, away.text
        address = away.headers["location"]
        query = parse_qs(urlsplit(address).query)
        assert query["code_challenge_method"] == ["S256"]
        assert {"state", "nonce", "code_challenge"} <= query.keys()
        with httpx.Client(trust_env=False) as client:
            back = client.post(address, data={"sub": subject})
        assert back.status_code in (302, 303), back.text
        location = urlsplit(back.headers["location"])
        return f"{location.path}?{location.query}"

    return say_yes


def register(provider: str, subject: str, email: str, *, verified: bool = True) -> None:
    claims = {"email": email, "email_verified": verified}
    with httpx.Client(trust_env=False) as client:
        client.put(f"{provider}/users/{subject}", json=claims).raise_for_status()


def person(engine: Engine, provider: str, role: str = "auditor", **claims: bool) -> tuple[str, uuid.UUID]:
    """An invited person who is known at the provider; returns the subject and the account."""
    subject = f"pegawai-{uuid.uuid4().hex[:8]}"
    email = f"{subject}@kab.example"
    account_id = add_person(engine, email, role, password=None)  # type: ignore[arg-type]
    register(provider, subject, email, **claims)
    return subject, account_id


def test_an_invited_person_signs_in_at_the_provider(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    subject, account_id = person(engine, provider)
    browser = Browser(oidc_url)
    assert "/login/oidc" in browser.get("/login").text
    answer = browser.get(consent(browser, subject))
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert browser.get("/account").status_code == 200
    with engine.connect() as connection:
        linked = connection.scalar(select(Account.oidc_subject).where(Account.id == account_id))
    assert linked == subject
    register(provider, subject, "nama-baru@kab.example")  # later only the subject counts
    again = Browser(oidc_url)
    assert again.get(consent(again, subject)).status_code == 303


def test_the_second_factor_stays_due(oidc_url: str, provider: str, engine: Engine, consent: Callback) -> None:
    subject, _ = person(engine, provider, "officer")
    browser = Browser(oidc_url)
    answer = browser.get(consent(browser, subject))
    assert answer.headers["location"].startswith("/login/enrolment")
    assert browser.get("/account").status_code == 401


def test_nobody_gets_an_account_at_the_provider(oidc_url: str, provider: str, consent: Callback) -> None:
    register(provider, "orang-asing", "asing@kab.example")
    browser = Browser(oidc_url)
    assert browser.get(consent(browser, "orang-asing")).status_code == 401
    assert browser.token is None


def test_an_unverified_address_links_nothing(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    subject, _ = person(engine, provider, verified=False)
    browser = Browser(oidc_url)
    assert browser.get(consent(browser, subject)).status_code == 401


def test_a_linked_account_cannot_be_taken_by_the_same_address(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    subject, _ = person(engine, provider)
    browser = Browser(oidc_url)
    assert browser.get(consent(browser, subject)).status_code == 303
    register(provider, "penyamar", f"{subject}@kab.example")
    other = Browser(oidc_url)
    assert other.get(consent(other, "penyamar")).status_code == 401


def test_a_disabled_person_is_refused(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    subject, account_id = person(engine, provider)
    browser = Browser(oidc_url)
    address = consent(browser, subject)
    disable_account(engine, "test", account_id, now())
    assert browser.get(address).status_code == 401


def test_the_way_back_is_bound_to_the_browser_and_good_once(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    subject, _ = person(engine, provider)
    browser, victim = Browser(oidc_url), Browser(oidc_url)
    address = consent(browser, subject)
    assert victim.get(address).status_code == 401, "a code smuggled into another browser"
    victim.get("/login/oidc")
    assert victim.get(address).status_code == 401, "with a sign-in of its own under way"
    assert browser.get(address).status_code == 303
    assert browser.get(address).status_code == 401, "used"


def test_another_state_or_code_is_refused(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    subject, _ = person(engine, provider)
    for change in (r"state=[^&]+", r"code=[^&]+"):
        browser = Browser(oidc_url)
        address = re.sub(change, change.partition("=")[0] + "=palsu", consent(browser, subject))
        assert browser.get(address).status_code == 401
    browser = Browser(oidc_url)
    consent(browser, subject)
    assert browser.get("/login/oidc/callback?error=access_denied").status_code == 401


def test_a_token_for_another_sign_in_is_refused(
    oidc_url: str, provider: str, engine: Engine, consent: Callback
) -> None:
    """The nonce ties the ID token to the attempt, PKCE the code: each alone stops a swapped code."""
    subject, _ = person(engine, provider)
    mine, other = Browser(oidc_url), Browser(oidc_url)
    address, others = consent(mine, subject), consent(other, subject)
    code = parse_qs(urlsplit(others).query)["code"][0]
    assert mine.get(re.sub(r"code=[^&]+", f"code={code}", address)).status_code == 401


def test_a_provider_that_is_away_is_a_page(module_database_url: str) -> None:
    settings = PortalSettings(
        module_database_url,
        ("64.02",),
        master_keys=(MASTER_KEY,),
        oidc=OidcSettings("http://127.0.0.1:9", "gotong", "rahasia-klien"),
    )
    with serve(create_portal(settings)) as url:
        answer = Browser(url).get("/login/oidc")
    assert answer.status_code == 503
    assert "rahasia-klien" not in answer.text
