"""Funds: the list filters, sorts and exports; a fund's page shows its rules, journal and seals."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from models.event import PledgeChanged
from tests.builders import apply_fund, budget, pledge
from tests.integration.portal.site import Browser, add_person, sign_in_wholly, words


@pytest.fixture(scope="module")
def seeded(engine: Engine) -> Engine:
    rules = {"regions": ["64.02.05"], "occupations": ["nelayan"], "programmes": ["JKK"], "age_to": 60}
    apply_fund(engine, pledge("csr-1", 10_000_000, name="=HYPERLINK(1)", rules=rules))
    apply_fund(engine, pledge("csr-1", 12_000_000, revision=2, name="=HYPERLINK(1)", rules=rules))
    apply_fund(engine, budget("apbd-1", 5_000_000))
    return engine


@pytest.fixture(scope="module")
def officer(seeded: Engine, url: str) -> Browser:
    browser = Browser(url, "10.7.1.1")
    account = add_person(seeded, "dana@kantor.example", "officer")
    sign_in_wholly(browser, seeded, "dana@kantor.example", account)
    return browser


def test_the_list_filters_sorts_and_searches(officer: Browser) -> None:
    page = officer.get("/funds?sort=-pledged&lang=id").text
    assert page.index("csr-1") < page.index("apbd-1")
    assert "apbd-1" not in officer.get("/funds?kind=csr").text
    assert "csr-1" not in officer.get("/funds?q=Pos").text
    assert "Tidak ada dana yang cocok" in officer.get("/funds?q=zzz").text


def test_the_export_obeys_the_filter_and_quotes_formulas(officer: Browser) -> None:
    table = officer.get("/funds.csv?kind=csr").text
    assert "csr-1,'=HYPERLINK(1)" in table
    assert "apbd-1" not in table
    assert officer.get("/funds.xlsx").content.startswith(b"PK")


def test_the_page_tells_the_rules_in_words(officer: Browser) -> None:
    page = words(officer.get("/funds/csr-1?lang=id").text)
    for rule in ("Pekerja di: Muara Badak", "Pekerjaan: nelayan", "Program: JKK", "Paling tua 60 tahun"):
        assert rule in page
    assert "Rp 12.000.000" in page


def test_the_journal_is_paged_by_number(officer: Browser) -> None:
    assert "Ditambah" in words(officer.get("/funds/csr-1?lang=id").text)
    older = words(officer.get("/funds/csr-1?before=2&lang=id").text)
    assert "Komitmen dibuat" in older
    assert "Ditambah" not in older


def test_a_broken_seal_is_named(officer: Browser, engine: Engine) -> None:
    assert "utuh" in words(officer.get("/funds/csr-1/chain?lang=id").text)
    change = text("UPDATE journal_entry SET amount_rupiah = amount_rupiah + :more WHERE number = 2")
    for more, said in ((1, "Segel putus pada entri 2"), (-1, "utuh")):
        with engine.begin() as connection:
            connection.execute(text("ALTER TABLE journal_entry DISABLE TRIGGER journal_entry_append_only"))
            connection.execute(change, {"more": more})
            connection.execute(text("ALTER TABLE journal_entry ENABLE TRIGGER journal_entry_append_only"))
        assert said in words(officer.get("/funds/csr-1/chain?lang=id").text)


def test_a_change_leaves_as_the_funds_next_event(officer: Browser, engine: Engine) -> None:
    apply_fund(engine, pledge("csr-ubah", 1_000_000))
    form = {"revision": "1", "amount_rupiah": "2.000.000", "occupations": "nelayan, petani"}
    assert officer.post("/funds/csr-ubah/edit", form).status_code == 303
    with engine.connect() as connection:
        sent = connection.execute(
            text("SELECT value, intake FROM outbox_message WHERE key = 'csr-ubah'")
        ).one()
        record = connection.scalar(text("SELECT actor FROM audit_record WHERE subject = 'csr-ubah'"))
    change = PledgeChanged.model_validate_json(sent.value)
    assert (change.revision, change.amount_rupiah, sent.intake) == (2, 2_000_000, True)
    assert change.rules.occupations == ("nelayan", "petani")
    assert record == "dana@kantor.example"
    again = officer.post("/funds/csr-ubah/edit?lang=id", {"revision": "1", "amount_rupiah": "3000000"})
    assert again.status_code == 422
    assert "Perubahan lain" in words(again.text)


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"amount_rupiah": "seribu"}, "Tidak terisi sebagaimana mestinya: Komitmen"),
        ({"window_to": "2025-01"}, "mendahului"),
        ({"regions": "64.02.99"}, "tidak ada dalam tabel wilayah"),
        ({"amount_rupiah": "10"}, "sudah terikat"),
        ({}, "Tidak ada yang berbeda"),
    ],
)
def test_a_refusal_is_told_in_words_and_nothing_leaves(
    officer: Browser, engine: Engine, form: dict[str, str], said: str
) -> None:
    apply_fund(engine, pledge("csr-tolak", 1_000_000))
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET committed_rupiah = 100 WHERE code = 'csr-tolak'"))
    answer = officer.post("/funds/csr-tolak/edit?lang=id", {"revision": "1"} | form)
    assert answer.status_code == 422
    assert said in words(answer.text)
    with engine.connect() as connection:
        assert (
            connection.scalar(text("SELECT count(*) FROM outbox_message WHERE key = 'csr-tolak' AND intake"))
            == 0
        )


def test_totals_are_told_with_and_without_what_is_only_reserved(officer: Browser, engine: Engine) -> None:
    apply_fund(engine, pledge("csr-jumlah", 7_000_000, name="Komitmen Jumlah"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET reserved_rupiah = 2000000 WHERE code = 'csr-jumlah'"))
    said = words(officer.get("/funds?q=csr-jumlah&lang=id").text)
    assert "1 dana Rp 7 juta Rp 5 juta Rp 2 juta" in said
    assert "Seandainya semua usulan terbuka ditolak Rp 7 juta" in said


def test_a_funds_burn_down_is_a_picture_and_a_table(officer: Browser) -> None:
    page = words(officer.get("/funds/csr-1?lang=id").text)
    assert "Sisa uang sampai masa berlaku berakhir" in page
    assert "masa berlaku telah berakhir" in page or "1 Jan 2028" in page
    picture = officer.get("/funds/csr-1/burn-down.svg?lang=id")
    assert picture.headers["content-type"].startswith("image/svg")
    assert "TJSLP" in picture.text
