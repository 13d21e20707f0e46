"""The demo's people and funds: well-formed, repeatable, nobody real, and money worth a match."""

from __future__ import annotations

import collections
import datetime as dt

import pytest
from stdnum.id import npwp

from gotong.sample import (
    FAULT_EVERY,
    FAULTS,
    PLEDGES,
    REGENCY,
    SampleWorker,
    demo_year,
    sample_funds,
    sample_workers,
)
from models.event import FundChanged
from models.nik import check_nik, sex_of_nik
from models.region import RegionTable

YEAR = 2027


@pytest.fixture(scope="module")
def workers() -> list[SampleWorker]:
    return list(sample_workers(1, 0, 20_000, YEAR))


def test_the_same_seed_and_number_give_the_same_worker(workers: list[SampleWorker]) -> None:
    assert list(sample_workers(1, 700, 5, YEAR)) == workers[700:705]
    assert list(sample_workers(2, 700, 5, YEAR)) != workers[700:705]


def test_every_nik_is_possible_its_own_and_in_the_synthetic_range(workers: list[SampleWorker]) -> None:
    regions = RegionTable.load()
    for worker in workers:
        check_nik(worker.nik, regions)
        assert sex_of_nik(worker.nik) == worker.sex
    assert len({worker.nik for worker in workers}) == len(workers)
    assert min(worker.nik[12:] for worker in workers) >= "9000"


def test_one_event_in_ninety_is_faulty_and_every_kind_occurs(workers: list[SampleWorker]) -> None:
    faults = collections.Counter(worker.fault for worker in workers if worker.fault)
    assert set(faults) == set(FAULTS)
    assert sum(faults.values()) == len(workers) // FAULT_EVERY


def test_good_workers_live_in_known_villages_of_the_regency(workers: list[SampleWorker]) -> None:
    regions = RegionTable.load()
    good = [worker for worker in workers if worker.fault != "unknown_village"]
    assert all(regions.is_village(worker.village) for worker in good)
    assert {worker.village[:5] for worker in good} == {REGENCY}
    assert {worker.village[:8] for worker in good} == {
        region.code for region in regions.inside(REGENCY, "district")
    }


def test_funds_are_valid_events_of_the_agreed_size() -> None:
    funds = sample_funds(1, YEAR)
    assert len(funds.pledges) == PLEDGES
    assert len(funds.budgets) == 4
    assert sum(line.ceiling_rupiah for line in funds.budgets) == 10_000_000_000
    amounts = [pledge.amount_rupiah for pledge in funds.pledges]
    assert max(amounts) == 2_000_000_000
    assert min(amounts) >= 20_000_000
    assert all(npwp.is_valid(pledge.npwp) for pledge in funds.pledges)
    every: list[FundChanged] = [*funds.pledges, *funds.budgets]
    assert len({fund.fund_id for fund in every}) == 64
    regions = RegionTable.load()
    assert all(regions.known(code) for fund in every for code in fund.rules.regions)


def test_companies_say_that_they_are_examples() -> None:
    assert all("Contoh" in pledge.funder for pledge in sample_funds(1, YEAR).pledges)


def test_the_demo_plans_a_year_that_no_window_ends_in_meanwhile() -> None:
    assert demo_year(dt.date(2026, 12, 31)) == 2027
