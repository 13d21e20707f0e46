"""Numbers, money and times as a reader of each language expects them."""

from __future__ import annotations

import datetime as dt

import pytest

from portal.words import Words, choose_language

INDONESIAN, ENGLISH = Words("id", "Asia/Makassar"), Words("en", "Asia/Makassar")
SPACE = "\N{NO-BREAK SPACE}"


def test_numbers_follow_the_language() -> None:
    assert INDONESIAN.whole(9_880) == "9.880"
    assert ENGLISH.whole(9_880) == "9,880"


def test_rupiah_are_whole_and_exact() -> None:
    assert INDONESIAN.rupiah(1_720_000_001) == f"Rp{SPACE}1.720.000.001"
    assert ENGLISH.rupiah(1_720_000_001) == f"Rp{SPACE}1,720,000,001"


def test_rupiah_at_a_glance() -> None:
    assert INDONESIAN.short_rupiah(1_720_000_001) == f"Rp{SPACE}1,72{SPACE}miliar"
    assert INDONESIAN.short_rupiah(43_200_000) == f"Rp{SPACE}43{SPACE}juta"
    assert ENGLISH.short_rupiah(1_720_000_001) == f"Rp{SPACE}1.72{SPACE}billion"
    assert INDONESIAN.short_rupiah(201_600) == f"Rp{SPACE}201.600"


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(0.0, "0 %"), (0.004, "< 1 %"), (0.734, "73 %"), (0.995, "99 %"), (0.9999, "99 %"), (1.0, "100 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(ratio: float, shown: str) -> None:
    assert INDONESIAN.share(ratio) == shown


@pytest.mark.parametrize(
    ("gap", "shown"), [(0.0003, "0,03 %"), (0.00031, "0,04 %"), (0.0000001, "0,01 %"), (0.1, "10,00 %")]
)
def test_a_gap_is_rounded_up(gap: float, shown: str) -> None:
    assert INDONESIAN.gap(gap) == shown


def test_times_are_the_regencys_own() -> None:
    moment = dt.datetime(2026, 11, 23, 20, 4, 5, tzinfo=dt.UTC)
    assert INDONESIAN.moment(moment) == "24 Nov 2026 04.04.05 WITA"
    assert ENGLISH.moment(moment) == "24 Nov 2026 04:04:05 WITA"
    assert INDONESIAN.minute(moment) == "24 Nov 2026 04.04\N{NO-BREAK SPACE}WITA"


@pytest.mark.parametrize(
    ("asked", "remembered", "language"),
    [("en", "id", "en"), (None, "en", "en"), (None, None, "id"), ("fr", "en", "en"), ("fr", "de", "id")],
)
def test_the_language_asked_for_comes_before_the_remembered_one(
    asked: str | None, remembered: str | None, language: str
) -> None:
    assert choose_language(asked, remembered, "id") == language
