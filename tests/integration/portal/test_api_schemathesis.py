"""Requests made up from the OpenAPI document, in each role's name: no server error, no success unearned."""

from __future__ import annotations

import re
import uuid
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from sqlalchemy import Engine

from models.role import ROLES, Role
from portal.access import PEOPLE_ONLY, access_of, routes_of
from portal.api.resources import describe_api
from portal.app import PortalSettings, create_portal
from tests.integration.portal.rows_api import ROWS
from tests.integration.portal.site import now, scope_of
from workflow.api_key import create_key

_ASKED = {
    (method, str(route.path)): access_of(route)
    for route in routes_of(create_portal(PortalSettings("postgresql://nobody@127.0.0.1:9/none", ("64.02",))))
    for method in route.methods or ()
}


def is_granted(method: str, path: str, role: Role) -> bool:
    """What the access matrix says, less what no key may do."""
    return ROWS[method, path].expected[role] != 403 and _ASKED[method, path] not in PEOPLE_ONLY


def attack(engine: Engine, url: str, role: Role, examples: int) -> None:
    key = create_key(
        engine, "test", name=uuid.uuid4().hex, role=role, scope=scope_of(role), days=30, now=now()
    )
    schema = schemathesis.openapi.from_dict(describe_api())
    wrong: list[str] = []
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case[Any]) -> None:
            headers = {"x-forwarded-proto": "https", "x-forwarded-for": "10.4.1.1"}
            answer = case.call(base_url=url, headers=headers | {"authorization": f"Bearer {key.token}"})
            method, path = case.method, case.path
            if answer.status_code >= 500:
                wrong.append(f"{role} {method} {path}: {answer.status_code}")
            if answer.status_code < 400 and not is_granted(method, path, role):
                wrong.append(f"{role} {method} {path}: {answer.status_code}, which it may not")
            if answer.status_code == 403 and is_granted(method, path, role):
                wrong.append(f"{role} {method} {path}: refused")

        ask()
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_made_up_requests_break_nothing(engine: Engine, url: str, role: Role) -> None:
    attack(engine, url, role, examples=1)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ROLES)
def test_many_made_up_requests_break_nothing(engine: Engine, url: str, role: Role) -> None:
    attack(engine, url, role, examples=100)


@pytest.mark.parametrize("path", sorted(describe_api()["paths"]))
def test_nobody_gets_nothing(url: str, path: str) -> None:
    address = re.sub(r"{\w+}", "1", path)
    for method in describe_api()["paths"][path]:
        with httpx.Client(trust_env=False, timeout=30) as client:
            answer = client.request(method, url + address, headers={"authorization": "Bearer gotong_none"})
        assert answer.status_code in (401, 404, 422), f"{method} {path}: {answer.status_code}"
