"""Events that no house can accept, by class: what each looks like, and the reason it must be refused for."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from typing import Any

from models.vault import Vault, encode_base64
from tests.integration.streams.events import (
    MASTER_KEY,
    NOW,
    WORKER_UNCOVERED,
    Message,
    batch_message,
    headers,
    nik_of,
    worker_data,
    worker_message,
)

VAULT = Vault(MASTER_KEY)
STRANGER = Vault(bytes([9]) * 32)
#: Of a regency that exists and is not served, until somebody serves it.
ELSEWHERE, VILLAGE_ELSEWHERE = "64.03", "64.03.01.2001"


def _value(value: bytes | None) -> Callable[[int], Message]:
    return lambda number: (WORKER_UNCOVERED, b"k", headers(f"bad-{number}"), value)


def _headers(**changes: bytes | None) -> Callable[[int], Message]:
    """A good body under wrong headers; ``None`` takes one away."""

    def make(number: int) -> Message:
        names = {name.replace("content_type", "content-type"): text for name, text in changes.items()}
        _, key, _, value = worker_message(number, VAULT)
        wrong = {name: text for name, text in (headers(f"bad-{number}") | names).items() if text is not None}
        return WORKER_UNCOVERED, key, wrong, value

    return make


def _data(**changes: Any) -> Callable[[int], Message]:
    """Good headers over a body with wrong fields; ``None`` takes one away."""

    def make(number: int) -> Message:
        _, key, _, value = worker_message(number, VAULT, **changes)
        return WORKER_UNCOVERED, key, headers(f"bad-{number}"), value

    return make


def _sealed(seal: Callable[[int], Mapping[str, Any]]) -> Callable[[int], Message]:
    return lambda number: _data(**seal(number))(number)


def _text(before: str, after: str) -> Callable[[int], Message]:
    """A good body with a piece of its text replaced: what a JSON library would not write."""

    def make(number: int) -> Message:
        topic, key, kept, value = _data()(number)
        assert value is not None and before.encode() in value
        return topic, key, kept, value.replace(before.encode(), after.encode())

    return make


def _tampered(number: int) -> dict[str, Any]:
    sealed = VAULT.encrypt(nik_of(number).encode(), "nik")
    return {"nik_encrypted": encode_base64(sealed[:-1] + bytes([sealed[-1] ^ 1]))}


def _name_of_another(number: int) -> dict[str, Any]:
    return {"name_encrypted": VAULT.seal_worker(nik_of(number + 1), "Orang Lain")["name_encrypted"]}


def _conflict(number: int) -> Message:
    """The id and worker of the good event ``number``, which stands before it, with other content."""
    return worker_message(number, VAULT, months=4)


def _one_bad_row(number: int) -> Message:
    """A batch of two good rows and one whose months are none."""
    topic, key, kept, value = batch_message((number, number + 1), VAULT)
    assert value is not None
    good = json.loads(value)
    bad = good[0] | {"id": f"bad-{number}", "data": worker_data(number, VAULT, months=0)}
    return topic, key, kept, json.dumps([good[0], bad, good[1]]).encode()


_BATCH = b"application/cloudevents-batch+json"
_NONE = {"ce_specversion": None, "ce_id": None, "ce_source": None, "ce_type": None, "ce_time": None}
_LATER = (NOW + dt.timedelta(days=3)).isoformat().encode()

#: Name of the class -> how event ``number`` of it is made, and its reason.
POISON: dict[str, tuple[Callable[[int], Message], str]] = {
    "truncated JSON": (_value(b'{"months": 3,'), "malformed_json"),
    "not JSON": (_value(b"nik;nama;desa"), "malformed_json"),
    "NaN for a number": (_text('"months": 3', '"months": NaN'), "malformed_json"),
    "nested 5,000 deep": (_value(b"[" * 5_000 + b"]" * 5_000), "malformed_json"),
    "invalid UTF-8": (_value(b'{"name": "\xc3\x28"}'), "invalid_utf8"),
    "a header that is not UTF-8": (_headers(ce_source=b"\xff\xfe"), "invalid_utf8"),
    "tombstone": (_value(None), "empty_message"),
    "empty value": (_value(b""), "empty_message"),
    "more than 1 MiB": (_value(b"x" * (1024 * 1024 + 1)), "message_too_large"),
    "501 events in a batch": (
        lambda number: (WORKER_UNCOVERED, b"k", {"content-type": _BATCH}, json.dumps([{}] * 501).encode()),
        "batch_too_large",
    ),
    "wrong content type": (_headers(content_type=b"text/csv"), "not_a_cloud_event"),
    "no CloudEvents headers": (_headers(**_NONE), "not_a_cloud_event"),
    "empty id": (_headers(ce_id=b""), "not_a_cloud_event"),
    "no source": (_headers(ce_source=None), "not_a_cloud_event"),
    "specversion 0.3": (_headers(ce_specversion=b"0.3"), "not_a_cloud_event"),
    "a time that is none": (_headers(ce_time=b"kemarin"), "not_a_cloud_event"),
    "another version": (_headers(ce_type=b"coverage.worker-uncovered.v2"), "wrong_schema_version"),
    "another type": (_headers(ce_type=b"funding.pledge-changed.v1"), "unknown_type"),
    "a date to come": (_headers(ce_time=_LATER), "time_in_future"),
    "a list for an object": (_value(b"[]"), "schema_violation"),
    "a field missing": (_data(months=None), "schema_violation"),
    "an unknown field": (_data(alamat="x"), "schema_violation"),
    "a NUL character": (_data(occupation="fis\x00her"), "schema_violation"),
    "a month that is none": (_data(start_month="2026-13"), "schema_violation"),
    "months 0": (_data(months=0), "months_out_of_range"),
    "months 13": (_data(months=13), "months_out_of_range"),
    "a key twice, the last one wrong": (
        _text('"months": 3', '"months": 3, "months": 13'),
        "months_out_of_range",
    ),
    "an ancient start": (_data(start_month="2001-01"), "start_month_implausible"),
    "a start in the far future": (_data(start_month="2090-01"), "start_month_implausible"),
    "an unknown programme": (_data(programmes=["JKK", "JKP"]), "programme_unknown"),
    "an unknown village": (_data(village="64.02.05.9999"), "village_unknown"),
    "a regency that is not served": (_data(village=VILLAGE_ELSEWHERE), "regency_not_served"),
    "a negative amount": (_data(declared_base_rupiah=-1), "amount_negative"),
    "an amount above 2^53": (_data(declared_base_rupiah=2**53 + 1), "amount_too_large"),
    "a fractional amount": (_data(declared_base_rupiah=1_000_000.5), "amount_fractional"),
    "a NIK of district 99": (
        _sealed(lambda number: dict(VAULT.seal_worker("6402991708900001"))),
        "nik_invalid",
    ),
    "a NIK born on 30 February": (
        _sealed(lambda number: dict(VAULT.seal_worker("6402053002800001"))),
        "nik_invalid",
    ),
    "a plain NIK": (_sealed(lambda number: {"nik": nik_of(number)}), "plain_nik_in_event"),
    "a plain NIK where the sealed belongs": (
        _sealed(lambda number: {"nik_encrypted": nik_of(number)}),
        "plain_nik_in_event",
    ),
    "a broken seal": (_sealed(_tampered), "nik_undecryptable"),
    "a key we do not have": (
        _sealed(lambda number: dict(STRANGER.seal_worker(nik_of(number)))),
        "nik_undecryptable",
    ),
    "a key id that did not seal": (_data(nik_key_id=STRANGER.key_id), "nik_undecryptable"),
    "the hash of another NIK": (_data(nik_hash="0" * 64), "nik_hash_mismatch"),
    "the name of another": (_sealed(_name_of_another), "name_undecryptable"),
    "an id taken with other content": (_conflict, "event_id_conflict"),
    "a batch with one bad row": (_one_bad_row, "months_out_of_range"),
}
