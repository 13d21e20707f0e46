"""Whatever the house writes down while it works, it names nobody: logs of worker, portal and PostgreSQL."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser

from gotong.sample import demo_year, sample_workers
from tests.journey.house import House, wait_for
from tests.journey.visit import CHROMIUM, EMAILS, sign_in

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
]
NIK, NAME = "6402054107709077", "Kenari Bersiul"
SEED = 1  # the demo's own


def logs_of(house: House) -> str:
    """Every log in the house's folder, and what its command said."""
    files = sorted(house.folder.glob(".gotong/**/*.log"))
    assert {"portal.log", "postgres.log"} <= {file.name for file in files}
    assert any(file.name.startswith("worker") for file in files)
    return house.output() + "".join(file.read_text(errors="replace") for file in files)


def canaries_in(text: str, niks: set[str]) -> set[str]:
    """NIKs however they are parted, and names; a demo's worker is called "Siti Contoh 000123"."""
    found = {found[0] for found in re.finditer(r"\d(?:[ .-]?\d){15}", text)}
    named = re.findall(rf"\w+ Contoh \d{{6}}|{NAME}", text, re.IGNORECASE)
    return {each for each in found if re.sub(r"\D", "", each) in niks} | set(named)


def test_no_log_names_anybody(browser: Browser, demo: tuple[House, str], tmp_path: Path) -> None:
    house, url = demo
    row = {
        "nik": NIK,
        "name": NAME,
        "village": "64.02.05.2001",
        "occupation": "fisher",
        "programmes": "JKK+JKM",
        "months": 3,
        "start_month": "2027-01",
        "priority": 50,
    }
    good, bad = tmp_path / "workers.jsonl", tmp_path / "wrong.jsonl"
    good.write_text(json.dumps(row) + "\n")
    bad.write_text(json.dumps(row | {"nik": f"{NIK[:-2]}x1", NAME: NIK}) + "\n")
    before = house.status()["events"]["registered"]
    house.run("events", "send", str(good))
    house.run("events", "send", str(bad), code=2)
    wait_for(lambda: house.status()["events"]["registered"] > before, 60)

    verifier = sign_in(browser, url, EMAILS["verifier"])
    page = verifier.new_page()
    page.goto(f"{url}/village?lang=en")
    assert NAME in page.content(), "names are read, and on record"
    page.goto("about:blank")
    administrator = sign_in(browser, url, EMAILS["administrator"])
    page = administrator.new_page()
    page.goto(f"{url}/administration/dead-letters?lang=en&state=all")
    page.locator("tbody th a").last.click()
    page.goto("about:blank")
    for context in (verifier, administrator):
        context.close()

    year = demo_year(dt.datetime.now(ZoneInfo("Asia/Makassar")).date())
    niks = {NIK} | {worker.nik for worker in sample_workers(SEED, 0, 300, year)}
    logs = logs_of(house)
    assert '"event": "allocated"' in logs and len(niks) > 290, "too little was seen to say so"
    assert canaries_in(f"x {NIK[:6]}-{NIK[6:]} SITI contoh 000001", niks) != set(), "the search finds"
    assert canaries_in(logs, niks) == set()
