"""Every page that a role reaches: axe-core finds nothing serious, the browser has nothing to complain about.

The pages are found by following links, so a new page is looked at without a word here.
"""

from __future__ import annotations

import itertools

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from tests.journey.house import House
from tests.journey.visit import (
    CHROMIUM,
    DESK,
    EMAILS,
    PHONE,
    Notes,
    Scheme,
    furnish,
    pages_of,
    sign_in,
    watch,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
_RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
    "resultTypes": ["violations"],
}
_SCHEMES: tuple[Scheme, ...] = ("light", "dark")
#: Script and style that a first visit loads.
_BUDGET_BYTES = 300_000
#: Roles whose pages are others' too: looked at once.
_OWN_PAGES = ("visitor", "officer", "company_admin", "verifier", "administrator")


@pytest.fixture(scope="module")
def furnished(browser: Browser, demo: tuple[House, str]) -> str:
    furnish(browser, demo[1])
    return demo[1]


def findings_of(page: Page, axe: Axe) -> list[str]:
    """What is serious or worse, each with the first element it is about."""
    violations = axe.run(page, options=_RULES).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['failureSummary']}"
        for each in violations
        if each["impact"] in ("serious", "critical")
    ]


def complaints_of(page: Page, notes: Notes, route: str, language: str) -> list[str]:
    """Whatever is wrong with the page itself: console, foreign hosts, width, title, language, headings."""
    asked, notes.complaints = notes.complaints, []
    refused = route.startswith("/no/such")  # the page is itself the answer 404, which the console reports
    said = [text for text in asked if not (refused and "404" in text)] + notes.foreign
    if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
        said.append("scrolls sideways")
    if not page.title().endswith("Gotong") or (route != "/" and page.title() == "Gotong"):
        said.append(f"title {page.title()!r}")
    if page.locator("html").get_attribute("lang") != language:
        said.append("another language")
    if page.locator("h1").count() != 1:
        said.append("not one first heading")
    return said


@pytest.mark.parametrize("role", _OWN_PAGES)
def test_a_roles_pages_are_free_of_serious_findings(browser: Browser, furnished: str, role: str) -> None:
    """One size, language and scheme for each page, alternating; the long test takes them all."""
    axe, wrong = Axe(), []
    turns = itertools.cycle([(DESK, "light", "en"), (PHONE, "dark", "id"), (PHONE, "light", "en")])
    context = sign_in(browser, furnished, EMAILS[role])
    page = context.new_page()
    notes = watch(page, furnished)
    for route, address in pages_of(role, context, furnished).items():
        if role != "visitor" and route in ("/", "/components") and role != "officer":
            continue
        size, scheme, language = next(turns)
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(f"{address}{'&' if '?' in address else '?'}lang={language}")
        wrong += [f"{route} {scheme} {text}" for text in findings_of(page, axe)]
        wrong += [f"{route} {text}" for text in complaints_of(page, notes, route, language)]
    context.close()
    assert wrong == []
    assert 0 < sum(notes.weight_bytes.values()) < _BUDGET_BYTES


@pytest.mark.long
@pytest.mark.parametrize("role", EMAILS)
def test_every_page_in_every_size_language_and_scheme(browser: Browser, furnished: str, role: str) -> None:
    axe, wrong = Axe(), []
    context = sign_in(browser, furnished, EMAILS[role])
    page = context.new_page()
    notes = watch(page, furnished)
    for route, address in pages_of(role, context, furnished).items():
        for language in ("id", "en"):
            page.goto(f"{address}{'&' if '?' in address else '?'}lang={language}")
            for size, scheme in itertools.product((DESK, PHONE), _SCHEMES):
                page.set_viewport_size(size)
                page.emulate_media(color_scheme=scheme)
                page.wait_for_timeout(250)  # what is busy fades even for whoever asks for less motion
                where = f"{route} {language} {size['width']} {scheme}"
                wrong += [f"{where} {text}" for text in findings_of(page, axe)]
                wrong += [f"{where} {text}" for text in complaints_of(page, notes, route, language)]
    context.close()
    assert wrong == []
