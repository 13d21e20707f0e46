"""Validate: from an envelope to a typed, checked report, or a refusal with its reason.

Nothing here touches the database, so the same event always gets the same answer, save for what the
region table, the keys and the clock of the context say. Details name fields and limits, never
values: a value may be personal.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from stdnum.exceptions import ValidationError as StdnumError
from stdnum.id import npwp as stdnum_npwp

from models.event import (
    EVENT_TYPES,
    MAX_RUPIAH,
    BudgetChanged,
    PledgeChanged,
    WorkerUncovered,
)
from models.message import EventEnvelope, Refusal, refuse_event
from models.nik import NikError, check_nik
from models.programme import Programme
from models.vault import UndecryptableError, decode_base64, key_id_of
from workflow.context import IntakeContext

WORKER_TYPE: Final = "coverage.worker-uncovered.v1"
PLEDGE_TYPE: Final = "funding.pledge-changed.v1"
BUDGET_TYPE: Final = "funding.budget-changed.v1"

#: How far cover may start from the month of the event's own time.
_START_MONTHS_BEFORE: Final = 12
_START_MONTHS_AFTER: Final = 24
#: Clocks differ; more than this ahead of ours is a wrong date, which would block later reports for ever.
CLOCK_LEEWAY: Final = dt.timedelta(days=1)

_SIXTEEN_DIGITS = re.compile(r"(?<!\d)\d{16}(?!\d)").search
_ALL_DIGITS = re.compile(r"[\d .-]{16,24}").fullmatch
_FIELD_NAME = re.compile(r"[A-Za-z_][A-Za-z_]{0,39}").fullmatch
_NIK_FIELDS: Final = frozenset({"nik", "nik_plain", "plain_nik", "no_nik", "ktp", "no_ktp", "nomor_nik"})
_BITS: Final[dict[str, int]] = {programme.value: 1 << place for place, programme in enumerate(Programme)}

_Checked = TypeVar("_Checked")


class WorkerReport(NamedTuple):
    """A checked event of an uncovered worker, as the tables want it.

    ``start`` and ``end`` are absolute months (year x 12 + month - 1), ``end`` exclusive;
    ``programmes`` is the bundle's bit mask. ``content_hash`` covers what the event says, not how it
    was encrypted or written: sealing the same facts again is a repeat.
    """

    event_key: uuid.UUID
    content_hash: bytes
    envelope: EventEnvelope
    nik_hash: bytes
    nik_encrypted: bytes
    nik_key_id: str
    name_encrypted: bytes | None
    village: str
    occupation: str
    sex: str | None
    birth_year: int | None
    programmes: int
    months: int
    start_month: str
    start: int
    end: int
    priority: int
    declared_base_rupiah: int


@dataclass(frozen=True, slots=True)
class FundReport:
    """A checked change of a fund, and the envelope it came in."""

    envelope: EventEnvelope
    change: PledgeChanged | BudgetChanged


class RefusedError(Exception):
    """This event cannot be accepted: ``reason`` is the code, ``detail`` the sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def validate_workers(
    context: IntakeContext, envelopes: Sequence[EventEnvelope]
) -> list[WorkerReport | Refusal]:
    """One result per envelope, in order, for topic ``coverage.worker-uncovered.v1``."""
    latest = context.now() + CLOCK_LEEWAY
    return [_check_or_refuse(lambda e: _check_worker(context, e, latest), envelope) for envelope in envelopes]


def validate_funds(context: IntakeContext, envelopes: Sequence[EventEnvelope]) -> list[FundReport | Refusal]:
    """One result per envelope, in order, for the topics of pledges and of budget lines."""
    latest = context.now() + CLOCK_LEEWAY
    return [_check_or_refuse(lambda e: _check_fund(context, e, latest), envelope) for envelope in envelopes]


def _check_or_refuse(
    check: Callable[[EventEnvelope], _Checked], envelope: EventEnvelope
) -> _Checked | Refusal:
    try:
        return check(envelope)
    except RefusedError as refused:
        return refuse_event(envelope, refused.reason, refused.detail)
    except ValidationError as error:
        reason, detail = explain_violation(error)
        return refuse_event(envelope, reason, detail)
    except Exception as error:  # noqa: BLE001 - one event's surprise must not stop the partition
        return refuse_event(envelope, "internal_error", f"a check failed with {type(error).__name__}")


def _check_worker(context: IntakeContext, envelope: EventEnvelope, latest: dt.datetime) -> WorkerReport:
    _check_envelope(context, envelope, (WORKER_TYPE,), latest)
    data = WorkerUncovered.model_validate_json(envelope.data)
    nik_hash = bytes.fromhex(data.nik_hash)
    nik_encrypted = _open_identity(context, data, nik_hash)
    name_encrypted, name = _open_name(context, data, nik_hash)
    check_village(context, data.village)
    start = month_number(data.start_month)
    check_start_month(start, envelope.time)
    programmes = sum([_BITS[code] for code in data.programmes])
    # The name comes last: it is the only free text.
    facts = (
        f"{data.nik_hash}|{data.village}|{data.occupation}|{data.sex}|{data.birth_year}|{programmes}"
        f"|{data.months}|{start}|{data.priority}|{data.declared_base_rupiah}|{name}"
    )
    return WorkerReport(
        event_key=envelope.key,
        content_hash=context.vault.fingerprint(facts.encode()),
        envelope=envelope,
        nik_hash=nik_hash,
        nik_encrypted=nik_encrypted,
        nik_key_id=data.nik_key_id,
        name_encrypted=name_encrypted,
        village=data.village,
        occupation=data.occupation,
        sex=data.sex,
        birth_year=data.birth_year,
        programmes=programmes,
        months=data.months,
        start_month=data.start_month,
        start=start,
        end=start + data.months,
        priority=data.priority,
        declared_base_rupiah=data.declared_base_rupiah,
    )


def _check_envelope(
    context: IntakeContext, envelope: EventEnvelope, types: tuple[str, ...], latest: dt.datetime
) -> None:
    """The type belongs here, the time is possible, and id and source are fit to be stored in the open."""
    if envelope.type not in types:
        stem = envelope.type.rpartition(".v")[0]
        if any(stem == known.rpartition(".v")[0] for known in types):
            raise RefusedError("wrong_schema_version", f"this topic carries {' and '.join(types)}")
        raise RefusedError("unknown_type", f"this topic carries {' and '.join(types)}")
    if envelope.time > latest:
        raise RefusedError("time_in_future", "time: more than a day ahead of the receiver's clock")
    for name, value in (("id", envelope.id), ("source", envelope.source)):
        if "\0" in value:
            raise RefusedError("not_a_cloud_event", f"{name}: holds a NUL character")
        if (found := _SIXTEEN_DIGITS(value)) and _looks_like_nik(context, found.group()):
            raise RefusedError("plain_nik_in_event", f"{name}: holds a NIK")


def _open_identity(context: IntakeContext, data: WorkerUncovered, nik_hash: bytes) -> bytes:
    if _ALL_DIGITS(data.nik_encrypted):
        raise RefusedError("plain_nik_in_event", "nik_encrypted: holds a NIK that is not encrypted")
    try:
        nik_encrypted = decode_base64(data.nik_encrypted)
        nik = context.vault.open_nik(nik_encrypted)
    except UndecryptableError as error:
        raise RefusedError("nik_undecryptable", f"nik_encrypted: {error}") from None
    if key_id_of(nik_encrypted) != data.nik_key_id:
        raise RefusedError("nik_undecryptable", "nik_key_id: is not the key that sealed the NIK")
    try:
        check_nik(nik, context.regions)
    except NikError as error:
        raise RefusedError("nik_invalid", f"nik: {error}") from None
    if context.vault.hash_nik(nik) != nik_hash:
        raise RefusedError("nik_hash_mismatch", "nik_hash: is not the hash of the encrypted NIK")
    return nik_encrypted


def _open_name(
    context: IntakeContext, data: WorkerUncovered, nik_hash: bytes
) -> tuple[bytes | None, str | None]:
    if data.name_encrypted is None:
        return None, None
    try:
        name_encrypted = decode_base64(data.name_encrypted)
        return name_encrypted, context.vault.open_name(name_encrypted, nik_hash)
    except UndecryptableError as error:
        raise RefusedError("name_undecryptable", f"name_encrypted: {error}") from None


def check_village(context: IntakeContext, village: str) -> None:
    """Raise :class:`RefusedError` unless this is a village of the region table."""
    if not context.regions.is_village(village):
        raise RefusedError("village_unknown", f"village: {village} is not in the region table")


def check_start_month(start: int, time: dt.datetime) -> None:
    """Raise :class:`RefusedError` when cover would start absurdly far from the event's own month."""
    distance = start - (time.year * 12 + time.month - 1)
    if not -_START_MONTHS_BEFORE <= distance <= _START_MONTHS_AFTER:
        raise RefusedError(
            "start_month_implausible",
            f"start_month: more than {_START_MONTHS_BEFORE} months before"
            f" or {_START_MONTHS_AFTER} after the event's time",
        )


def month_number(month: str) -> int:
    """``2026-12`` as an absolute month, year x 12 + month - 1."""
    return int(month[:4]) * 12 + int(month[5:]) - 1


def _check_fund(context: IntakeContext, envelope: EventEnvelope, latest: dt.datetime) -> FundReport:
    _check_envelope(context, envelope, (PLEDGE_TYPE, BUDGET_TYPE), latest)
    kind = PledgeChanged if envelope.type == PLEDGE_TYPE else BudgetChanged
    if envelope.message.topic in EVENT_TYPES and envelope.type != envelope.message.topic:
        raise RefusedError("unknown_type", f"this topic carries {envelope.message.topic}")
    change = kind.model_validate_json(envelope.data)
    check_fund(context, change)
    return FundReport(envelope, change)


def check_fund(context: IntakeContext, change: PledgeChanged | BudgetChanged) -> None:
    """What a fund's schema cannot say. Raises :class:`RefusedError`."""
    if isinstance(change, PledgeChanged):
        check_npwp(change.npwp)
    if change.window_to < change.window_from:
        raise RefusedError("window_out_of_order", "window_to: lies before window_from")
    if not context.regions.known(change.regency):
        raise RefusedError("region_unknown", f"regency: {change.regency} is not in the region table")
    for code in change.rules.regions:
        if not context.regions.known(code):
            raise RefusedError("region_unknown", f"rules.regions: {code} is not in the region table")


def check_npwp(npwp: str) -> None:
    """Raise :class:`RefusedError` unless this is a company's NPWP, old (15 digits) or new (16, from 0).

    A person's NPWP is the NIK, which must not travel in the open; persons do not pledge.
    """
    try:
        number = stdnum_npwp.validate(npwp)
    except StdnumError:
        raise RefusedError("npwp_invalid", "npwp: not a valid NPWP of 15 or 16 digits") from None
    if len(number) == 16 and not number.startswith("0"):
        raise RefusedError("plain_nik_in_event", "npwp: is a person's NIK; a company's NPWP begins with 0")


def explain_violation(error: ValidationError) -> tuple[str, str]:
    """Reason and detail of the gravest of the violations that pydantic found."""
    return min(
        explain_violations(error),
        key=lambda pair: (pair[0] != "plain_nik_in_event", pair[0] == "schema_violation"),
    )


def explain_violations(error: ValidationError) -> list[tuple[str, str]]:
    """Reason and detail of each violation that pydantic found; a detail begins with the field's path."""
    return [_explain(item) for item in error.errors(include_url=False, include_context=False)]


def _explain(item: ErrorDetails) -> tuple[str, str]:
    kind, value = item["type"], item["input"]
    names = [part for part in item["loc"] if isinstance(part, str)]
    field = names[-1] if names else ""
    if kind == "extra_forbidden":
        if field.lower() in _NIK_FIELDS or (isinstance(value, str) and _ALL_DIGITS(value)):
            return "plain_nik_in_event", "an unknown field holds a NIK; send it sealed"
        # The name of an unknown field is the sender's text, so it is shown only when it looks like a name.
        shown = ".".join(names) if all(_FIELD_NAME(name) for name in names) else "a field"
        return "schema_violation", f"{shown}: unknown"
    path = ".".join(names) or "data"
    if kind == "json_invalid":
        return "malformed_json", "data: not JSON"
    if kind == "missing":
        return "schema_violation", f"{path}: missing"
    if field == "months":
        return "months_out_of_range", "months: must be a whole number from 1 to 12"
    if field.endswith("_rupiah"):
        return _explain_amount(path, value, item["msg"])
    if "programmes" in names and kind == "literal_error":
        return "programme_unknown", f"{path}: must be of JKK, JKM, JHT, JKN"
    if field == "nik_encrypted" and isinstance(value, int | str) and _ALL_DIGITS(str(value)):
        return "plain_nik_in_event", "nik_encrypted: holds a NIK that is not encrypted"
    return "schema_violation", f"{path}: {item['msg']}"


def _explain_amount(path: str, value: object, message: str) -> tuple[str, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value < 0:
            return "amount_negative", f"{path}: below zero"
        if value > MAX_RUPIAH:
            return "amount_too_large", f"{path}: above {MAX_RUPIAH}"
        if isinstance(value, float):
            return "amount_fractional", f"{path}: must be a whole number of rupiah, written without a point"
    return "schema_violation", f"{path}: {message}"


def _looks_like_nik(context: IntakeContext, digits: str) -> bool:
    try:
        check_nik(digits, context.regions)
    except NikError:
        return False
    return True
