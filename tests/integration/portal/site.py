"""A portal on a real port, and browsers that reach it as if through a proxy with TLS."""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie

import httpx
import pyotp
import uvicorn
from fastapi import FastAPI
from sqlalchemy import Engine, select, text

from gotong.up import listen
from models.account_tables import Account
from models.role import Role
from models.vault import Vault
from workflow.account import Scope, create_account, open_totp_secret, use_link
from workflow.sign_in import TOTP_STEP_SECONDS

MASTER_KEY = bytes(range(32))
PASSWORD = "sebelas kapal di teluk"
COMPANY = "0013000666091000"
OTHER_COMPANY = "0013000674091000"
VILLAGE = "64.02.05.2001"


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """The application's address while it runs."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with listen("127.0.0.1", 21_000, search=True) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            app.state.portal.engine.dispose()


class Browser:
    """Keeps cookies as a browser with TLS would, and says where its requests come from."""

    def __init__(self, url: str, address: str = "10.1.1.1", *, tls: bool = True) -> None:
        self.url, self.cookies, self.address, self.tls = url, dict[str, str](), address, tls
        self.set_cookies: list[str] = []

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, None, headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        return self.send("POST", path, form or {}, {"sec-fetch-site": "same-origin"} | headers)

    def peek(self, path: str, headers: dict[str, str]) -> int:
        """The status of an answer that may never end."""
        with httpx.stream("GET", self.url + path, headers=self._headers(headers), trust_env=False) as answer:
            return answer.status_code

    def send(
        self,
        method: str,
        path: str,
        form: dict[str, str] | None,
        headers: dict[str, str],
        json: object = None,
    ) -> httpx.Response:
        sent = self._headers(headers)
        # Plain http on this machine: loading certificates would take longer than the answer.
        with httpx.Client(trust_env=False, timeout=90, verify=False) as client:  # noqa: S501
            answer = client.request(method, self.url + path, data=form, json=json, headers=sent)
        self.set_cookies = answer.headers.get_list("set-cookie")
        for line in self.set_cookies:
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        sent = {"user-agent": "Peramban Uji", "accept": "text/html"}
        if self.tls:
            sent |= {"x-forwarded-proto": "https", "x-forwarded-for": self.address}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in sent.items() if value}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return sent

    def headers(self) -> dict[str, str]:
        """What this browser sends with a request, its cookies too."""
        return self._headers({})

    def sign_in(self, email: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/login", {"email": email, "password": password})

    @property
    def token(self) -> str | None:
        return self.cookies.get("__Host-gotong")


def words(html: str) -> str:
    """The page's text alone, blanks made one."""
    return " ".join(re.sub(r"<[^>]+>", " ", html).replace("\N{NO-BREAK SPACE}", " ").split())


def scope_of(role: Role) -> Scope:
    match role:
        case "officer":
            return Scope(regency="64.02")
        case "company_user" | "company_admin":
            return Scope(funder=COMPANY)
        case "verifier":
            return Scope(village=VILLAGE)
        case _:
            return Scope()


def add_person(
    engine: Engine, email: str, role: Role, scope: Scope | None = None, *, password: str | None = PASSWORD
) -> uuid.UUID:
    """An account that has accepted its invitation (unless ``password`` is None)."""
    invitation = create_account(
        engine,
        "test",
        email=email,
        name="Orang Rekaan",
        role=role,
        scope=scope or scope_of(role),
        now=now(),
    )
    if password is not None:
        use_link(engine, invitation.token, "invitation", password, now())
    return invitation.account_id


def authenticator_code(engine: Engine, account_id: uuid.UUID) -> str:
    """What the account's authenticator shows; a code that was used is forgotten, to sign in at once again."""
    with engine.begin() as connection:
        sealed = connection.scalar(select(Account.totp_secret_encrypted).where(Account.id == account_id))
        connection.execute(
            text("UPDATE account SET totp_last_step = NULL WHERE id = :id"), {"id": account_id}
        )
    assert sealed is not None
    secret = open_totp_secret(Vault(MASTER_KEY), account_id, sealed)
    return str(pyotp.TOTP(secret, interval=TOTP_STEP_SECONDS).now())


def sign_in_wholly(browser: Browser, engine: Engine, email: str, account_id: uuid.UUID) -> None:
    """Password, and the second factor where one is due, enrolled when it is not yet."""
    answer = browser.sign_in(email)
    assert answer.status_code == 303, words(answer.text)
    step = answer.headers["location"].partition("?")[0]
    if step == "/login/enrolment":
        assert browser.get(step).status_code == 200
        answer = browser.post(step, {"code": authenticator_code(engine, account_id)})
        assert answer.status_code == 200, words(answer.text)
    elif step == "/login/second-factor":
        answer = browser.post(step, {"code": authenticator_code(engine, account_id)})
        assert answer.status_code == 303, words(answer.text)
    assert browser.get("/account").status_code == 200
