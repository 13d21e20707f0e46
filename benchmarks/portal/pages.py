"""What a page costs an old laptop on a slow line: bytes, requests, script and style, the largest paint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.portal.house import Portal
from benchmarks.portal.traffic import read_samples

#: Pages that are looked at, each by whom it is for.
PAGES: Final = (
    ("officer", "/"),
    ("officer", "/today"),
    ("officer", "/review"),
    ("officer", "/review/{large}"),
    ("officer", "/review/decisions"),
    ("officer", "/funds"),
    ("officer", "/funds/{fund}"),
    ("officer", "/unfunded"),
    ("officer", "/what-if"),
    ("officer", "/alerts"),
    ("auditor", "/audit"),
    ("company", "/company"),
    ("company", "/company/workers"),
    ("company", "/company/statements"),
    ("verifier", "/village"),
    ("administrator", "/administration/health"),
    ("administrator", "/administration/dead-letters"),
    ("administrator", "/administration/policies"),
    ("officer", "/components"),
)
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LARGEST_PAINT: Final = """
    window.largestPaint = 0;
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) window.largestPaint = entry.startTime;
    }).observe({type: 'largest-contentful-paint', buffered: true});
"""


@dataclass(slots=True)
class Cost:
    """Of one first visit with nothing in the browser's cache. Bytes are those on the wire."""

    role: str
    path: str
    requests: int = 0
    total_bytes: int = 0
    code_bytes: int = 0  # script and style
    largest_paint_ms: float = 0.0
    foreign: list[str] = field(default_factory=list)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Headless Chromium that looks for nobody's servers."""
    path = os.environ.get("GOTONG_TEST_CHROMIUM") or shutil.which("chromium")
    if path is None:
        raise RuntimeError("chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def open_context(browser: Browser, portal: Portal, role: str) -> Iterator[Page]:
    """A page of a browser that holds nothing but the person's session."""
    person = portal.people[role]
    context = browser.new_context(
        viewport={"width": 1280, "height": 900},
        extra_http_headers={"x-forwarded-proto": "https", "x-forwarded-for": person.address},
    )
    context.add_cookies(
        [
            {"name": name, "value": value, "url": portal.url.replace("http:", "https:"), "secure": True}
            for name, value in person.cookies.items()
        ]
    )
    yield context.new_page()
    context.close()


def measure_pages(portal: Portal) -> Sequence[Cost]:
    """Each page of ``PAGES`` once."""
    samples = {name: values[0] for name, values in read_samples(portal.engine).items()}
    costs = []
    with open_browser() as browser:
        for role, path in PAGES:
            with open_context(browser, portal, role) as page:
                costs.append(_visit(page, portal, Cost(role, path), path.format_map(samples)))
    return costs


def _visit(page: Page, portal: Portal, cost: Cost, address: str) -> Cost:
    kinds: dict[str, str] = {}

    def received(event: dict[str, Any]) -> None:
        kinds[event["requestId"]] = event["type"]
        if not event["response"]["url"].startswith((portal.url, "data:")):
            cost.foreign.append(event["response"]["url"])

    def finished(event: dict[str, Any]) -> None:
        kind = kinds.get(event["requestId"], "")
        if kind == "EventSource":
            return
        cost.requests += 1
        cost.total_bytes += int(event["encodedDataLength"])
        if kind in ("Script", "Stylesheet"):
            cost.code_bytes += int(event["encodedDataLength"])

    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.responseReceived", received)
    session.on("Network.loadingFinished", finished)
    page.add_init_script(_LARGEST_PAINT)
    answer = page.goto(portal.url + address, wait_until="load")
    if answer is None or answer.status != 200:
        raise RuntimeError(f"{address} was answered {answer.status if answer else 'nothing'}")
    page.wait_for_timeout(700)
    cost.largest_paint_ms = page.evaluate("window.largestPaint")
    return cost
