"""Metrics: who reads them, what they count, and that no object or address is ever a label."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from portal.app import PortalSettings, create_portal
from tests.builders import apply_fund, pledge
from tests.integration.portal.rows_administration import make_dead_letter
from tests.integration.portal.rows_alerts import make_alert
from tests.integration.portal.site import Browser, serve
from tests.integration.portal.test_api import program

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(content: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(content)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def scrape(url: str, key: str = "") -> httpx.Response:
    headers = {"x-forwarded-for": "10.3.9.9", "x-forwarded-proto": "https"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    with httpx.Client(trust_env=False, timeout=30) as client:
        return client.get(f"{url}/metrics", headers=headers)


def test_a_key_reads_what_the_house_counts(engine: Engine, url: str, browser: Browser) -> None:
    apply_fund(engine, pledge("ukur-1", 1_000_000))
    make_dead_letter(engine)
    make_alert(engine, "own", "")
    asked = str(uuid.uuid4())
    for _ in range(3):
        browser.get(f"/people/{asked}/disable")  # 405: there is only a POST
        browser.get(f"/{asked}")
        browser.get(f"/review/decisions/{asked}")
    key = program(engine, url, "administrator").key
    answer = scrape(url, key)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    samples = read(answer.text)
    assert value(samples, "gotong_fund_used_share", regency="64.02", kind="csr", fund="ukur-1") == 0
    waiting = {"topic": "coverage.worker-uncovered.v1", "reason": "village_unknown", "state": "waiting"}
    assert value(samples, "gotong_dead_letters", **waiting) == 1
    assert value(samples, "gotong_regency_halted", regency="64.02") == 0
    assert any(name == "gotong_alerts" for name, _ in samples)
    route = {"method": "GET", "route": "/review/decisions/{decision_id}"}
    assert value(samples, "gotong_portal_requests_total", **route, status="401") == 3
    assert value(samples, "gotong_portal_request_seconds_count", **route) == 3
    assert value(samples, "gotong_portal_requests_total", method="GET", route="none", status="404") == 3
    assert asked not in answer.text, "an address that somebody made up is no label"


def test_nobody_else_reads_them(engine: Engine, url: str) -> None:
    assert scrape(url).status_code == 401
    assert scrape(url, program(engine, url, "auditor").key).status_code == 403


@pytest.fixture(scope="module")
def inside_url(module_database_url: str, engine: Engine) -> Iterator[str]:
    settings = PortalSettings(module_database_url, ("64.02",), metrics_networks=("10.3.9.0/24",))
    with serve(create_portal(settings)) as url:
        yield url


def test_a_network_of_the_setting_needs_no_key(inside_url: str, new_browser: Callable[[], Browser]) -> None:
    assert scrape(inside_url).status_code == 200
    outside = Browser(inside_url, "10.3.10.1")
    assert outside.get("/metrics").status_code == 401
