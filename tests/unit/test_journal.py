"""The journal's guards: what a fund may and may not do with its money."""

from __future__ import annotations

import datetime as dt
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.journal import (
    CHAIN_START,
    ENTRY_KINDS,
    Balances,
    Cause,
    OverdrawnError,
    chain_entry,
    fold_entries,
)


def test_a_rupiah_goes_from_pledge_to_disbursement() -> None:
    balances = fold_entries(
        [("pledge", 100), ("reserve", 60), ("post", 60), ("disburse", 40), ("refund", 20)]
    )
    assert balances == Balances(pledged_rupiah=100, disbursed_rupiah=40)
    assert balances.available_rupiah == 60


@pytest.mark.parametrize(
    "entries",
    [
        [("pledge", 100), ("reserve", 101)],
        [("pledge", 100), ("reserve", 60), ("reduce", 50)],
        [("pledge", 100), ("reserve", 60), ("release", 61)],
        [("pledge", 100), ("post", 1)],
        [("pledge", 100), ("disburse", 1)],
        [("pledge", 100), ("reserve", 50), ("expire", 51)],
        [("reserve", 1)],
    ],
)
def test_what_is_not_covered_is_refused(entries: list[tuple[str, int]]) -> None:
    with pytest.raises(OverdrawnError):
        fold_entries(entries)


@pytest.mark.parametrize("amount", [0, -1])
def test_an_entry_moves_a_positive_amount(amount: int) -> None:
    with pytest.raises(ValueError, match="positive amount"):
        Balances().after("pledge", amount)


@given(st.lists(st.tuples(st.sampled_from(ENTRY_KINDS), st.integers(1, 1000)), max_size=60))
def test_whatever_is_tried_the_buckets_stay_within_the_pledge(attempts: list[tuple[str, int]]) -> None:
    balances = Balances()
    for kind, amount in attempts:
        try:
            balances = balances.after(kind, amount)
        except OverdrawnError:
            continue
    assert 0 <= balances.available_rupiah <= balances.pledged_rupiah


def test_each_field_is_sealed_by_the_hash() -> None:
    entry = {
        "fund_code": "csr-1",
        "number": 1,
        "kind": "pledge",
        "amount_rupiah": 100,
        "cause": Cause("run", uuid.UUID(int=1)),
        "recorded_at": dt.datetime(2026, 11, 2, tzinfo=dt.UTC),
    }
    other = {
        "fund_code": "csr-2",
        "number": 2,
        "kind": "top_up",
        "amount_rupiah": 101,
        "cause": Cause("run", uuid.UUID(int=2)),
        "recorded_at": dt.datetime(2026, 11, 2, 0, 0, 0, 1, tzinfo=dt.UTC),
    }
    sealed = chain_entry(CHAIN_START, **entry)  # type: ignore[arg-type]
    assert sealed != chain_entry(b"\1" * 32, **entry)  # type: ignore[arg-type]
    for field, value in other.items():
        assert sealed != chain_entry(CHAIN_START, **entry | {field: value}), field  # type: ignore[arg-type]


def test_the_hash_does_not_depend_on_the_time_zone_it_is_written_in() -> None:
    wita = dt.timezone(dt.timedelta(hours=8))
    moment = dt.datetime(2026, 11, 2, 1, tzinfo=dt.UTC)
    fields = {
        "fund_code": "f",
        "number": 1,
        "kind": "pledge",
        "amount_rupiah": 1,
        "cause": Cause("run", uuid.UUID(int=1)),
    }
    assert chain_entry(CHAIN_START, **fields, recorded_at=moment) == chain_entry(  # type: ignore[arg-type]
        CHAIN_START,
        **fields,  # type: ignore[arg-type]
        recorded_at=moment.astimezone(wita),
    )
