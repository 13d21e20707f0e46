"""The first page in a real browser: no complaints, no sideways scrolling, figures that move by themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journey.house import House
from tests.journey.visit import CHROMIUM

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


def open_page(browser: Browser, url: str, width: int, *, dark: bool = False) -> tuple[Page, list[str]]:
    page = browser.new_page(
        viewport={"width": width, "height": 844}, color_scheme="dark" if dark else "light"
    )
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.goto(url)
    return page, complaints


@pytest.mark.parametrize(
    ("width", "dark", "language"), [(1280, False, "id"), (390, False, "id"), (390, True, "en")]
)
def test_the_page_fits_and_the_browser_has_nothing_to_complain(
    browser: Browser, demo: tuple[House, str], width: int, dark: bool, language: str
) -> None:
    page, complaints = open_page(browser, f"{demo[1]}/?lang={language}", width, dark=dark)
    with page.expect_response(lambda response: "/figures" in response.url):
        pass  # the page has asked for newer figures once
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints == []
    expect(page.get_by_role("table")).to_have_count(3)
    page.close()


def test_words_change_with_the_language_and_stay(browser: Browser, demo: tuple[House, str]) -> None:
    page, _ = open_page(browser, demo[1], 1280)
    expect(page.get_by_role("heading", level=1)).to_have_text("Perlindungan pekerja rentan")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Cover for vulnerable workers")
    page.goto(demo[1])
    expect(page.get_by_role("heading", level=1)).to_have_text("Cover for vulnerable workers")
    page.context.clear_cookies()
    page.close()


def test_all_funds_are_one_click_away(browser: Browser, demo: tuple[House, str]) -> None:
    page, _ = open_page(browser, f"{demo[1]}/?lang=en", 1280)
    table = page.get_by_role("table", name="Money by fund")
    expect(table.get_by_role("row")).to_have_count(14)  # head, twelve funds, total
    page.get_by_role("link", name="Show all 64 funds").click()
    expect(table.get_by_role("row")).to_have_count(66)
    page.close()


def test_figures_move_by_themselves_and_a_lost_connection_is_said(
    browser: Browser, demo: tuple[House, str], tmp_path: Path
) -> None:
    house, url = demo
    page, _ = open_page(browser, f"{url}/?lang=en", 390)
    received = page.locator("dt:has-text('Events received') + dd")
    before = int(received.inner_text())
    row = {
        "nik": "6402061708809001",
        "village": "64.02.06.1001",
        "occupation": "fisher",
        "programmes": "JKK+JKM",
        "months": 3,
        "start_month": "2027-01",
        "priority": 50,
    }
    file = tmp_path / "workers.jsonl"
    file.write_text(json.dumps(row) + "\n")
    house.run("events", "send", str(file))
    expect(received).to_have_text(str(before + 1), timeout=30_000)
    expect(page.get_by_role("alert")).to_be_hidden()
    page.context.set_offline(True)
    expect(page.get_by_role("alert")).to_be_visible(timeout=10_000)
    page.context.set_offline(False)
    expect(page.get_by_role("alert")).to_be_hidden(timeout=10_000)
    page.close()
