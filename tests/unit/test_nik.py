"""Which NIK can be real: digits, place, district and birth date."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.id import nik as stdnum_nik

from models.nik import NikError, born_in_year, check_nik, sex_of_nik
from models.region import Region, RegionTable

REGIONS = RegionTable.load()


@pytest.mark.parametrize(
    "nik",
    [
        "6402051708800001",
        "6402055708800001",  # a woman
        "3171011708450001",  # issued in Jakarta, whose districts are not in the table
        "6402052902000001",  # 29 February 2000
        "6402052902040001",  # 29 February 2004 or 1904
        "6501011708800001",  # Bulungan, a regency that python-stdnum does not list yet
        "6473011708800001",  # Tarakan, as it was numbered before 2012
    ],
)
def test_a_possible_nik_is_accepted(nik: str) -> None:
    check_nik(nik, REGIONS)


@pytest.mark.parametrize(
    ("nik", "why"),
    [
        ("", "16 digits"),
        ("640205170880001", "16 digits"),
        ("64020517088000011", "16 digits"),
        ("640205170880000a", "16 digits"),
        ("٦٤٠٢٠٥١٧٠٨٨٠٠٠٠١", "16 digits"),
        ("9902051708800001", "no regency"),
        ("6402991708900001", "no district"),
        ("6402053002800001", "no birth date"),
        ("6402050008800001", "no birth date"),
        ("6402054008800001", "no birth date"),
        ("6402051713800001", "no birth date"),
        ("6402057208800001", "no birth date"),
        ("6402058108800001", "no birth date"),  # python-stdnum takes day 81 for the 1st
        ("6402052902010001", "no birth date"),
    ],
)
def test_an_impossible_nik_is_refused_with_the_reason_and_without_the_number(nik: str, why: str) -> None:
    with pytest.raises(NikError, match=why) as refused:
        check_nik(nik, REGIONS)
    assert not nik or nik not in str(refused.value)


def test_a_district_that_was_renumbered_still_issued_valid_nik() -> None:
    regions = [
        Region("64.02", "Kutai Kartanegara", "regency", "64"),
        Region("64.02.05", "X", "district", "64.02"),
    ]
    with pytest.raises(NikError, match="no district"):
        check_nik("6402991708800001", RegionTable(regions))
    check_nik("6402991708800001", RegionTable(regions, former_districts=["64.02.99"]))


@given(st.dates(dt.date(1930, 1, 1), dt.date(2025, 12, 31)), st.booleans(), st.integers(1, 9999))
def test_every_birth_date_makes_a_nik_that_the_library_accepts_too(
    born: dt.date, woman: bool, serial: int
) -> None:
    nik = f"640205{born.day + 40 * woman:02d}{born.month:02d}{born.year % 100:02d}{serial:04d}"
    check_nik(nik, REGIONS)
    assert stdnum_nik.is_valid(nik)
    assert sex_of_nik(nik) == ("P" if woman else "L")
    assert born_in_year(nik, born.year) and not born_in_year(nik, born.year + 1)


@given(st.from_regex(r"\A[0-9]{16}\Z"))
def test_what_the_library_refuses_is_refused_save_for_places_it_lacks(nik: str) -> None:
    if not stdnum_nik.is_valid(nik) and not REGIONS.is_nik_place(f"{nik[:2]}.{nik[2:4]}"):
        with pytest.raises(NikError):
            check_nik(nik, REGIONS)
