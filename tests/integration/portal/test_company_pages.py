"""A company's pages: own money and people without names, and never a group that points at somebody."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.builders import apply_fund, pledge
from tests.integration.portal.site import OTHER_COMPANY, Browser, add_person
from tests.integration.portal.test_village_page import NAME, NIK, add_named_need, propose
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
