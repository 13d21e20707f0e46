"""What a company, a village verifier and an administrator do from beginning to end, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from models.database import open_engine
from tests.integration.portal.site import OTHER_COMPANY, PASSWORD
from tests.journey.house import House, wait_for
from tests.journey.visit import CHROMIUM, EMAILS, sign_in
from workflow.load_regions import load_regions

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]


def test_a_company_takes_its_statement_away_and_another_company_never_gets_it(
    browser: Browser, demo: tuple[House, str]
) -> None:
    house, url = demo
    own = sign_in(browser, url, EMAILS["company_user"])
    page = own.new_page()
    page.goto(f"{url}/company?lang=en")
    page.get_by_role("link", name="Proof").click()
    page.get_by_role("button", name="Sign a statement").click()
    statement = page.get_by_role("main").locator("a[href^='/company/statements/']").first
    address = f"{url}{statement.get_attribute('href')}"
    with page.expect_download() as download:
        statement.evaluate("link => { link.download = 'statement.pdf'; link.click(); }")
    pdf = Path(str(download.value.path())).read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 5_000

    other = browser.new_context()
    email = _invite_company_user(browser, house, url)
    stranger = other.new_page()
    stranger.goto(f"{url}/login?lang=en")
    stranger.get_by_label("E-mail address").fill(email)
    stranger.get_by_label("Password").fill(PASSWORD)
    stranger.locator("form:has(#password) button").click()
    expect(stranger.get_by_role("heading", name="Our pledges")).to_be_visible()
    assert own.request.get(address).status == 200
    foreign = other.request.get(address)
    nothing = other.request.get(f"{url}/company/statements/00000000-0000-0000-0000-000000000001")
    assert foreign.status == nothing.status == 404
    assert _say(foreign.text()) == _say(nothing.text())
    assert b"%PDF-" not in foreign.body()
    own.close()
    other.close()


def test_a_verifier_answers_with_a_thumb_and_takes_a_slip_back(
    browser: Browser, demo: tuple[House, str], tmp_path: Path
) -> None:
    house, url = demo
    registered = house.status()["events"]["registered"]
    _report(house, tmp_path, nik="6402051708809055", village="64.02.05.2001")
    wait_for(lambda: house.status()["events"]["registered"] > registered, 150)
    context = sign_in(browser, url, EMAILS["verifier"], phone=True)
    page = context.new_page()
    page.goto(f"{url}/village?lang=en")
    workers = page.locator(".visits > .panel")
    waiting = workers.count()
    assert waiting > 0, "the demo's village has nobody to visit"
    first = workers.first
    name = first.get_by_role("heading").inner_text()
    confirm = first.get_by_role("button", name="Real, and still uncovered")
    box = confirm.bounding_box()
    assert box is not None and box["height"] >= 44 and box["width"] > 300
    confirm.tap()
    expect(page.get_by_text("Kept: Real, and still uncovered.")).to_be_visible()
    expect(workers).to_have_count(waiting - 1)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    page.get_by_role("link", name="My answers").tap()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("button", name="Take it back").first.tap()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(workers).to_have_count(waiting)

    page.context.set_offline(True)
    page.get_by_role("button", name="Real, and still uncovered").first.tap()
    expect(page.get_by_role("alert")).to_be_visible()
    page.context.set_offline(False)
    expect(workers).to_have_count(waiting)
    context.close()


def test_an_administrator_sends_a_dead_letter_again_when_its_cause_is_mended(
    browser: Browser, demo: tuple[House, str], tmp_path: Path
) -> None:
    house, url = demo
    nik = "6402061708809077"
    _report(house, tmp_path, nik=nik, village="64.03.01.2001")  # its regency does not run Gotong here yet
    wait_for(lambda: house.status()["dead_letters"].get("regency_not_served") == 1, 150)

    context = sign_in(browser, url, EMAILS["administrator"])
    page = context.new_page()
    page.goto(f"{url}/administration/dead-letters?lang=en&reason=regency_not_served")
    page.get_by_role("table", name="Newest first").get_by_role("link").first.click()
    main = page.get_by_role("main")
    expect(main.get_by_text("regency_not_served")).to_be_visible()
    assert nik not in main.inner_text(), "a whole NIK is on the page"
    letter = page.url

    registered = house.status()["events"]["outcomes"]["registered"]
    engine = open_engine(house.database_url())
    load_regions(engine, ["64.02", "64.03"])
    engine.dispose()
    page.get_by_role("button", name="Send again").click()
    page.goto(letter)
    expect(main.get_by_text("Sent again", exact=True)).to_be_visible()
    wait_for(lambda: house.status()["events"]["outcomes"]["registered"] > registered, 150)
    assert "regency_not_served" not in house.status()["dead_letters"]
    context.close()


def test_a_question_of_what_if_is_shared_by_its_address(browser: Browser, demo: tuple[House, str]) -> None:
    _, url = demo
    first = sign_in(browser, url, EMAILS["officer"])
    page = first.new_page()
    page.goto(f"{url}/what-if?lang=en")
    page.get_by_label("Its money, in millions of rupiah").fill("200")
    page.get_by_role("button", name="Ask").click()
    gained = page.locator("dt:has-text('Gained') + dd").first
    expect(gained).to_be_visible(timeout=60_000)
    shared, said = page.url, gained.inner_text()
    first.close()
    second = sign_in(browser, url, EMAILS["auditor"])
    page = second.new_page()
    page.goto(shared)
    expect(page.locator("[name=new_millions]")).to_have_value("200")  # the question, in the own language
    gained = page.locator("dt:has-text('Bertambah') + dd").first
    expect(gained).to_have_text(said, timeout=60_000)
    second.close()


def _report(house: House, folder: Path, *, nik: str, village: str) -> None:
    """A worker without cover comes in as a file."""
    row: dict[str, object] = {"nik": nik, "village": village, "occupation": "farmer", "programmes": "JKK+JKM"}
    row |= {"months": 3, "start_month": "2027-01", "priority": 60}
    file = folder / "workers.jsonl"
    file.write_text(json.dumps(row) + "\n")
    house.run("events", "send", str(file))


def _say(page: str) -> str:
    return re.sub(r"\s+", " ", page)


def _invite_company_user(browser: Browser, house: House, url: str) -> str:
    """A person of another company, who has accepted the invitation."""
    email = "orang.lain@perusahaan.example"
    invited = house.run(
        *("account", "create", email, "--role", "company_user", "--name", "Orang Lain"),
        *("--npwp", OTHER_COMPANY),
    ).stdout
    link = re.search(r"/invitation/\S+", invited)
    assert link is not None
    page = browser.new_page()
    page.goto(f"{url}{link[0]}")
    for field in ("#password", "#again"):
        page.locator(field).fill(PASSWORD)
    page.locator("form:has(#again) button").click()
    page.context.close()
    return email
