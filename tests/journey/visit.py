"""Pages as visitors meet them: sign in, walk every link, note what the browser complains about."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urljoin, urlsplit

from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Response, ViewportSize

from portal.access import routes_of
from portal.app import PortalSettings, create_portal

CHROMIUM: Final = os.environ.get("GOTONG_TEST_CHROMIUM") or shutil.which("chromium")
#: The browser must not look for its maker's servers.
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: The demo's accounts; ``None`` is a visitor who has not signed in.
EMAILS: Final[dict[str, str | None]] = {
    "visitor": None,
    "officer": "petugas@demo.invalid",
    "auditor": "auditor@demo.invalid",
    "company_user": "perusahaan@demo.invalid",
    "company_admin": "admin.perusahaan@demo.invalid",
    "verifier": "desa@demo.invalid",
    "administrator": "admin@demo.invalid",
}
_STARTS: Final = {"visitor": ("/", "/login", "/no/such/page")}
DESK: Final[ViewportSize] = {"width": 1280, "height": 844}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
Scheme = Literal["light", "dark"]
_LINK: Final = re.compile(r'<a [^>]*?href="([^"]+)"[^>]*>')


@contextmanager
def chromium(playwright: Playwright) -> Iterator[Browser]:
    """The machine's own chromium, headless."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_ARGUMENTS))
    yield browser
    browser.close()


def sign_in(browser: Browser, url: str, email: str | None, *, phone: bool = False) -> BrowserContext:
    """A browser of its own, signed in as a person does it: the demo's button, then the code it filled in."""
    context = browser.new_context(
        viewport=PHONE if phone else DESK, has_touch=phone, is_mobile=phone, reduced_motion="reduce"
    )
    if email is not None:
        page = context.new_page()
        page.goto(f"{url}/login")
        page.locator(f"form:has(input[value='{email}']) button").click()
        page.wait_for_url(lambda address: urlsplit(address).path != "/login")
        if "/second-factor" in page.url:
            page.locator("form:has(#code) button").click()
            page.wait_for_url(lambda address: "/login" not in address)
        # Left, not closed: Chromium may never answer the closing of a page that has just come to another.
        page.goto("about:blank")
    return context


def pages_of(role: str, context: BrowserContext, url: str) -> dict[str, str]:
    """Every kind of page that the role comes to by links, by its route: the address of one of them."""
    routes = [str(route.path) for route in routes_of(_plain_app())]
    patterns = [
        (route, re.compile(re.sub(r"\\{[^}]+\\}", "[^/]+", re.escape(route)) + "$")) for route in routes
    ]
    waiting = [f"{url}{path}" for path in _STARTS.get(role, ("/home", "/", "/account", "/components"))]
    found: dict[str, str] = {}
    while waiting:
        address = waiting.pop(0)
        if _route(urlsplit(address).path, patterns) in found:
            continue
        answer = context.request.get(address)
        route = _route(urlsplit(answer.url).path, patterns)
        if route in found or not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        found[route] = answer.url
        for link in _LINK.finditer(answer.text()):
            target = urljoin(answer.url, link[1].replace("&amp;", "&"))
            here = urlsplit(target)
            known = _route(here.path, patterns) in found
            if (
                target.startswith(url)
                and not known
                and "lang=" not in here.query
                and "download" not in link[0]
            ):
                waiting.append(target)
    return found


def _route(path: str, patterns: list[tuple[str, re.Pattern[str]]]) -> str:
    return next((route for route, pattern in patterns if pattern.match(path)), path)


def _plain_app() -> FastAPI:
    return create_portal(PortalSettings("postgresql://nobody@127.0.0.1:9/none", ("64.02",)))


@dataclass
class Notes:
    """What a page made the browser say, and what it loaded."""

    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    weight_bytes: dict[str, int] = field(default_factory=dict)  # scripts and styles by address


def watch(page: Page, url: str) -> Notes:
    """Note everything from now on."""
    notes = Notes()

    def note_response(response: Response) -> None:
        if not response.url.startswith((url, "data:", "blob:")):
            notes.foreign.append(response.url)
        elif response.request.resource_type in ("script", "stylesheet"):
            notes.weight_bytes[response.url] = int(response.headers.get("content-length", 0))

    page.on("console", lambda message: notes.complaints.append(message.text))
    page.on("pageerror", lambda error: notes.complaints.append(str(error)))
    page.on("response", note_response)
    return notes


def furnish(browser: Browser, url: str) -> None:
    """Give every page something to show: a statement, an offer, an open batch and a signed decision."""
    company = sign_in(browser, url, EMAILS["company_admin"])
    page = company.new_page()
    page.goto(f"{url}/company/statements?lang=en")
    page.get_by_role("button", name="Sign a statement").click()
    page.goto(f"{url}/company/offers")
    page.get_by_label("Name of the pledge").fill("Komitmen tambahan")
    page.get_by_label("Company, as it is to be named").fill("PT Rekaan")
    page.get_by_label("Amount in rupiah").fill("250000000")
    page.get_by_role("button", name="Send the offer").click()
    company.close()
    officer = sign_in(browser, url, EMAILS["officer"])
    page = officer.new_page()
    for do in ("Approve selected", None):
        page.goto(f"{url}/review?lang=en")
        page.get_by_role("button", name="Open the batch:").first.click()
        if do is not None:
            page.locator("[data-row]").first.check()
            page.get_by_role("button", name=do).click()
            page.locator(".notice-done").wait_for()
    officer.close()
