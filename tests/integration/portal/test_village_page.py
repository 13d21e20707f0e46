"""A verifier's page: the own village, names for the visit alone, what a finding does to need and money."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text, update

from models.journal import Cause
from models.tables import Worker
from models.vault import Vault
from models.verification_tables import OUTCOMES
from tests.builders import NOW, add_need, apply_fund, pledge
from tests.integration.portal.site import MASTER_KEY, Browser, add_person, words
from workflow.audit import audit
from workflow.move_money import Movement, move_money

NIK, NAME = "6402051708809001", "Si Rekaan Pertama"


@pytest.fixture
def verifier(new_browser: Callable[[], Browser], engine: Engine) -> Browser:
    email = f"{uuid.uuid4().hex}@desa.example"
    add_person(engine, email, "verifier")
    browser = new_browser()
    assert browser.sign_in(email).status_code == 303
    return browser


def add_named_need(engine: Engine, number: int, **changes: Any) -> int:
    """A waiting need whose worker has a real sealed NIK and name."""
    vault, nik = Vault(MASTER_KEY), f"{NIK[:12]}{number:04d}"
    with engine.begin() as connection:
        need_id = add_need(connection, number, **changes)
        nik_hash = vault.hash_nik(nik)
        connection.execute(
            update(Worker)
            .where(Worker.id == text("(SELECT worker_id FROM coverage_need WHERE id = :need)"))
            .values(
                nik_hash=nik_hash,
                nik_encrypted=vault.encrypt(nik.encode(), "nik"),
                name_encrypted=vault.encrypt(f"{NAME} {number}".encode(), f"name:{nik_hash.hex()}"),
            ),
            {"need": need_id},
        )
    return need_id


def state_of(engine: Engine, need_id: int) -> tuple[str, str | None]:
    with engine.connect() as connection:
        row = connection.execute(
            text("SELECT state, unfunded_reason FROM coverage_need WHERE id = :id"), {"id": need_id}
        ).one()
    return row.state, row.unfunded_reason


def propose(engine: Engine, need_id: int, code: str, **of_pledge: Any) -> None:
    """A line that holds 50,400 rupiah of a new pledge for the need."""
    apply_fund(engine, pledge(code, 1_000_000, **of_pledge))
    run = uuid.uuid4()
    with engine.begin() as connection:
        fund_id = connection.scalar(text("SELECT id FROM fund WHERE code = :code"), {"code": code})
        assert fund_id is not None
        connection.execute(
            text(
                "INSERT INTO allocation_run (id, regency_code, generation, policy, status)"
                " SELECT :run, '64.02', coalesce(max(generation), 0) + 1, '{}', 'OPTIMAL' FROM allocation_run"
            ),
            {"run": run},
        )
        connection.execute(
            text(
                "INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah)"
                " VALUES (:need, :fund, :run, 3, 50400)"
            ),
            {"need": need_id, "fund": fund_id, "run": run},
        )
        connection.execute(
            text("UPDATE coverage_need SET state = 'proposed', version = version + 1 WHERE id = :id"),
            {"id": need_id},
        )
        movement = Movement(fund_id, "reserve", 50_400)
        move_money(connection, [movement], cause=Cause("run", run), recorded_at=NOW)


def test_the_name_is_read_for_the_visit_and_the_nik_is_masked(verifier: Browser, engine: Engine) -> None:
    add_named_need(engine, 1001)
    add_named_need(engine, 1002, village_code="64.02.01.2001")
    page = verifier.post("/village/search", {"q": f"{NAME} 100"}).text
    assert f"{NAME} 1001" in page and "••••1001" in page
    assert NIK[:12] not in page
    assert f"{NAME} 1002" not in page, "a worker of another village"
    with engine.connect() as connection:
        kept = connection.scalar(
            text(
                "SELECT detail::text FROM audit_record"
                " WHERE action = 'read_names' ORDER BY number DESC LIMIT 1"
            )
        )
    assert kept is not None and "searched" in kept and NAME not in kept


def test_a_confirmed_worker_leaves_the_list_and_comes_back_by_undo(verifier: Browser, engine: Engine) -> None:
    need_id = add_named_need(engine, 1003)
    done = verifier.post(f"/village/workers/{need_id}", {"outcome": "confirmed"})
    finding = done.headers["location"].partition("=")[2]
    assert f"{NAME} 1003" not in verifier.post("/village/search", {"q": "1003"}).text
    assert state_of(engine, need_id) == ("waiting", None)
    assert verifier.post(f"/village/workers/{need_id}", {"outcome": "deceased"}).status_code == 409
    assert verifier.post(f"/village/findings/{finding}/undo").status_code == 303
    assert f"{NAME} 1003" in verifier.post("/village/search", {"q": "1003"}).text


@pytest.mark.parametrize("outcome", ["not_real", "already_covered", "moved_away", "deceased"])
def test_any_other_finding_closes_the_need_and_gives_its_money_back(
    verifier: Browser, engine: Engine, outcome: str
) -> None:
    need_id = add_named_need(engine, 1101 + OUTCOMES.index(outcome))
    propose(engine, need_id, f"csr-{outcome}")
    assert verifier.post(f"/village/workers/{need_id}", {"outcome": outcome}).status_code == 303
    assert state_of(engine, need_id) == ("closed", outcome)
    with engine.connect() as connection:
        reserved = connection.scalar(
            text("SELECT reserved_rupiah FROM fund WHERE code = :code"), {"code": f"csr-{outcome}"}
        )
    assert reserved == 0
    assert [each for each in audit(engine) if f"csr-{outcome}" in str(each)] == []


def test_what_was_closed_by_mistake_opens_anew(verifier: Browser, engine: Engine) -> None:
    need_id = add_named_need(engine, 1201)
    done = verifier.post(f"/village/workers/{need_id}", {"outcome": "deceased"})
    undo = f"/village/findings/{done.headers['location'].partition('=')[2]}/undo"
    assert [verifier.post(undo).status_code for _ in range(2)] == [303, 303]
    assert "1 pekerja untuk dikunjungi" in words(verifier.post("/village/search", {"q": "1201"}).text)


def test_another_verifiers_finding_is_not_ones_own(
    verifier: Browser, new_browser: Callable[[], Browser], engine: Engine
) -> None:
    need_id = add_named_need(engine, 1301)
    done = verifier.post(f"/village/workers/{need_id}", {"outcome": "confirmed"})
    undo = f"/village/findings/{done.headers['location'].partition('=')[2]}/undo"
    email = f"{uuid.uuid4().hex}@desa.example"
    add_person(engine, email, "verifier")
    other = new_browser()
    other.sign_in(email)
    nonexistent = other.post(f"/village/findings/{uuid.uuid4()}/undo")
    assert (other.post(undo).status_code, other.post(undo).text) == (404, nonexistent.text)


def test_a_place_outside_the_village_does_not_exist(verifier: Browser, engine: Engine) -> None:
    need_id = add_named_need(engine, 1401, village_code="64.02.01.2001")
    foreign = verifier.post(f"/village/workers/{need_id}", {"outcome": "deceased"})
    assert foreign.status_code == 404
    assert state_of(engine, need_id) == ("waiting", None)


def test_ones_own_answers_are_listed_and_the_list_can_be_narrowed_by_occupation(
    verifier: Browser, engine: Engine
) -> None:
    need_id = add_named_need(engine, 1501)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE worker SET occupation = 'weaver'"
                " WHERE id = (SELECT worker_id FROM coverage_need WHERE id = :id)"
            ),
            {"id": need_id},
        )
    assert f"{NAME} 1501" in verifier.get("/village?occupation=weaver").text
    assert f"{NAME} 1501" not in verifier.get("/village?occupation=none-such").text
    part = verifier.post(f"/village/workers/{need_id}", {"outcome": "moved_away"}, hx_request="true")
    assert part.status_code == 200 and "<html" not in part.text and "/undo" in part.text
    again = verifier.post(f"/village/workers/{need_id}", {"outcome": "moved_away"}, hx_request="true")
    assert again.status_code == 409 and "<html" not in again.text
    answers = verifier.get("/village?show=answered").text
    assert f"{NAME} 1501" in answers and "Sudah pindah" in words(answers)
