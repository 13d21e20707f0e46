"""A company's pages: own money and people without names, and never a group that points at somebody."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from tests.builders import apply_fund, pledge
from tests.integration.portal.site import COMPANY, OTHER_COMPANY, Browser, add_person, now, words
from tests.integration.portal.test_village_page import NAME, NIK, add_named_need, propose
from workflow.account import Scope
from workflow.confirm_offer import decline_offer
from workflow.offer_pledge import OfferRequest, offer_pledge
from workflow.read_company import hide_small_groups

GROUPS = st.dictionaries(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("nopq")), st.integers(min_value=1, max_value=9)
)


@given(GROUPS)
def test_no_shown_group_is_small_and_nobody_is_lost(workers: dict[tuple[str, str], int]) -> None:
    shown = hide_small_groups(workers)
    sizes = Counter[tuple[str, str]]()
    for group, as_what in shown.items():
        sizes[as_what] += workers[group]
    assert all(size >= 5 for size in sizes.values())
    assert sum(sizes.values()) == (sum(workers.values()) if sum(workers.values()) >= 5 else 0)


def test_a_company_sees_neither_names_nor_small_groups_nor_others_money(
    new_browser: Callable[[], Browser], engine: Engine
) -> None:
    apply_fund(engine, pledge("asing", 7_654_321, name="Komitmen Asing", npwp=OTHER_COMPANY))
    for number in range(7):
        occupation = "penjahit" if number == 6 else "nelayan"
        propose(engine, add_named_need(engine, 3000 + number, occupation=occupation), f"csr-{number}")
    email = f"{uuid.uuid4().hex}@perusahaan.example"
    add_person(engine, email, "company_user")
    browser = new_browser()
    browser.sign_in(email)
    pages = {
        path: browser.get(path).text for path in ("/company", "/company/workers", "/company/workers.csv")
    }
    everything = "".join(pages.values())
    assert NAME not in everything and NIK[:12] not in everything
    assert "Komitmen Asing" not in everything and "7.654.321" not in everything
    assert "penjahit" not in everything, "one tailor alone is withheld, not counted"
    assert pages["/company/workers.csv"].count("JKK+JKM") == 7


def test_a_signed_statement_is_a_pdf_that_anybody_can_check_and_no_other_company_reads(
    new_browser: Callable[[], Browser], engine: Engine
) -> None:
    apply_fund(engine, pledge("pernyataan-1", 1_000_000))
    browsers = []
    for scope in (None, Scope(funder=OTHER_COMPANY)):
        email = f"{uuid.uuid4().hex}@perusahaan.example"
        add_person(engine, email, "company_user", scope)
        browsers.append(new_browser())
        browsers[-1].sign_in(email)
    own, other = browsers
    assert own.post("/company/statements", {"year": "2026"}).status_code == 303
    page = own.get("/company/statements").text
    found = re.search(r'href="(/company/statements/[0-9a-f-]{36})"', page)
    code = re.search(r'href="(/verify/[\w-]+)"', page)
    assert found and code
    assert own.get(found[1]).content.startswith(b"%PDF")
    foreign, nonexistent = other.get(found[1]), other.get(f"/company/statements/{uuid.uuid4()}")
    assert (foreign.status_code, foreign.text) == (404, nonexistent.text)
    assert "Asli:" in new_browser().get(code[1]).text
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE statement SET content = content || '{\"disbursed_rupiah\": 9}' WHERE code = :code"),
            {"code": code[1].rpartition("/")[2]},
        )
    assert "Tidak asli:" in new_browser().get(code[1]).text


def approve(engine: Engine, need_id: int, *months: str) -> None:
    """An officer approved the need's line; it pays JKK in these months."""
    with engine.begin() as connection:
        for statement in (
            "UPDATE proposal SET state = 'approved', version = version + 1"
            " WHERE need_id = :need AND state = 'proposed'",
            "UPDATE coverage_need SET state = 'approved', version = version + 1 WHERE id = :need",
        ):
            connection.execute(text(statement), {"need": need_id})
        for month in months:
            connection.execute(
                text(
                    "INSERT INTO funded_month (worker_id, programme, month, proposal_id)"
                    " SELECT n.worker_id, 1, :month, p.id"
                    " FROM proposal p JOIN coverage_need n ON n.id = p.need_id WHERE n.id = :need"
                ),
                {"need": need_id, "month": month},
            )


def sign_in_company(engine: Engine, browser: Browser, funder: str = COMPANY) -> Browser:
    email = f"{uuid.uuid4().hex}@perusahaan.example"
    add_person(engine, email, "company_user", Scope(funder=funder))
    browser.sign_in(email)
    return browser


def test_the_impact_counts_people_by_month_and_place_but_never_few(
    new_browser: Callable[[], Browser], engine: Engine
) -> None:
    funder = "0315678904091000"
    for number in range(6):
        need_id = add_named_need(engine, 3100 + number)
        propose(engine, need_id, f"dampak-{number}", npwp=funder)
        approve(engine, need_id, "2026-12-01", *(["2027-01-01"] if number < 4 else []))
    browser = sign_in_company(engine, new_browser(), funder)
    page = words(browser.get("/company/impact?lang=en").text)
    assert "December 2026 6" in page
    assert "January 2027 &lt; 5" in page, "four people are not counted"
    assert "Work accident insurance" in page and "PP 44/2015" in page
    plot = browser.get("/company/impact/months.svg?lang=en").text
    assert "Dec" in plot and "Jan" not in plot
    other = sign_in_company(engine, new_browser(), OTHER_COMPANY)
    assert "December 2026" not in words(other.get("/company/impact?lang=en").text)
    assert "No worker has approved cover" in words(other.get("/company/impact").text)


def test_messages_are_new_until_this_person_has_read_them(
    new_browser: Callable[[], Browser], engine: Engine
) -> None:
    funder = "0041567892091000"
    apply_fund(engine, pledge("pesan-1", 2_000_000, name="Komitmen Pesan", npwp=funder))
    browser, colleague = (sign_in_company(engine, new_browser(), funder) for _ in range(2))
    page = browser.get("/company/messages?lang=en").text
    assert "1 message is new." in words(page)
    assert "1 message is new." in words(browser.get("/company").text)
    until = re.search(r'name="until" value="([^"]+)"', page)
    assert until
    assert browser.post("/company/messages/read", {"until": until[1]}).status_code == 303
    assert "is new" not in words(browser.get("/company/messages").text)
    assert "1 message is new." in words(colleague.get("/company/messages?lang=en").text)
    request = OfferRequest(
        funder, "PT Pesan", "64.02", None, "Komitmen Kedua", 5_000_000, now().date(), now().date()
    )
    offer_id = offer_pledge(engine, request, "orang@perusahaan.example", now())
    decline_offer(engine, "64.02", offer_id, "petugas@kukar.example", "Belum ada rekening", now())
    page = words(browser.get("/company/messages").text)
    assert "1 message is new." in page and "your offer was declined: Belum ada rekening" in page
    assert "petugas@kukar.example" not in page, "offices speak here, not people"
    assert browser.post("/company/messages/read", {"until": "2999-01-01T00:00:00+00:00"}).status_code == 303
    assert "pesan-1" not in words(sign_in_company(engine, new_browser()).get("/company/messages").text)
