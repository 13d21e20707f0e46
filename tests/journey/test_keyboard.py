"""A batch is opened, looked through and decided by keys alone; a question declined changes nothing."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.journey.house import House
from tests.journey.visit import CHROMIUM, EMAILS, sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


def focused(page: Page, name: str) -> str:
    """An attribute of what has the focus."""
    return str(page.evaluate("name => document.activeElement.getAttribute(name) ?? ''", name))


def tab_to(page: Page, name: str, value: str, key: str = "Tab") -> None:
    """Press Tab until the focus is there; a focus that is trapped or lost never comes."""
    for _ in range(60):
        page.keyboard.press(key)
        if focused(page, name) == value:
            return
    raise AssertionError(f"{key} does not reach {name}={value}")


def test_a_batch_is_decided_by_keys_alone(browser: Browser, demo: tuple[House, str]) -> None:
    house, url = demo
    page = sign_in(browser, url, EMAILS["officer"]).new_page()
    page.goto(f"{url}/review?lang=en&sort=-lines")
    page.keyboard.press("Tab")
    assert focused(page, "href") == "#content", "past the menu in one step"
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Opened by you until")).to_be_visible(timeout=30_000)
    batch = page.url

    # One line: the next and back, chosen and let go, then approved.
    page.keyboard.press("j")
    first = focused(page, "value")
    page.keyboard.press("j")
    assert focused(page, "value") not in ("", first)
    page.keyboard.press("k")
    assert focused(page, "value") == first
    page.keyboard.press("x")
    expect(page.locator("[data-row]:checked")).to_have_count(1)
    page.keyboard.press("x")
    expect(page.locator("[data-row]:checked")).to_have_count(0)
    page.keyboard.press("a")
    expect(page.locator(".notice-done")).to_be_visible(timeout=30_000)
    expect(page.locator(f"[data-row][value='{first}']")).to_have_count(0)

    # A rejection asks for its reason first.
    page.keyboard.press("j")
    second = focused(page, "value")
    page.keyboard.press("x")
    page.keyboard.press("r")
    assert focused(page, "name") == "reason"
    page.keyboard.press("ArrowDown")
    tab_to(page, "value", "reject:selected")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-row][value='{second}']")).to_have_count(0, timeout=30_000)

    # All at once asks; Escape leaves everything as it was and the focus where it came from.
    page.goto(f"{batch.partition('?')[0]}?lang=en")
    lines = page.locator("[data-row]").count()
    assert lines > 0
    page.keyboard.press("j")
    tab_to(page, "value", "approve:all", "Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_contain_text("Approve all")
    page.keyboard.press("r")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert focused(page, "value") == "approve:all"
    expect(page.locator("[data-row]")).to_have_count(lines)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".notice-done")).to_be_visible(timeout=30_000)
    expect(page.locator("[data-row]")).to_have_count(0)
    page.keyboard.press("n")
    page.wait_for_url(lambda address: address.partition("?")[0] != batch.partition("?")[0])
    expect(page.get_by_text("Opened by you until")).to_be_visible(timeout=30_000)
    page.goto("about:blank")
    page.context.close()
    house.run("audit")
