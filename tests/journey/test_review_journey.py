"""Two officers approve a batch above the four-eyes threshold while events stream in; the books agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import create_engine, text

from tests.journey.house import House
from tests.journey.visit import CHROMIUM, EMAILS, sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


def test_two_officers_approve_a_batch_while_events_stream_in(
    browser: Browser, demo: tuple[House, str], tmp_path: Path
) -> None:
    house, url = demo
    engine = create_engine(house.database_url())
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET four_eyes_above_rupiah = 0"))
    engine.dispose()
    first = sign_in(browser, url, EMAILS["officer"]).new_page()
    first.goto(f"{url}/review?lang=en")
    first.get_by_role("button", name="Open the batch:").first.click()
    expect(first.get_by_text("Opened by you until")).to_be_visible()
    row = {
        "nik": "6402061708809002",
        "village": "64.02.06.1001",
        "occupation": "fisher",
        "programmes": "JKK+JKM",
        "months": 3,
        "start_month": "2027-01",
        "priority": 90,
    }
    file = tmp_path / "workers.jsonl"
    file.write_text(json.dumps(row) + "\n")
    house.run("events", "send", str(file))
    first.get_by_role("button", name="Approve all").click()
    expect(first.get_by_role("dialog")).to_contain_text("Approve all")
    first.get_by_role("dialog").get_by_role("button", name="Continue").click()
    expect(first.get_by_text("Waits for a second officer")).to_be_visible(timeout=30_000)
    first.get_by_role("link", name="The decision").click()
    expect(first.get_by_text("another officer must confirm it")).to_be_visible()
    decision = first.url
    second = sign_in(browser, url, "petugas2@demo.invalid").new_page()
    second.goto(f"{decision}?lang=en")
    second.get_by_role("button", name="Confirm as second officer").click()
    expect(second.get_by_role("definition").filter(has_text="Done")).to_be_visible(timeout=30_000)
    house.run("audit")
    first.context.close()
    second.context.close()
