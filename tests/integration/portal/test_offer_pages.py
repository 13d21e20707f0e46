"""A company's offer: it moves nothing until an officer confirms it, and then goes the way of any pledge."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from models.role import Role
from tests.integration.portal.site import COMPANY, Browser, add_person, sign_in_wholly, words

OFFER = {
    "name": "Komitmen Teluk",
    "funder_name": "PT Contoh Rekaan",
    "amount_rupiah": "25.000.000",
    "window_from": "2027-01",
    "window_to": "2027-12",
}


@pytest.fixture
def enter(engine: Engine, new_browser: Callable[[], Browser]) -> Callable[[Role], Browser]:
    def make(role: Role) -> Browser:
        browser, email = new_browser(), f"{uuid.uuid4().hex}@tawaran.example"
        sign_in_wholly(browser, engine, email, add_person(engine, email, role))
        return browser

    return make


def offers(engine: Engine, state: str) -> list[str]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT id FROM pledge_offer WHERE state = :state AND funder = :funder"),
            {"state": state, "funder": COMPANY},
        )
        return [str(row.id) for row in rows]


def sent(engine: Engine, offer_id: str) -> int:
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM outbox_message WHERE intake AND headers::text LIKE :id")
        return int(connection.scalar(query, {"id": f"%{offer_id}%"}) or 0)


def test_an_offer_becomes_an_event_once_an_officer_confirms_it(
    engine: Engine, enter: Callable[[Role], Browser]
) -> None:
    company, officer = enter("company_user"), enter("officer")
    assert company.post("/company/offers", OFFER).status_code == 303
    (offer_id,) = offers(engine, "open")
    assert sent(engine, offer_id) == 0, "an offer moves nothing"
    assert "Rp 25.000.000" in words(officer.get("/offers").text)
    assert officer.post(f"/offers/{offer_id}/confirm").status_code == 303
    assert officer.post(f"/offers/{offer_id}/confirm").status_code == 409, "twice is once"
    assert sent(engine, offer_id) == 1
    assert "Disahkan" in company.get("/company/offers").text


def test_a_declined_offer_says_why_and_sends_nothing(
    engine: Engine, enter: Callable[[Role], Browser]
) -> None:
    company, officer = enter("company_admin"), enter("officer")
    company.post("/company/offers", OFFER | {"name": "Komitmen Hulu"})
    (offer_id,) = offers(engine, "open")
    assert officer.post(f"/offers/{offer_id}/decline", {"remark": " "}).status_code == 422
    assert officer.post(f"/offers/{offer_id}/decline", {"remark": "Rekening belum ada"}).status_code == 303
    assert "Rekening belum ada" in company.get("/company/offers").text
    assert sent(engine, offer_id) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"amount_rupiah": "0"},
        {"amount_rupiah": "1,5"},
        {"amount_rupiah": "-5"},
        {"window_to": "2026-12", "window_from": "2027-01"},
        {"window_from": "kemarin"},
    ],
)
def test_a_wrong_offer_is_refused_in_words(
    engine: Engine, enter: Callable[[Role], Browser], wrong: dict[str, str]
) -> None:
    answer = enter("company_user").post("/company/offers", OFFER | wrong)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert offers(engine, "open") == []


def test_an_offer_for_somebody_elses_pledge_does_not_exist(enter: Callable[[Role], Browser]) -> None:
    assert enter("company_user").post("/company/offers", OFFER | {"fund_code": "lain"}).status_code == 404
