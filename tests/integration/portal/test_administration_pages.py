"""The administrator's pages: dead letters without personal data, keys shown once, policies, health."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from optimizer.policy import DEFAULT_POLICY
from tests.integration.portal.rows_administration import make_dead_letter
from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words
from workflow.policy_versions import list_versions, read_policy_in_force

NIK, NAME = "6402055208900003", "Kenari Rekaan"
LETTERS = "/administration/dead-letters"


@pytest.fixture(scope="module")
def administrator(engine: Engine, url: str) -> Browser:
    browser = Browser(url, "10.5.1.1")
    sign_in_wholly(
        browser, engine, "kepala@contoh.example", add_person(engine, "kepala@contoh.example", "administrator")
    )
    browser.get("/administration/health?lang=en")
    return browser


def test_a_dead_letter_says_why_and_hides_who(engine: Engine, administrator: Browser) -> None:
    payload = f'{{"data": {{"nik": "{NIK}", "name": "{NAME}", "village": "64.02.99.9999"}}}}'
    number = make_dead_letter(engine, payload.encode())
    listed, shown = administrator.get(LETTERS), administrator.get(f"{LETTERS}/{number}")
    assert "64.02.99.9999 is not a village" in listed.text
    assert "64.02.99.9999" in shown.text and "•••" in shown.text
    for page in (listed, shown):
        assert NIK not in page.text and NAME not in page.text


def test_chosen_letters_and_all_of_a_reason_are_sent_again(engine: Engine, administrator: Browser) -> None:
    first, second = make_dead_letter(engine), make_dead_letter(engine)
    other = make_dead_letter(engine, reason="malformed_json", detail="not JSON")
    assert administrator.post(f"{LETTERS}/replay").status_code == 422
    answer = administrator.post(f"{LETTERS}/replay", {"ids": str(first)})
    assert "sent=1" in answer.headers["location"]
    administrator.post(f"{LETTERS}/replay", {"reason": "village_unknown"})
    with engine.connect() as connection:
        waiting = connection.scalars(text("SELECT id FROM dead_letter WHERE replayed_at IS NULL")).all()
        actors = connection.scalars(
            text("SELECT DISTINCT actor FROM audit_record WHERE action = 'replay_dead_letters'")
        ).all()
    assert other in waiting and first not in waiting and second not in waiting
    assert actors == ["kepala@contoh.example"]


def test_a_key_is_shown_once(engine: Engine, administrator: Browser) -> None:
    form = {"name": "Sistem SDM", "role": "auditor", "days": "90"}
    made = administrator.post("/administration/keys", form)
    secret = re.search(r"gotong_[\w-]+", made.text)
    assert secret is not None
    later = administrator.get("/administration/keys").text
    assert "Sistem SDM" in later and secret.group() not in later
    assert administrator.post("/administration/keys", form).status_code == 422
    with engine.connect() as connection:
        assert secret.group() not in str(connection.execute(text("SELECT detail FROM audit_record")).all())


def test_a_policy_is_checked_saved_and_put_in_force(engine: Engine, administrator: Browser) -> None:
    page = "/administration/policies"
    wrong = administrator.post(page, {"text": 'name = "hemat"\ntiers = ["equity"]'})
    assert wrong.status_code == 422 and "the first tier must be coverage" in words(wrong.text)
    assert administrator.post(page, {"text": 'name = "hemat"\ntiers = ["coverage"]'}).status_code == 303
    opened = {"opened": "hemat", "made_from": "0"}
    stale = administrator.post(page, opened | {"text": 'name = "hemat"\ntiers = ["coverage"]'})
    assert stale.status_code == 409
    assert [saved.version for saved in list_versions(engine, "hemat")] == [1]
    assert administrator.post(f"{page}/in-force/64.02", {"policy": "hemat 9"}).status_code == 404
    assert administrator.post(f"{page}/in-force/64.02", {"policy": "hemat 1"}).status_code == 303
    assert [tier.name for tier in read_policy_in_force(engine, "64.02").tiers] == ["coverage"]
    administrator.post(f"{page}/in-force/64.02", {"policy": "default 0"})
    assert read_policy_in_force(engine, "64.02") == DEFAULT_POLICY


def test_health_names_a_halted_regency_and_resumes_it(engine: Engine, administrator: Browser) -> None:
    page = "/administration/health"
    assert "No stream worker is connected" in words(administrator.get(page).text)
    with engine.begin() as connection:
        connection.execute(text("UPDATE regency SET halted_reason = 'audit: chain_intact at csr-1'"))
    assert "chain_intact at csr-1" in words(administrator.get(page).text)
    assert administrator.post(f"{page}/regencies/64.02/resume").status_code == 303
    assert "chain_intact" not in administrator.get(page).text


def test_no_page_of_the_administrator_opens_to_a_key(
    engine: Engine, administrator: Browser, new_browser: Callable[[], Browser]
) -> None:
    form = {"name": "Kunci admin", "role": "administrator", "days": "30"}
    secret = re.search(r"gotong_[\w-]+", administrator.post("/administration/keys", form).text)
    assert secret is not None
    program = new_browser()
    assert program.get("/administration/health", authorization=f"Bearer {secret.group()}").status_code == 401
