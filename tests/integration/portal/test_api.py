"""The JSON API: keys, scope, pages, ETags, repeats under one key, intake row by row, and no personal data."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import Engine, select, text

from models.api_tables import ApiKey
from models.role import ROLES, Role
from models.tables import OutboxMessage
from portal.api.resources import describe_api
from portal.app import PortalSettings, create_portal
from tests.builders import apply_fund, pledge
from tests.integration.portal.rows_administration import make_dead_letter
from tests.integration.portal.site import COMPANY, MASTER_KEY, now, scope_of, serve
from workflow.account import Scope
from workflow.api_key import create_key, revoke_key
from workflow.policy_versions import read_policy_in_force
from workflow.record import record_action

DOCUMENT = Path(__file__).parents[3] / "docs" / "openapi.json"
NIK, NAME = "6402055208900003", "Kenari Rekaan"


class Program:
    """A program with a key, or without one."""

    def __init__(self, url: str, key: str = "", address: str = "10.3.1.1") -> None:
        self.url, self.key, self.address = url, key, address

    def ask(self, method: str, path: str, content: object = None, **headers: str) -> httpx.Response:
        sent = {"x-forwarded-proto": "https", "x-forwarded-for": self.address}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self.key:
            sent["authorization"] = f"Bearer {self.key}"
        with httpx.Client(trust_env=False, timeout=90, verify=False) as client:  # noqa: S501
            return client.request(method, f"{self.url}/api/v1{path}", json=content, headers=sent)


def program(engine: Engine, url: str, role: Role, scope: Scope | None = None) -> Program:
    scope = scope or scope_of(role)
    key = create_key(engine, "test", name=uuid.uuid4().hex, role=role, scope=scope, days=30, now=now())
    return Program(url, key.token)


@pytest.fixture
def administrator(engine: Engine, url: str) -> Program:
    return program(engine, url, "administrator")


@pytest.fixture(scope="module")
def funds(engine: Engine) -> Engine:
    for number in range(1, 8):
        apply_fund(engine, pledge(f"api-{number}", 1_000_000, npwp=COMPANY))
    apply_fund(engine, pledge("api-foreign", 1_000_000, npwp="0013000674091000"))
    return engine


def test_the_document_in_docs_is_the_one_that_is_served(engine: Engine, url: str) -> None:
    served = program(engine, url, "auditor").ask("GET", "/openapi.json").json()
    assert served["openapi"].startswith("3.1")
    assert json.loads(DOCUMENT.read_text()) == served == describe_api()


def test_a_key_is_kept_as_a_digest_and_let_in_until_it_is_revoked(engine: Engine, url: str) -> None:
    caller = program(engine, url, "auditor")
    assert caller.ask("GET", "/funds").status_code == 200
    with engine.connect() as connection:
        rows = connection.execute(select(ApiKey.__table__)).all()
        assert caller.key.encode() not in b"".join(bytes(row.token_hash) for row in rows)
        assert caller.key not in str(rows)
        used = [row for row in rows if row.used_at is not None]
    revoke_key(engine, "test", used[-1].id, now())
    others = [
        caller.ask("GET", "/funds").status_code,
        Program(url, "gotong_x").ask("GET", "/funds").status_code,
    ]
    assert others == [401, 401]


def test_an_expired_key_opens_nothing(engine: Engine, url: str) -> None:
    caller = program(engine, url, "auditor")
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE api_key SET created_at = now() - interval '2 days',"
                " expires_at = now() - interval '1 day'"
            )
        )
    assert caller.ask("GET", "/funds").status_code == 401


def test_no_key_decides_or_gives_rights(engine: Engine, url: str) -> None:
    officer, house = program(engine, url, "officer"), program(engine, url, "administrator")
    decision = f"/decisions/{uuid.uuid4()}/confirm"
    assert officer.ask("POST", decision, idempotency_key="a").status_code == 403
    assert house.ask("GET", "/keys").status_code == 403


def test_a_company_sees_its_own_funds_alone_and_walks_through_them(funds: Engine, url: str) -> None:
    caller = program(funds, url, "company_user")
    seen: list[str] = []
    cursor = ""
    while True:
        page = caller.ask("GET", f"/funds?limit=3{cursor}").json()
        seen += [fund["code"] for fund in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == [f"api-{number}" for number in range(1, 8)]
    foreign, none = caller.ask("GET", "/funds/api-foreign"), caller.ask("GET", "/funds/api-none")
    assert foreign.status_code == 404 and foreign.text == none.text
    assert foreign.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("cursor", ["x", "WyJhIiwiYiJd", "bnVsbA", "WyJcdTAwMDAiXQ"])
def test_a_cursor_of_somebody_elses_making_is_refused(funds: Engine, url: str, cursor: str) -> None:
    caller = program(funds, url, "auditor")
    assert caller.ask("GET", f"/audit-records?cursor={cursor}").status_code == 422


def test_who_has_the_newest_gets_nothing_twice(funds: Engine, url: str) -> None:
    caller = program(funds, url, "auditor")
    first = caller.ask("GET", "/funds/api-1")
    again = caller.ask("GET", "/funds/api-1", if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")


def test_a_change_names_what_it_changes_and_happens_once(engine: Engine, administrator: Program) -> None:
    path = "/regencies/64.02/policy"
    aims = {"tiers": ["coverage", {"name": "equity", "tolerance": 0.01}]}
    name = f"adil-{uuid.uuid4().hex[:6]}"
    assert administrator.ask("PUT", f"/policies/{name}", aims, idempotency_key=name).json()["version"] == 1
    choice = {"name": name, "version": 1}
    tag = administrator.ask("GET", path).headers["etag"]
    assert administrator.ask("PUT", path, choice, idempotency_key="k1").status_code == 428
    assert administrator.ask("PUT", path, choice, if_match=tag).status_code == 400
    assert administrator.ask("PUT", path, choice, idempotency_key="k1", if_match='"old"').status_code == 412
    done = administrator.ask("PUT", path, choice, idempotency_key="k1", if_match=tag)
    assert done.status_code == 200, done.text
    again = administrator.ask("PUT", path, choice, idempotency_key="k1", if_match=tag)
    assert (again.status_code, again.json()) == (200, done.json())
    other = administrator.ask(
        "PUT", path, {"name": "default", "version": 0}, idempotency_key="k1", if_match=tag
    )
    assert (other.status_code, other.json()["type"]) == (422, "urn:gotong:problem:idempotency_key_reused")
    with engine.connect() as connection:
        chosen = connection.scalar(
            text(
                "SELECT count(*) FROM audit_record WHERE action = 'choose_policy'"
                " AND detail->>'policy' = :name"
            ),
            {"name": name},
        )
    assert chosen == 1
    assert read_policy_in_force(engine, "64.02").name == name


def test_a_policy_that_cannot_be_followed_says_where(administrator: Program) -> None:
    answer = administrator.ask("PUT", "/policies/salah", {"tiers": ["equity"]}, idempotency_key="salah")
    assert answer.status_code == 422
    assert "first tier must be coverage" in answer.json()["detail"]


def test_a_dead_letter_is_sent_again_once(engine: Engine, administrator: Program) -> None:
    number = make_dead_letter(engine)
    path = f"/dead-letters/{number}"
    tag = administrator.ask("GET", path).headers["etag"]
    first = administrator.ask("POST", f"{path}/replay", if_match=tag, idempotency_key=f"dl {number}")
    assert first.json()["replayed"] == [number]
    again = administrator.ask("POST", f"{path}/replay", if_match=tag, idempotency_key=f"dl {number}")
    assert again.json() == first.json()
    stale = administrator.ask("POST", f"{path}/replay", if_match=tag, idempotency_key=f"dl2 {number}")
    assert stale.status_code == 412
    with engine.connect() as connection:
        sent = connection.scalar(
            select(text("count(*)"))
            .select_from(OutboxMessage)
            .where(OutboxMessage.intake, OutboxMessage.topic == "coverage.worker-uncovered.v1")
        )
    assert sent == 1


def row(**changes: Any) -> dict[str, Any]:
    return {
        "nik": NIK,
        "name": NAME,
        "village": "64.02.05.2001",
        "occupation": "nelayan",
        "programmes": ["JKK", "JKM"],
        "months": 3,
        "start_month": f"{now():%Y-%m}",
        "priority": 50,
        "declared_base_rupiah": 1_000_000,
    } | changes


def test_workers_are_handed_in_once_and_their_niks_end_at_the_edge(
    engine: Engine, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caller = program(engine, url, "officer")
    bad = caller.ask(
        "POST",
        "/worker-events",
        {"rows": [row(), row(village="64.02.99.9999"), row(nik="12345"), row(**{NIK: "x"})]},
        idempotency_key="w1",
    )
    assert bad.status_code == 422
    assert [problem["row"] for problem in bad.json()["problems"]] == [2, 3, 4]
    done = caller.ask("POST", "/worker-events", {"rows": [row()]}, idempotency_key="w1-mended")
    assert (done.status_code, done.json()["events"]) == (202, 1)
    assert (
        caller.ask("POST", "/worker-events", {"rows": [row()]}, idempotency_key="w1-mended").json()
        == done.json()
    )
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT body::text, caller::text, key FROM idempotent_request")).all()
    for place in (bad.text, done.text, caplog.text, str(kept)):
        assert NIK not in place and NAME not in place


def test_a_badly_shaped_body_is_refused_without_repeating_it(engine: Engine, url: str) -> None:
    answer = program(engine, url, "officer").ask("POST", "/worker-events", {"rows": NIK, "nama": NAME})
    assert answer.status_code == 422
    assert NIK not in answer.text and NAME not in answer.text


@pytest.mark.parametrize("key", [None, "sama"])
@pytest.mark.parametrize(
    "strange",
    ["\\ud800", "\\u0000", "x" * 5000, '{"a": [[[]]]}', "1" + "0" * 40, "-1.5e300", "null", "true", "[]"],
)
@pytest.mark.parametrize("field", ["name", "village", "months", "priority", "start_month", "lain\\ud800"])
def test_no_row_however_strange_breaks_intake(
    engine: Engine, url: str, field: str, strange: str, key: str | None
) -> None:
    """Lone surrogates, whole numbers beyond 64 bits: what JSON may carry and little else can."""
    value = strange if strange[0] in "{[-1tn" else f'"{strange}"'
    rest = ", ".join(f'"{name}": "{text_}"' for name, text_ in row().items() if name != field)
    caller = program(engine, url, "officer")
    headers = {"authorization": f"Bearer {caller.key}", "content-type": "application/json"}
    headers |= {} if key is None else {"idempotency-key": f"{field[:4]}{strange[:6]!r}"}
    with httpx.Client(trust_env=False, timeout=30) as client:
        answer = client.post(
            f"{url}/api/v1/worker-events",
            content=f'{{"rows": [{{{rest}, "{field}": {value}}}]}}',
            headers=headers | {"x-forwarded-proto": "https"},
        )
    assert answer.status_code < 500, answer.text


def test_an_officer_reads_no_other_regencys_records(engine: Engine, url: str) -> None:
    with engine.begin() as connection:
        record_action(connection, "orang@lain.example", "resume", "64.71", {}, now())
        record_action(connection, "orang@sini.example", "resume", "64.02", {}, now())
    seen = program(engine, url, "officer").ask("GET", "/audit-records?limit=500").json()["items"]
    assert "64.02" in {record["subject"] for record in seen}
    assert "64.71" not in {record["subject"] for record in seen}


@pytest.fixture(scope="module")
def strict_url(module_database_url: str, engine: Engine) -> Iterator[str]:
    settings = PortalSettings(
        module_database_url, ("64.02",), master_keys=(MASTER_KEY,), reads_per_minute=3, changes_per_minute=100
    )
    with serve(create_portal(settings)) as url:
        yield url


def test_who_reads_too_often_is_told_when_to_come_back(engine: Engine, strict_url: str) -> None:
    caller = program(engine, strict_url, "auditor")
    answers = [caller.ask("GET", "/regions") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 61


@pytest.mark.parametrize("role", ROLES)
def test_every_role_reads_the_regions(engine: Engine, url: str, role: Role) -> None:
    page = program(engine, url, role).ask("GET", "/regions?parent=64.02&limit=500").json()
    assert len(page["items"]) == 20
