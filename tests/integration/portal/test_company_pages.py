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
from tests.integration.portal.site import OTHER_COMPANY, Browser, add_person
from tests.integration.portal.test_village_page import NAME, NIK, add_named_need, propose
from workflow.account import Scope
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
