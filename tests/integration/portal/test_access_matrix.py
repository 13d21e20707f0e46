"""Every role x every route x own, somebody else's and nonexistent objects.

A route without a row here fails the first test. New pages add their rows to MATRIX, and the objects
that their addresses name to ``Objects``.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import Engine, insert, select, update

from models.account_tables import Account, AccountSession
from models.role import ROLES, SECOND_FACTOR_ROLES, Role
from portal.access import GRANTS, Permission, access_of, check_routes, routes_of
from portal.app import PortalSettings, create_portal
from tests.integration.portal import (
    rows_administration,
    rows_advice,
    rows_alerts,
    rows_api,
    rows_audit,
    rows_company,
    rows_funds,
    rows_review,
    rows_sheet,
    rows_village,
)
from tests.integration.portal.rows import (
    FOREIGN,
    HALF,
    MALFORMED,
    NEW,
    NOBODY,
    NONEXISTENT,
    OWN,
    VISITORS,
    Kind,
    Maker,
    Row,
    public,
    signed_in,
    step,
)
from tests.integration.portal.site import OTHER_COMPANY, Browser, add_person, now, sign_in_wholly
from workflow.account import Scope, digest, issue_link, make_token

MANAGERS = ("administrator", "company_admin")
_PERSON = {"email": "kosong", "name": "", "role": "officer"}
_PASSWORDS = {"password": "pendek", "again": "pendek"}

_AREAS = (
    rows_review,
    rows_funds,
    rows_advice,
    rows_company,
    rows_village,
    rows_administration,
    rows_api,
    rows_alerts,
    rows_audit,
    rows_sheet,
)
_MAKERS: dict[str, Maker] = {name: maker for area in _AREAS for name, maker in area.MAKERS.items()}

MATRIX: dict[tuple[str, str], Row] = {
    **{address: row for area in _AREAS for address, row in area.ROWS.items()},
    ("GET", "/"): Row(signed_in(200, *ROLES)),
    ("GET", "/home"): Row(signed_in(303, *ROLES)),
    ("GET", "/live"): Row(signed_in(200, *ROLES), endless=True),
    ("GET", "/figures"): Row(signed_in(200, *ROLES)),
    ("GET", "/healthz"): Row(public(200)),
    ("GET", "/login"): Row(public(200, 303)),
    ("POST", "/login"): Row(public(401), {"email": "VISITOR@ada.example", "password": "salah salah"}),
    ("POST", "/logout"): Row(public(303)),
    ("GET", "/login/second-factor"): Row(step(200, HALF)),
    ("POST", "/login/second-factor"): Row(step(401, HALF), {"code": "000000"}),
    ("GET", "/login/enrolment"): Row(step(200, NEW)),
    ("GET", "/login/enrolment/qr.svg"): Row(step(200, NEW)),
    ("POST", "/login/enrolment"): Row(step(401, NEW), {"code": "000000"}),
    ("GET", "/login/oidc"): Row(public(404)),
    ("GET", "/login/oidc/callback"): Row(public(404)),
    ("GET", "/invitation/{token}"): Row(public(200), objects="invitation", scoped=frozenset(VISITORS)),
    ("POST", "/invitation/{token}"): Row(
        public(422), _PASSWORDS, objects="invitation", scoped=frozenset(VISITORS)
    ),
    ("GET", "/reset/{token}"): Row(public(200), objects="reset", scoped=frozenset(VISITORS)),
    ("POST", "/reset/{token}"): Row(public(422), _PASSWORDS, objects="reset", scoped=frozenset(VISITORS)),
    ("GET", "/account"): Row(signed_in(200, *ROLES)),
    ("POST", "/account/password"): Row(signed_in(422, *ROLES), _PASSWORDS | {"old": "salah"}),
    ("POST", "/account/sessions/end-others"): Row(signed_in(303, *ROLES)),
    ("POST", "/account/sessions/{session_id}/end"): Row(
        signed_in(303, *ROLES), objects="session", scoped=frozenset(ROLES)
    ),
    ("GET", "/people"): Row(signed_in(200, *MANAGERS)),
    ("POST", "/people"): Row(signed_in(422, *MANAGERS), _PERSON),
    **{
        ("POST", f"/people/{{account_id}}/{action}"): Row(
            signed_in(status, *MANAGERS), form, objects="person", scoped=frozenset({"company_admin"})
        )
        for action, status, form in (
            ("role", 422, {"role": "verifier"}),
            ("disable", 303, {}),
            ("enable", 303, {}),
            ("second-factor", 303, {}),
            ("link", 200, {}),
        )
    },
}


class Objects:
    """The people of the matrix, and a fresh object for each cell."""

    def __init__(self, engine: Engine, url: str) -> None:
        self.engine, self.url = engine, url
        self.accounts: dict[str, uuid.UUID] = {}
        for visitor in VISITORS[1:]:
            role: Role = "officer" if visitor in (HALF, NEW) else visitor  # type: ignore[assignment]
            email = f"{visitor}@matriks.example"
            self.accounts[visitor] = add_person(engine, email, role)
            if role in SECOND_FACTOR_ROLES and visitor != NEW:
                browser = Browser(url, "10.9.0.1")
                sign_in_wholly(browser, engine, email, self.accounts[visitor])
        self.stranger = add_person(engine, "asing@matriks.example", "auditor")

    def browser(self, visitor: str, number: int) -> Browser:
        """A browser of this visitor with a session of its own."""
        browser = Browser(self.url, f"10.9.{number // 250}.{number % 250 + 2}")
        if visitor != NOBODY:
            complete = visitor not in (HALF, NEW)
            browser.cookies["__Host-gotong"] = self.session(self.accounts[visitor], complete=complete)[1]
        return browser

    def session(self, account_id: uuid.UUID, *, complete: bool = True) -> tuple[uuid.UUID, str]:
        session_id, token = uuid.uuid4(), make_token()
        with self.engine.begin() as connection:
            connection.execute(
                insert(AccountSession).values(
                    id=session_id,
                    account_id=account_id,
                    token_hash=digest(token),
                    complete=complete,
                    address="10.9.0.1",
                    device="",
                    created_at=now(),
                    seen_at=now(),
                    expires_at=now() + dt.timedelta(hours=1),
                )
            )
        return session_id, token

    def make(self, objects: str, kind: Kind, visitor: str) -> str:
        """The part of the address that names an object."""
        if kind == MALFORMED:
            return "1%27--"
        if kind == NONEXISTENT:
            return make_token() if objects in ("invitation", "reset") else str(uuid.uuid4())
        if objects in _MAKERS:
            return _MAKERS[objects](self.engine, kind, visitor)
        if objects == "session":
            owner = self.stranger if kind == FOREIGN else self.accounts.get(visitor, self.stranger)
            return str(self.session(owner)[0])
        if objects == "person":
            scope = Scope(funder=OTHER_COMPANY) if kind == FOREIGN else None
            email = f"{uuid.uuid4().hex}@matriks.example"
            return str(add_person(self.engine, email, "company_user", scope, password=None))
        email = f"{uuid.uuid4().hex}@matriks.example"
        accepted = (objects == "reset") != (kind == FOREIGN)  # a link for the other purpose is foreign
        account = add_person(self.engine, email, "auditor", password=None)
        if accepted:
            with self.engine.begin() as connection:
                connection.execute(update(Account).where(Account.id == account).values(state="active"))
        return issue_link(self.engine, "test", account, now()).token


@pytest.fixture(scope="module")
def objects(engine: Engine, url: str) -> Objects:
    return Objects(engine, url)


def routes(app: FastAPI) -> set[tuple[str, str]]:
    return {(method, str(route.path)) for route in routes_of(app) for method in route.methods or ()}


def plain_app() -> FastAPI:
    return create_portal(PortalSettings("postgresql://nobody@127.0.0.1:9/none", ("64.02",)))


def test_every_route_has_a_row() -> None:
    assert routes(plain_app()) == set(MATRIX)


def test_every_row_says_what_every_visitor_gets() -> None:
    for row in MATRIX.values():
        assert set(row.expected) == set(VISITORS)


@pytest.mark.parametrize(("method", "path"), MATRIX, ids=lambda part: str(part))
def test_the_matrix(objects: Objects, method: str, path: str) -> None:
    row = MATRIX[method, path]
    wrong = []
    for number, visitor in enumerate(VISITORS):
        bodies: dict[Kind, str] = {}
        for kind in (OWN, FOREIGN, NONEXISTENT, MALFORMED) if row.objects else (OWN,):
            expected = row.expected[visitor]
            if kind == FOREIGN and visitor not in row.scoped and expected not in (401, 403):
                continue
            if kind != OWN and expected not in (401, 403):
                expected = 404
            address = path
            if row.objects:
                address = re.sub(r"{\w+}", objects.make(row.objects, kind, visitor), path)
            form = {name: value.replace("VISITOR", visitor) for name, value in row.form.items()}
            browser = objects.browser(visitor, number)
            same_origin = {"sec-fetch-site": "same-origin"}
            if row.endless:
                status = browser.peek(address, same_origin)
                assert status == expected, f"{visitor}: {status}"
                continue
            if row.json is not None:
                answer = browser.send(method, address, None, same_origin, json=row.json)
            else:
                answer = browser.send(method, address, form if method == "POST" else None, same_origin)
            bodies[kind] = answer.text.replace(address, path)  # a sign-in page leads back to what was asked
            if answer.status_code != expected:
                wrong.append(f"{visitor}, {kind}: {answer.status_code} instead of {expected}")
        if FOREIGN in bodies and bodies[FOREIGN] != bodies[NONEXISTENT]:
            wrong.append(f"{visitor}: foreign and nonexistent differ")
        if row.expected[visitor] == 403 and len(set(bodies.values())) > 1:
            wrong.append(f"{visitor}: a refusal tells what exists")
    assert wrong == []


@pytest.mark.parametrize("action", ["role", "disable", "second-factor", "link"])
def test_somebody_elses_person_stays_as_it_was(objects: Objects, engine: Engine, action: str) -> None:
    person = objects.make("person", FOREIGN, "company_admin")

    def state() -> object:
        with engine.connect() as connection:
            return connection.execute(select(Account.__table__).where(Account.id == uuid.UUID(person))).one()

    before = state()
    browser = objects.browser("company_admin", 200)
    assert browser.post(f"/people/{person}/{action}", {"role": "company_admin"}).status_code == 404
    assert state() == before


def test_a_company_admin_invites_into_the_own_company_only(objects: Objects, engine: Engine) -> None:
    browser = objects.browser("company_admin", 201)
    form = {"email": "baru@matriks.example", "name": "Baru", "role": "administrator", "scope": OTHER_COMPANY}
    assert browser.post("/people", form).status_code == 422
    assert browser.post("/people", form | {"role": "company_user"}).status_code == 200
    with engine.connect() as connection:
        made = connection.execute(
            select(Account.funder, Account.role).where(Account.email == "baru@matriks.example")
        ).one()
    assert (made.funder, made.role) == ("0013000666091000", "company_user")
    page = browser.get("/people").text
    assert "baru@matriks.example" in page
    assert "asing@matriks.example" not in page


def test_money_and_accounts_are_apart() -> None:
    for permissions in GRANTS.values():
        assert not {Permission.DECIDE, Permission.MANAGE_PEOPLE} <= permissions
    reading = {"READ_OVERVIEW", "READ_FUNDS", "READ_REVIEW", "READ_UNFUNDED", "READ_AUDIT", "ASK_WHAT_IF"}
    reading.add("READ_ALERTS")
    assert {permission.name for permission in GRANTS["auditor"]} == reading | {"OWN_ACCOUNT"}


def test_a_route_without_a_permission_does_not_start() -> None:
    app, router = plain_app(), APIRouter()

    @router.get("/forgotten")
    def show() -> str:
        return "everything"

    check_routes(app)
    app.include_router(router, prefix="/deep")
    with pytest.raises(RuntimeError, match="/deep/forgotten"):
        check_routes(app)


def test_every_route_names_its_permission_once() -> None:
    named = {str(route.path): access_of(route) for route in routes_of(plain_app())}
    assert named["/people/{account_id}/disable"] == "manage_people"
    assert named["/"] == "read_overview"
    assert None not in named.values()
