"""Audit: who did what when, filtered, paged and exported; and the check of the books."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine, text

from tests.builders import NOW, apply_fund, pledge
from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words
from workflow.load_regions import load_regions
from workflow.record import record_action


@pytest.fixture(scope="module")
def seeded(engine: Engine) -> Engine:
    load_regions(engine, ["64.03"])
    apply_fund(engine, pledge("csr-1", 10_000_000))
    apply_fund(engine, pledge("csr-lain", 10_000_000, regency="64.03"))
    with engine.begin() as connection:
        for number in range(60):
            record_action(connection, "petugas", f"uji_{number % 2}", "csr-1", {"lines": number}, NOW)
        record_action(connection, "orang lain", "uji_asing", "csr-lain", {}, NOW)
    return engine


def visit(engine: Engine, url: str, role: str) -> Browser:
    browser = Browser(url, "10.7.2.1")
    email = f"audit-{role}@kantor.example"
    account = add_person(engine, email, role)  # type: ignore[arg-type]
    sign_in_wholly(browser, engine, email, account)
    return browser


@pytest.fixture(scope="module")
def officer(seeded: Engine, url: str) -> Browser:
    return visit(seeded, url, "officer")


@pytest.fixture(scope="module")
def auditor(seeded: Engine, url: str) -> Browser:
    return visit(seeded, url, "auditor")


def test_records_are_filtered_and_paged_by_number(officer: Browser) -> None:
    page = words(officer.get("/audit?subject=csr-1&action=uji_0").text)
    assert "uji_0" in page
    assert "uji_1" not in page
    assert "uji_0" in officer.get("/audit?subject=csr-1&before=20").text
    assert "uji_0" in officer.get("/audit?day=2026-11-02").text
    assert "uji_0" not in officer.get("/audit?day=2026-11-03&subject=csr-1").text


def test_the_export_obeys_the_filter(officer: Browser) -> None:
    lines = officer.get("/audit.csv?subject=csr-1&action=uji_1").text.splitlines()
    assert sum(",uji_1,csr-1," in line for line in lines) == 30
    assert not any("uji_0" in line for line in lines)


def test_an_officer_sees_no_record_of_another_regency(officer: Browser, auditor: Browser) -> None:
    assert "uji_asing" in auditor.get("/audit?action=uji_asing").text.split("<table")[1]
    assert "<table" not in officer.get("/audit?action=uji_asing").text
    assert ",uji_asing," not in officer.get("/audit.csv?action=uji_asing").text


def check(browser: Browser) -> str:
    assert browser.post("/audit/check").status_code == 303
    deadline = time.monotonic() + 60
    while "sedang diperiksa" in (page := words(browser.get("/audit?lang=id").text)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return page


def test_the_check_names_the_invariant_that_is_broken(auditor: Browser, seeded: Engine) -> None:
    assert "Semua 12 pemeriksaan terpenuhi" in check(auditor)
    change = text("UPDATE fund SET pledged_rupiah = pledged_rupiah + :more WHERE code = 'csr-1'")
    for more, said in ((5, "Dilanggar: Saldo sama dengan jurnal"), (-5, "Semua 12 pemeriksaan terpenuhi")):
        with seeded.begin() as connection:
            connection.execute(change, {"more": more})
        assert said in check(auditor)
