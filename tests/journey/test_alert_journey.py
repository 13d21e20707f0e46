"""A fund's money crosses a threshold: seen live, told by mail and webhook, taken on, and closed by itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, expect
from sqlalchemy import Engine

from portal.app import PortalSettings, create_portal
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import KUKAR, apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, serve, sign_in_wholly
from tests.integration.streams.conftest import StartWorker, engine, settings, start_worker
from tests.integration.streams.worker_process import await_true
from tests.integration.test_alert_life import Mailbox, Receiver, check_seal, mailbox, receiver
from tests.integration.test_allocate import add_needs
from tests.journey.visit import CHROMIUM

__all__ = ["engine", "mailbox", "receiver", "settings", "start_worker"]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
OFFICER = "siti@contoh.example"
SECONDS = 120  # a busy machine's; on a quiet one it is one or two


@pytest.fixture
def portal(engine: Engine, settings: StreamSettings) -> Iterator[str]:
    app = create_portal(
        PortalSettings(
            settings.database_url,
            (KUKAR,),
            demo=True,
            master_keys=(settings.master_key,),
            webhook_networks=("127.0.0.0/8",),
            has_mail=True,
        )
    )
    with serve(app) as url:
        yield url


def open_pages(chromium: Chromium, url: str, engine: Engine) -> tuple[Page, Page, list[str]]:
    """The list of alerts at a desk, and another page of the same officer on a phone."""
    person = add_person(engine, OFFICER, "officer")
    visitor = Browser(url, tls=False)
    sign_in_wholly(visitor, engine, OFFICER, person)
    context = chromium.new_context()
    context.add_cookies(
        [{"name": name, "value": value, "url": url} for name, value in visitor.cookies.items()]
    )
    complaints: list[str] = []
    pages = []
    for path, width in (("/alerts?lang=en", 1280), ("/funds", 390)):
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 844})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url + path)
        pages.append(page)
    return pages[0], pages[1], complaints


def test_a_crossing_is_seen_told_taken_on_and_closes_by_itself(
    browser: Chromium,
    portal: str,
    engine: Engine,
    settings: StreamSettings,
    start_worker: StartWorker,
    mailbox: Mailbox,
    receiver: Receiver,
) -> None:
    with ThreadPoolExecutor(1) as other:  # the browser's own loop runs in this thread
        other.submit(asyncio.run, ensure_topics(settings)).result()
    ready = replace(settings, mail_url=mailbox.url, portal_url=portal, webhook_networks=("127.0.0.0/8",))
    worker = start_worker(ready)  # it comes up while the officer signs in
    desk, phone, complaints = open_pages(browser, portal, engine)
    expect(desk.get_by_text("No alerts here")).to_be_visible()
    expect(phone.locator("#alert-badge")).to_have_text("")

    desk.goto(f"{portal}/alerts/channels")
    desk.get_by_label("Webhook (https)").fill(receiver.url)
    desk.get_by_role("button", name="Add").click()
    secret = desk.get_by_role("status").filter(has_text="whsec_").inner_text().split()[-1]
    desk.goto(f"{portal}/alerts")

    worker.wait_running(SECONDS)
    # 30 workers ask for Rp 50,400 each; the match reserves 19 of them, which is 95 % of the pledge.
    add_needs(engine, *range(30))
    apply_fund(engine, pledge(amount_rupiah=1_000_000))

    alert = desk.locator("[data-alert=fund_reserved][data-subject=csr-1]")
    expect(alert).to_be_visible(timeout=SECONDS * 1000)
    expect(alert).to_contain_text("95.76 % of the pledge is reserved or used")
    expect(phone.locator("#alert-badge")).to_have_attribute("data-count", "1", timeout=SECONDS * 1000)
    expect(phone.get_by_role("status").filter(has_text="1 open alert")).to_be_attached()
    assert phone.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    await_true(lambda: bool(mailbox.got and receiver.got), SECONDS, worker.raw_log)
    headers, body = receiver.got[0]
    check_seal(secret, headers, body)
    told = json.loads(body)
    assert (told["rule"], told["subject"]) == ("fund_reserved", "csr-1")
    assert told["url"].startswith(f"{portal}/")
    letter = mailbox.got[0].get_body(("html",))
    assert letter is not None and told["url"].replace("&", "&amp;") in letter.get_content()

    note = alert.get_by_label("Note")
    note.fill("Menghubungi PT Contoh Rekaan")
    apply_fund(engine, pledge("csr-2", amount_rupiah=60_000))  # another alert comes while the note is written
    expect(phone.locator("#alert-badge")).to_have_attribute("data-count", "2", timeout=SECONDS * 1000)
    expect(desk.locator("[data-subject=csr-2]")).to_be_visible(timeout=SECONDS * 1000)
    expect(note).to_have_value("Menghubungi PT Contoh Rekaan")
    alert.get_by_role("button", name="I take it on").click()
    expect(phone.locator("#alert-badge")).to_have_attribute("data-count", "1", timeout=SECONDS * 1000)
    desk.goto(f"{portal}/alerts?state=acknowledged")
    expect(desk.get_by_text("Menghubungi PT Contoh Rekaan")).to_be_visible()

    # The funder tops the pledge up, through the fund's page; the share falls, and the alert closes.
    phone.goto(f"{portal}/funds/csr-1/edit?lang=en")
    phone.get_by_label("Pledged in all").fill("20000000")
    phone.get_by_role("button", name="Send the change").click()
    expect(desk.locator("[data-subject=csr-1]")).to_have_count(0, timeout=SECONDS * 1000)
    desk.goto(f"{portal}/alerts?state=resolved")
    expect(desk.locator("[data-subject=csr-1]").first).to_contain_text("The cause is gone.")
    assert complaints == []
    desk.context.close()
