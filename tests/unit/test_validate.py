"""Each way an event can be wrong has its own reason, and no detail repeats what may be personal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.message import EventEnvelope, Refusal
from models.reason import REASONS
from models.vault import Vault, encode_base64
from tests.builders import budget, pledge
from tests.event_builders import CONTEXT, NOW, VAULT, envelope, nik_of, worker_data
from workflow.context import IntakeContext
from workflow.validate import FundReport, WorkerReport, validate_funds, validate_workers

NIK = nik_of(1)
STRANGER = Vault(bytes([9]) * 32)


def judge(event: EventEnvelope) -> WorkerReport | Refusal:
    (result,) = validate_workers(CONTEXT, [event])
    return result


def worker(**changes: Any) -> EventEnvelope:
    return envelope(worker_data(1, **changes))


def test_a_right_event_becomes_a_report() -> None:
    report = judge(envelope(worker_data(1), event_id="e-1"))
    assert isinstance(report, WorkerReport)
    assert report.nik_hash == VAULT.hash_nik(NIK)
    assert (report.programmes, report.start, report.end) == (3, 2026 * 12 + 11, 2027 * 12 + 2)


def _other_key_id() -> dict[str, Any]:
    return {"nik_key_id": STRANGER.key_id}


def _name_of_another() -> dict[str, Any]:
    return {"name_encrypted": VAULT.seal_worker(nik_of(2), "Orang Lain")["name_encrypted"]}


BAD_WORKERS: dict[str, tuple[EventEnvelope, str, str]] = {
    "a NIK of fifteen digits": (worker(nik=NIK[:15]), "nik_invalid", "nik: a NIK has 16 digits"),
    "a NIK of a district that is none": (
        worker(nik="6402991708900001"),
        "nik_invalid",
        "nik: its first six digits are no district",
    ),
    "a NIK with an impossible birth date": (
        worker(nik="6402053002800001"),
        "nik_invalid",
        "nik: digits 7 to 12 are no birth date",
    ),
    "the hash of another NIK": (
        worker(nik_hash=VAULT.hash_nik(nik_of(2)).hex(), name=None),
        "nik_hash_mismatch",
        "nik_hash: is not the hash of the encrypted NIK",
    ),
    "a NIK sealed with an unknown key": (
        worker(**STRANGER.seal_worker(NIK)),
        "nik_undecryptable",
        "nik_encrypted: sealed with a key that is not in the ring",
    ),
    "a NIK whose ciphertext was changed": (
        worker(nik_encrypted=encode_base64(VAULT.encrypt(NIK.encode(), "nik")[:-1] + b"x")),
        "nik_undecryptable",
        "nik_encrypted: changed after sealing, or sealed for another purpose",
    ),
    "a key id that did not seal": (
        worker(**_other_key_id()),
        "nik_undecryptable",
        "nik_key_id: is not the key that sealed the NIK",
    ),
    "the name of another worker": (
        worker(**_name_of_another()),
        "name_undecryptable",
        "name_encrypted: changed after sealing, or sealed for another purpose",
    ),
    "a plain NIK in a field of its own": (
        envelope(worker_data(1) | {"nik": NIK}),
        "plain_nik_in_event",
        "an unknown field holds a NIK; send it sealed",
    ),
    "a plain NIK in an unknown field": (
        envelope(worker_data(1) | {"nomor": NIK}),
        "plain_nik_in_event",
        "an unknown field holds a NIK; send it sealed",
    ),
    "a plain NIK where the encrypted one belongs": (
        worker(nik_encrypted=NIK),
        "plain_nik_in_event",
        "nik_encrypted: holds a NIK that is not encrypted",
    ),
    "a plain NIK as a number": (
        worker(nik_encrypted=int(NIK)),
        "plain_nik_in_event",
        "nik_encrypted: holds a NIK that is not encrypted",
    ),
    "a plain NIK as the event's id": (
        envelope(worker_data(1), event_id=f"registry-{NIK}"),
        "plain_nik_in_event",
        "id: holds a NIK",
    ),
    "a plain NIK in the source": (
        envelope(worker_data(1), source=f"/worker/{NIK}"),
        "plain_nik_in_event",
        "source: holds a NIK",
    ),
    "an unknown village": (
        worker(village="64.02.05.9999"),
        "village_unknown",
        "village: 64.02.05.9999 is not in the region table",
    ),
    "no months": (worker(months=0), "months_out_of_range", "months: must be a whole number from 1 to 12"),
    "thirteen months": (
        worker(months=13),
        "months_out_of_range",
        "months: must be a whole number from 1 to 12",
    ),
    "half a month": (
        worker(months=1.5),
        "months_out_of_range",
        "months: must be a whole number from 1 to 12",
    ),
    "months as text": (
        worker(months="3"),
        "months_out_of_range",
        "months: must be a whole number from 1 to 12",
    ),
    "months left out": (worker(months=...), "schema_violation", "months: missing"),
    "a month that is none": (
        worker(start_month="2026-13"),
        "schema_violation",
        "start_month: String should match pattern '^20[0-9]{2}-(0[1-9]|1[0-2])$'",
    ),
    "a start long ago": (
        worker(start_month="2025-10"),
        "start_month_implausible",
        "start_month: more than 12 months before or 24 after the event's time",
    ),
    "a start in the distant future": (
        worker(start_month="2028-12"),
        "start_month_implausible",
        "start_month: more than 12 months before or 24 after the event's time",
    ),
    "a time in the future": (
        envelope(worker_data(1), time=NOW + dt.timedelta(days=2)),
        "time_in_future",
        "time: more than a day ahead of the receiver's clock",
    ),
    "a programme that is none": (
        worker(programmes=["JKK", "JKP"]),
        "programme_unknown",
        "programmes: must be of JKK, JKM, JHT, JKN",
    ),
    "a programme twice": (
        worker(programmes=["JKK", "JKK"]),
        "schema_violation",
        "programmes: Value error, names a programme twice",
    ),
    "no programme": (
        worker(programmes=[]),
        "schema_violation",
        "programmes: Tuple should have at least 1 item after validation, not 0",
    ),
    "a negative base": (
        worker(declared_base_rupiah=-1),
        "amount_negative",
        "declared_base_rupiah: below zero",
    ),
    "a fractional base": (
        worker(declared_base_rupiah=1_000_000.5),
        "amount_fractional",
        "declared_base_rupiah: must be a whole number of rupiah, written without a point",
    ),
    "a base beyond every reader's integers": (
        worker(declared_base_rupiah=2**53),
        "amount_too_large",
        "declared_base_rupiah: above 9007199254740991",
    ),
    "an unknown field": (envelope(worker_data(1) | {"alamat": "x"}), "schema_violation", "alamat: unknown"),
    "an unknown field that tells too much": (
        envelope(worker_data(1) | {f"of {NIK}": "x"}),
        "schema_violation",
        "a field: unknown",
    ),
    "data that is a list": (envelope(b"[]"), "schema_violation", "data: Input should be an object"),
    "data that is not JSON": (envelope(b"{"), "malformed_json", "data: not JSON"),
    "another type": (
        envelope(worker_data(1), event_type="coverage.worker-enrolled.v1"),
        "unknown_type",
        "this topic carries coverage.worker-uncovered.v1",
    ),
    "another version": (
        envelope(worker_data(1), event_type="coverage.worker-uncovered.v2"),
        "wrong_schema_version",
        "this topic carries coverage.worker-uncovered.v1",
    ),
}


@pytest.mark.parametrize("case", BAD_WORKERS)
def test_a_wrong_worker_event_is_refused_with_its_reason(case: str) -> None:
    event, reason, detail = BAD_WORKERS[case]
    refusal = judge(event)
    assert isinstance(refusal, Refusal)
    assert (refusal.reason, refusal.detail) == (reason, detail)
    assert reason in REASONS
    assert NIK not in refusal.detail
    assert refusal.event_key == event.key


def test_one_wrong_event_leaves_its_neighbours_alone() -> None:
    results = validate_workers(CONTEXT, [worker(), worker(months=0), worker()])
    assert [isinstance(result, WorkerReport) for result in results] == [True, False, True]


def test_a_surprise_in_a_check_is_a_refusal_not_a_crash() -> None:
    naive = replace(worker(), time=dt.datetime(2026, 1, 1))  # noqa: DTZ001 - the surprise
    refusal = judge(naive)
    assert isinstance(refusal, Refusal) and refusal.reason == "internal_error"


def test_ids_that_only_look_like_numbers_are_accepted() -> None:
    for event_id in ("1763880000000000", "20261102010000", "6402051708800001999"):
        assert isinstance(judge(envelope(worker_data(1), event_id=event_id)), WorkerReport), event_id


def test_what_differs_from_the_nik_is_accepted_because_a_nik_outlives_corrections() -> None:
    assert isinstance(judge(worker(sex="P", birth_year=1979)), WorkerReport)


FACTS: dict[str, Any] = {
    "name": "Orang Lain",
    "village": "64.02.06.1001",
    "occupation": "petani",
    "sex": "P",
    "birth_year": 1981,
    "programmes": ["JKK"],
    "months": 4,
    "start_month": "2027-01",
    "priority": 51,
    "declared_base_rupiah": 1_500_000,
    "nik": nik_of(2),
}


def content_hash(event: EventEnvelope) -> bytes:
    report = judge(event)
    assert isinstance(report, WorkerReport)
    return report.content_hash


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_counts_for_the_content(fact: str) -> None:
    changed = worker(**{fact: FACTS[fact]})
    assert content_hash(changed) != content_hash(worker())


def test_how_facts_are_written_or_sealed_does_not_count() -> None:
    rotated = Vault(bytes([3]) * 32, retired_keys=[bytes(range(32))])
    context = IntakeContext(CONTEXT.regions, rotated, now=lambda: NOW)
    resealed = envelope(worker_data(1, vault=rotated, programmes=["JKM", "JKK"]))
    (report,) = validate_workers(context, [resealed])
    assert isinstance(report, WorkerReport)
    assert report.content_hash == content_hash(worker())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(sorted(worker_data(1))),
)
def test_any_value_in_any_field_is_judged_and_never_repeated(value: Any, field: str) -> None:
    data = worker_data(1) | {field: value}
    try:
        body = orjson.dumps(data)
    except TypeError:  # an integer beyond 64 bits, or text that is no Unicode
        return
    result = judge(envelope(body))
    if isinstance(result, Refusal):
        assert result.reason in REASONS and result.reason != "internal_error"
        if isinstance(value, str) and len(value) > 8 and field != "village":
            assert value not in result.detail


def fund(change: Any, **changes: Any) -> EventEnvelope:
    data = change.model_dump(mode="json", exclude_none=True) | changes
    event_type = "funding.pledge-changed.v1" if "funder" in data else "funding.budget-changed.v1"
    return envelope(data, event_type=event_type, topic=event_type)


BAD_FUNDS: dict[str, tuple[Callable[[], EventEnvelope], str]] = {
    "a negative pledge": (lambda: fund(pledge(), amount_rupiah=-1), "amount_negative"),
    "a fractional pledge": (lambda: fund(pledge(), amount_rupiah=0.5), "amount_fractional"),
    "a whole pledge written with a point": (lambda: fund(pledge(), amount_rupiah=5.0), "amount_fractional"),
    "a pledge too large": (lambda: fund(pledge(), amount_rupiah=2**53), "amount_too_large"),
    "a pledge far too large": (lambda: fund(pledge(), amount_rupiah=1e300), "amount_too_large"),
    "an amount as text": (lambda: fund(pledge(), amount_rupiah="5000"), "schema_violation"),
    "a negative ceiling": (lambda: fund(budget(), ceiling_rupiah=-1), "amount_negative"),
    "a fractional release": (lambda: fund(budget(), released_rupiah=1.5), "amount_fractional"),
    "a wrong NPWP": (lambda: fund(pledge(), npwp="013000666091001"[::-1]), "npwp_invalid"),
    "a short NPWP": (lambda: fund(pledge(), npwp="01300066609100 "), "npwp_invalid"),
    "a person's NIK as NPWP": (lambda: fund(pledge(), npwp=NIK), "plain_nik_in_event"),
    "a window that ends before it begins": (
        lambda: fund(pledge(), window_to="2025-12"),
        "window_out_of_order",
    ),
    "an unknown regency": (lambda: fund(pledge(), regency="64.99"), "region_unknown"),
    "an unknown region in a rule": (
        lambda: fund(pledge(), rules={"regions": ["64.02.99"]}),
        "region_unknown",
    ),
    "an unknown programme in a rule": (
        lambda: fund(pledge(), rules={"programmes": ["ABC"]}),
        "programme_unknown",
    ),
    "a switch that is no boolean": (lambda: fund(pledge(), jkk_jkm_discount="ya"), "schema_violation"),
    "a budget on the pledges' topic": (
        lambda: envelope(
            budget().model_dump(mode="json"),
            event_type="funding.budget-changed.v1",
            topic="funding.pledge-changed.v1",
        ),
        "unknown_type",
    ),
    "a worker among the funds": (lambda: worker(), "unknown_type"),
    "another version": (
        lambda: envelope(b"{}", event_type="funding.pledge-changed.v2", topic="funding.pledge-changed.v1"),
        "wrong_schema_version",
    ),
}


@pytest.mark.parametrize("case", BAD_FUNDS)
def test_a_wrong_fund_event_is_refused_with_its_reason(case: str) -> None:
    build, reason = BAD_FUNDS[case]
    (refusal,) = validate_funds(CONTEXT, [build()])
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason, refusal.detail


@pytest.mark.parametrize("npwp", ["013000666091000", "01.300.066.6-091.000", "0013000666091000"])
def test_a_companys_npwp_is_accepted_old_and_new(npwp: str) -> None:
    (report,) = validate_funds(CONTEXT, [fund(pledge(npwp=npwp))])
    assert isinstance(report, FundReport)
    assert report.change == pledge(npwp=npwp)
