"""Tariffs, against the figures of the field (see the laws named in the table)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.programme import Programme, bundle_of_mask, parse_bundle
from models.tariff import (
    FundCostKey,
    Payer,
    TariffError,
    WorkerCostKey,
    build_table,
    default_table,
    override_table,
    parse_month,
    parse_rows,
    round_half_up,
    sector_of_occupation,
    write_month,
)

CSR = FundCostKey(Payer.CSR)
APBD = FundCostKey(Payer.APBD)
CSR_DISCOUNTED = FundCostKey(Payer.CSR, switches=frozenset({"pp50_csr"}))
APBD_DISCOUNTED = FundCostKey(Payer.APBD, switches=frozenset({"pp50_csr"}))


def cost(bundle: str, months: int, start: str, fund: FundCostKey, sector: str = "") -> int:
    key = WorkerCostKey(parse_bundle(bundle), months, parse_month(start), sector)
    return default_table().bundle_cost_rupiah(key, fund)


@pytest.mark.parametrize(
    ("programme", "payer", "monthly_rupiah"),
    [
        ("JKK", CSR, 10_000),
        ("JKM", CSR, 6_800),
        ("JHT", CSR, 20_000),
        ("JKN", CSR, 35_000),
        ("JKK", APBD, 10_000),
        ("JKM", APBD, 6_800),
        ("JHT", APBD, 20_000),
        ("JKN", APBD, 42_000),
    ],
)
def test_the_offline_contracts_defaults(programme: str, payer: FundCostKey, monthly_rupiah: int) -> None:
    for start in ("2021-01", "2026-06", "2040-12"):
        assert cost(programme, 1, start, payer) == monthly_rupiah


def test_a_year_for_the_regencys_covered_workers_is_the_published_sum() -> None:
    assert 48_729 * cost("JKK+JKM", 12, "2025-01", APBD) == 9_823_766_400


def test_a_transport_worker_of_a_discounted_pledge_pays_half_until_march_2027() -> None:
    assert cost("JKK+JKM", 1, "2027-03", CSR_DISCOUNTED, "transport") == 8_400
    assert cost("JKK+JKM", 1, "2027-04", CSR_DISCOUNTED, "transport") == 16_800
    # Two months at half, two at full price: months are priced one by one.
    assert cost("JKK+JKM", 4, "2027-02", CSR_DISCOUNTED, "transport") == 2 * 8_400 + 2 * 16_800


def test_other_workers_have_the_discount_from_april_to_december_2026() -> None:
    assert cost("JKK+JKM", 1, "2026-03", CSR_DISCOUNTED) == 16_800
    assert cost("JKK+JKM", 9, "2026-04", CSR_DISCOUNTED) == 9 * 8_400
    assert cost("JKK+JKM", 1, "2027-01", CSR_DISCOUNTED) == 16_800


def test_the_discount_is_never_for_apbd_nor_for_a_pledge_without_the_switch() -> None:
    for start in ("2026-05", "2027-02"):
        assert cost("JKK+JKM", 1, start, APBD_DISCOUNTED, "transport") == 16_800
        assert cost("JKK+JKM", 1, start, CSR, "transport") == 16_800


def test_old_age_and_health_have_no_discount() -> None:
    assert cost("JHT", 1, "2026-05", CSR_DISCOUNTED, "transport") == 20_000
    assert cost("JKN", 1, "2026-05", CSR_DISCOUNTED, "transport") == 35_000
    fund = FundCostKey(Payer.CSR, discount=Fraction(1))
    assert cost("JKK+JKM+JHT+JKN", 1, "2026-05", fund) == 55_000


def test_a_larger_income_base_costs_more_up_to_the_ceiling() -> None:
    def jkk(base_rupiah: int) -> int:
        return default_table().monthly_cost_rupiah(
            Programme.JKK, parse_month("2026-01"), CSR, base_rupiah=base_rupiah
        )

    assert [jkk(base) for base in (1, 1_000_000, 2_500_050, 99_000_000)] == [10_000, 10_000, 25_001, 207_000]


def test_unverified_health_prices_wait_behind_a_switch() -> None:
    assert cost("JKN", 1, "2026-01", FundCostKey(Payer.CSR, switches=frozenset({"jkn_csr_full"}))) == 42_000
    assert (
        cost("JKN", 1, "2026-01", FundCostKey(Payer.APBD, switches=frozenset({"jkn_apbd_share"}))) == 35_000
    )
    assert default_table().switches == {"pp50_csr", "jkn_csr_full", "jkn_apbd_share"}


def test_every_shipped_row_names_its_law_and_how_far_it_is_verified() -> None:
    for row in default_table().rows:
        assert row.law and row.mark in ("v", "n", "u")


@pytest.mark.parametrize(
    ("discount", "jkk", "jkm"),
    # 10,000 x 0.99995 = 9,999.5 and 6,800 x 0.99995 = 6,799.66; the half goes up.
    [
        ("0.00005", 10_000, 6_800),
        ("0.333", 6_670, 4_536),
        ("0.5", 5_000, 3_400),
        ("1", 0, 0),
        ("0", 10_000, 6_800),
    ],
)
def test_a_fund_discount_is_rounded_half_up_per_programme_and_month(
    discount: str, jkk: int, jkm: int
) -> None:
    fund = FundCostKey(Payer.CSR, discount=Fraction(discount))
    assert cost("JKK", 1, "2026-01", fund) == jkk
    assert cost("JKM", 1, "2026-01", fund) == jkm
    assert cost("JKK+JKM", 7, "2026-01", fund) == 7 * (jkk + jkm)


@given(st.fractions(min_value=0, max_value=10**9))
def test_rounding_is_to_the_nearest_and_a_half_goes_up(amount: Fraction) -> None:
    rounded = round_half_up(amount)
    assert -Fraction(1, 2) < rounded - amount <= Fraction(1, 2)


KEYS = st.builds(
    WorkerCostKey,
    bundle=st.integers(1, 15).map(bundle_of_mask),
    months=st.integers(1, 12),
    start_month=st.integers(parse_month("2025-06"), parse_month("2027-06")),
    sector=st.sampled_from(["", "transport"]),
    base_rupiah=st.sampled_from([1_000_000, 3_333_333]),
)
FUNDS = st.builds(
    FundCostKey,
    payer=st.sampled_from(list(Payer)),
    discount=st.sampled_from([Fraction(0), Fraction("0.123"), Fraction(1, 2)]),
    switches=st.sampled_from([frozenset(), frozenset({"pp50_csr"})]),
)


@given(st.lists(KEYS, max_size=6), st.lists(FUNDS, max_size=4))
def test_the_cost_matrix_says_what_pricing_one_by_one_says(
    workers: list[WorkerCostKey], funds: list[FundCostKey]
) -> None:
    matrix = default_table().cost_matrix(workers, funds)
    assert matrix.shape == (len(workers), len(funds)) and matrix.dtype == np.int64
    for row, worker in enumerate(workers):
        for column, fund in enumerate(funds):
            assert matrix[row, column] == default_table().bundle_cost_rupiah(worker, fund)


def table_of(*lines: str) -> str:
    return "\n".join(["programme,payer,sector,valid_from,valid_to,monthly_rupiah", *lines]) + "\n"


COMPLETE = ("JKK,,,,,10000", "JKM,,,,,6800", "JHT,,,,,20000")


def test_two_rows_for_one_month_are_refused() -> None:
    rows = parse_rows(table_of(*COMPLETE, "JKN,,,2020-01,2021-06,1", "JKN,,,2021-06,,2"))
    with pytest.raises(TariffError, match=r"row 6: JKN .* overlaps row 5 from 2021-06"):
        build_table(rows)


def test_a_month_without_a_price_between_two_with_one_is_refused() -> None:
    rows = parse_rows(table_of(*COMPLETE, "JKN,,,2020-01,2021-06,1", "JKN,,,2021-08,,2"))
    with pytest.raises(TariffError, match="JKN paid by csr has no price from 2021-07 to 2021-07"):
        build_table(rows)


def test_a_programme_without_any_price_is_refused() -> None:
    with pytest.raises(TariffError, match="no row prices JKN paid by apbd"):
        build_table(parse_rows(table_of(*COMPLETE, "JKN,csr,,,,35000")))


def test_a_month_before_the_table_begins_has_no_price() -> None:
    with pytest.raises(TariffError, match="no tariff for JKN paid by csr in 2019-12"):
        cost("JKN", 2, "2019-12", CSR)


def test_a_tariff_file_replaces_what_it_names_and_leaves_the_rest() -> None:
    rows = parse_rows("programme;payer;monthly_rupiah\r\nJKN;csr;42000\r\nJKM;;7000\r\n")
    table = override_table(default_table(), rows)

    def monthly(programme: str, fund: FundCostKey) -> int:
        key = WorkerCostKey(parse_bundle(programme), 1, parse_month("2026-05"), "transport")
        return table.bundle_cost_rupiah(key, fund)

    assert monthly("JKN", CSR) == 42_000
    assert monthly("JKN", APBD) == 42_000
    assert monthly("JKM", CSR) == monthly("JKM", APBD) == 7_000
    assert monthly("JKM", CSR_DISCOUNTED) == 7_000  # its discount rows were the old table's
    assert monthly("JKK", CSR_DISCOUNTED) == 5_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a header"),
        ("programme,price\nJKK,1\n", "expected a header"),
        (table_of("JKP,,,,,1"), "row 2, programme: 'JKP'"),
        (table_of("JKK,pemda,,,,1"), "row 2, payer: 'pemda'"),
        (table_of("JKK,,,,,0"), "row 2, monthly_rupiah: '0'"),
        (table_of("JKK,,,,,10.5"), "row 2, monthly_rupiah: '10.5'"),
        (table_of("JKK,,,,,"), "either monthly_rupiah or percent_of_base"),
        (table_of("JKK,,,2026-13,,1"), "row 2, valid_from: '2026-13'"),
        (table_of("JKK,,,2026-05,2026-04,1"), "row 2, valid_to"),
        (table_of("JKK,,,,"), "row 2: expected 6 cells"),
        (table_of("JKK,,Transport,,,1"), "row 2, sector: 'Transport'"),
        ("programme,monthly_rupiah,discount_percent\nJKK,1,101\n", "row 2, discount_percent: '101'"),
    ],
)
def test_a_wrong_tariff_file_is_refused_by_row_and_column(text: str, words: str) -> None:
    with pytest.raises(TariffError, match=words.replace("(", r"\(")):
        parse_rows(text)


def test_every_fault_of_a_tariff_file_is_named() -> None:
    with pytest.raises(TariffError) as caught:
        parse_rows(table_of("JKP,,,,,1", "JKK,,,,,x", "JKK,,,,,1"))
    assert len(caught.value.problems) == 2


def test_months_are_written_as_they_are_read() -> None:
    assert write_month(parse_month("2027-12")) == "2027-12"
    for text in ("2027-00", "2027-13", "27-01", "2027-1", "2027-01-01"):
        with pytest.raises(ValueError, match="month"):
            parse_month(text)


def test_only_transport_occupations_have_a_sector_of_their_own() -> None:
    assert sector_of_occupation("driver") == "transport"
    assert sector_of_occupation("fisher") == ""
