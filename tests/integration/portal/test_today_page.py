"""The officers' first page says what waits, where the money is, and how coverage has moved."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from sqlalchemy import Engine, text

from tests.builders import add_need, apply_fund, budget, pledge
from tests.integration.portal.site import Browser, add_person, now, sign_in_wholly, words
from workflow.read_today import read_districts


@pytest.fixture(scope="module")
def seeded(engine: Engine) -> Engine:
    """Four workers in two districts: one covered for 40 days, one for 10, one lost 3 days ago, one never."""
    apply_fund(engine, pledge("csr-1", 10_000_000))
    apply_fund(engine, budget("apbd-1", 5_000_000))
    run_id = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO allocation_run (id, regency_code, generation, policy, status, needs, proposed,"
                " tiers, finished_at) VALUES (:id, '64.02', 1, '{}', 'FEASIBLE', 4, 2,"
                ' \'[{"name": "coverage", "value": 100, "bound": 101, "gap": 0.000251}]\', now())'
            ),
            {"id": run_id},
        )
        opened = {0: 40, 1: 10, 2: 20}
        for number in range(4):
            village = "64.02.05.2001" if number < 2 else "64.02.01.2001"
            state = "proposed" if number < 2 else "waiting"
            need_id = add_need(connection, number, village_code=village, state=state)
            if number in opened:
                closed = now() - dt.timedelta(days=3) if number == 2 else None
                connection.execute(
                    text(
                        "INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah, state,"
                        " opened_at, closed_at, closed_cause, closed_cause_id)"
                        " SELECT :need, id, :run, 3, 50400, :state, :opened, :closed, :cause, :cause_id"
                        " FROM fund WHERE code = 'csr-1'"
                    ),
                    {
                        "need": need_id,
                        "run": run_id,
                        "state": "released" if closed else "proposed",
                        "opened": now() - dt.timedelta(days=opened[number]),
                        "closed": closed,
                        "cause": "event" if closed else None,
                        "cause_id": uuid.uuid4() if closed else None,
                    },
                )
    return engine


@pytest.fixture(scope="module")
def officer(seeded: Engine, url: str) -> Browser:
    browser = Browser(url, "10.7.0.1")
    account = add_person(seeded, "hariini@kantor.example", "officer")
    sign_in_wholly(browser, seeded, "hariini@kantor.example", account)
    return browser


def test_coverage_moves_as_the_history_of_the_lines_says(seeded: Engine) -> None:
    with seeded.connect() as connection:
        districts = {each.code: each for each in read_districts(connection, "64.02", now())}
    gained, lost = districts["64.02.05"], districts["64.02.01"]
    assert (gained.workers, gained.covered) == (2, 2)
    assert (gained.change_7_days, gained.change_30_days) == (0, 1)
    assert (lost.workers, lost.covered) == (2, 0)
    assert (lost.change_7_days, lost.change_30_days) == (-1, 0)


def test_the_page_names_what_waits_and_what_it_costs(officer: Browser) -> None:
    page = words(officer.get("/today?lang=id").text)
    assert "Menunggu keputusan" in page
    assert "Rp 100.800" in page
    assert "Rp 15 juta" in page  # both funds together


def test_a_run_that_proved_no_optimum_never_reads_as_the_best(officer: Browser) -> None:
    page = words(officer.get("/today?lang=id").text)
    assert "paling jauh 0,03 %" in page.lower()
    assert "terbukti" not in page.lower()


def test_the_burn_down_is_a_picture_with_the_same_numbers_beside_it(officer: Browser) -> None:
    picture = officer.get("/today/burn-down.svg?lang=id")
    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "TJSLP" in picture.text
    assert "Rp 15.000.000" in words(officer.get("/today?lang=id").text)


def test_an_officer_sees_the_own_regency_whatever_is_asked(officer: Browser) -> None:
    assert "/today/figures?regency=64.02" in officer.get("/today?regency=64.03").text


def test_a_match_under_way_is_shown_and_can_be_stopped(seeded: Engine, officer: Browser) -> None:
    with seeded.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO allocation_run (id, regency_code, generation, policy, status, progress) VALUES"
                " (gen_random_uuid(), '64.02', 9, '{}', 'RUNNING', '{\"seconds\": 12.5, \"gap\": 0.0123}')"
            )
        )
    said = words(officer.get("/today?lang=en").text)
    assert "under way, for 12.5 seconds so far; at most 1.23 % from the best possible" in said
    assert officer.post("/today/cancel-match", {}).status_code == 303
    said = words(officer.get("/today?lang=en").text)
    assert "is being stopped" in said and "Stop the match" not in said
    with seeded.begin() as connection:
        connection.execute(
            text("UPDATE allocation_run SET status = 'CANCELLED', finished_at = now() WHERE generation = 9")
        )
    assert "under way" not in words(officer.get("/today?lang=en").text)
    assert officer.post("/today/cancel-match", {}).status_code == 303
