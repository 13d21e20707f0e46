"""Event types: the one place from which JSON Schemas and decoders come.

An event travels in a CloudEvents 1.0 envelope (https://cloudevents.io); the
types below are its ``data``. Versions are part of the type name: a change that
old readers cannot take is a new type, never a new meaning.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

MAX_RUPIAH: Final = 2**53 - 1  # the largest integer every JSON reader keeps exactly

Rupiah = Annotated[int, Field(strict=True, ge=0, le=MAX_RUPIAH)]
VillageCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.[0-9]{2}\.[0-9]{2}\.[0-9]{4}$")]
RegencyCode = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.[0-9]{2}$")]
RegionPrefix = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}(\.[0-9]{2}(\.[0-9]{2}(\.[0-9]{4})?)?)?$")]
Month = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Occupation = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
ProgrammeCode = Literal["JKK", "JKM", "JHT", "JKN"]
FundId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,2048}={0,2}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,32}$")]
Timestamp = Annotated[
    str, StringConstraints(pattern=r"^20\d{2}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?\+00:00$")
]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _each_once(programmes: tuple[ProgrammeCode, ...]) -> tuple[ProgrammeCode, ...]:
    if len(set(programmes)) != len(programmes):
        raise ValueError("names a programme twice")
    return programmes


class EventData(BaseModel):
    """Base of every event's data: closed to unknown fields, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkerUncovered(EventData):
    """A worker without social-security cover, for whom contributions are sought.

    The NIK is never plain: ``nik_encrypted`` is authenticated encryption under
    key ``nik_key_id``, ``nik_hash`` a keyed hash that identifies the worker.
    """

    nik_encrypted: Base64
    nik_key_id: KeyId
    nik_hash: Hash
    name_encrypted: Base64 | None = None
    village: VillageCode
    occupation: Occupation
    sex: Literal["L", "P"] | None = None
    birth_year: Annotated[int, Field(strict=True, ge=1900, le=2100)] | None = None
    programmes: Annotated[
        tuple[ProgrammeCode, ...],
        Field(min_length=1, max_length=4, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_each_once),
    ]
    months: Annotated[int, Field(strict=True, ge=1, le=12)]
    start_month: Month
    priority: Annotated[int, Field(strict=True, ge=1, le=100)]
    declared_base_rupiah: Annotated[int, Field(strict=True, ge=1, le=MAX_RUPIAH)] = 1_000_000


class FundRules(EventData):
    """Whom a fund accepts. Empty allow-lists and ``None`` mean "no such rule"."""

    regions: tuple[RegionPrefix, ...] = ()
    occupations: tuple[Occupation, ...] = ()
    programmes: tuple[ProgrammeCode, ...] = ()
    sexes: tuple[Literal["L", "P"], ...] = ()
    age_from: Annotated[int, Field(strict=True, ge=0, le=120)] | None = None
    age_to: Annotated[int, Field(strict=True, ge=0, le=120)] | None = None
    max_months: Annotated[int, Field(strict=True, ge=1, le=12)] | None = None
    head_count_cap: Annotated[int, Field(strict=True, ge=0, le=10**9)] | None = None
    district_cap: Annotated[int, Field(strict=True, ge=0, le=10**9)] | None = None
    min_workers: Annotated[int, Field(strict=True, ge=0, le=10**9)] | None = None


class FundChanged(EventData):
    """State of a fund after a change; a later ``revision`` replaces an earlier one."""

    fund_id: FundId
    revision: Annotated[int, Field(strict=True, ge=1, le=MAX_RUPIAH)]
    regency: RegencyCode
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    window_from: Month
    window_to: Month
    rules: FundRules = FundRules()


class PledgeChanged(FundChanged):
    """A company's pledge (TJSLP) was made, topped up, reduced or re-ruled.

    ``amount_rupiah`` is the total pledged after the change, not the difference,
    so that a repeated or late event cannot add twice.
    """

    funder: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    npwp: Annotated[str, StringConstraints(min_length=15, max_length=25)]
    amount_rupiah: Rupiah
    withdrawn: bool = False  # the company withdraws: whatever is not committed yet leaves the fund
    jkk_jkm_discount: Annotated[bool, Field(strict=True)] = (
        False  # PP 50/2025 for CSR payers is unverified: a switch, off
    )


class BudgetChanged(FundChanged):
    """A regional budget line (APBD) was set or revised.

    Spendable is ``min(ceiling_rupiah, released_rupiah)``: the pagu of the DPA,
    and what the SPD has released so far.
    """

    fiscal_year: Annotated[int, Field(strict=True, ge=2000, le=2100)]
    account_code: Annotated[str, StringConstraints(pattern=r"^[0-9.]{1,40}$")]
    ceiling_rupiah: Rupiah
    released_rupiah: Rupiah


class AllocationRequested(EventData):
    """A regency's needs or funds changed: match again. Key: regency code."""

    regency: RegencyCode
    request_number: Annotated[int, Field(strict=True, ge=1)]


class FundProposal(EventData):
    """What one run moved at one fund."""

    fund_id: FundId
    reserved_rupiah: Rupiah
    released_rupiah: Rupiah
    workers: Annotated[int, Field(strict=True, ge=0)]


class TierOutcome(EventData):
    """One objective tier of the run; ``gap`` is relative (0.0003 = 0.03 %)."""

    name: str
    value: float
    bound: float
    gap: float


class AllocationProposed(EventData):
    """A run reserved money for workers; the proposals await review."""

    run_id: str
    regency: RegencyCode
    generation: Annotated[int, Field(strict=True, ge=1)]
    policy: str
    status: Literal["OPTIMAL", "FEASIBLE"]
    needs: Annotated[int, Field(strict=True, ge=0)]
    proposed: Annotated[int, Field(strict=True, ge=0)]
    tiers: tuple[TierOutcome, ...]
    funds: tuple[FundProposal, ...]


class AllocationDecided(EventData):
    """An officer decided on a batch, or on some of its lines."""

    decision_id: str
    regency: RegencyCode
    run_id: str
    fund_id: FundId
    district: str
    action: Literal["approve", "reject", "return"]
    state: Literal["awaiting_second", "done"]
    lines: Annotated[int, Field(strict=True, ge=1)]
    amount_rupiah: Rupiah


class CoverageEnrolled(EventData):
    """The agency's answer was reconciled for one fund: who is covered now, and what was paid."""

    answer_id: str
    regency: RegencyCode
    fund_id: FundId
    enrolled: Annotated[int, Field(strict=True, ge=0)]
    refused: Annotated[int, Field(strict=True, ge=0)]
    disbursed_rupiah: Rupiah
    refunded_rupiah: Rupiah


class FundBalanceChanged(EventData):
    """A fund's money moved: its balances after the journal's entry number ``entry``.

    One event for each fund that a transaction touched, however many entries it wrote.
    """

    fund_id: FundId
    regency: RegencyCode
    entry: Annotated[int, Field(strict=True, ge=1)]
    pledged_rupiah: Rupiah
    reserved_rupiah: Rupiah
    committed_rupiah: Rupiah
    disbursed_rupiah: Rupiah
    expired_rupiah: Rupiah
    cause: Literal["run", "event", "decision", "answer", "schedule"]
    cause_id: str
    recorded_at: Timestamp


class AlertRaised(EventData):
    """Something needs a person: what, where, how badly, and what to do about it. No personal data.

    ``rule`` is the kind of rule that was crossed, ``path`` the portal's page where one can act.
    """

    rule: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
    subject: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    severity: Literal["info", "warning", "critical"]
    message_id: str
    message_en: str
    regency: RegencyCode | None = None
    raised_at: Timestamp
    alert: str | None = None
    action_id: str | None = None
    action_en: str | None = None
    path: str | None = None


class FundHead(EventData):
    """The end of one fund's journal: its number of entries and the hash that seals all of them."""

    fund_id: FundId
    entries: Annotated[int, Field(strict=True, ge=1)]
    hash: Hash


class JournalHead(EventData):
    """Where the journals of a regency's funds end.

    Whoever keeps these events can tell later whether an entry that stood then was changed or
    removed since, even by somebody with every right on the database.
    """

    regency: RegencyCode
    read_at: Timestamp
    funds: tuple[FundHead, ...]


#: Event type (also the topic) -> type of its data. The schemas in docs/events/ come from here.
EVENT_TYPES: Final[dict[str, type[EventData]]] = {
    "coverage.worker-uncovered.v1": WorkerUncovered,
    "funding.pledge-changed.v1": PledgeChanged,
    "funding.budget-changed.v1": BudgetChanged,
    "allocation.requested.v1": AllocationRequested,
    "allocation.proposed.v1": AllocationProposed,
    "allocation.decided.v1": AllocationDecided,
    "coverage.enrolled.v1": CoverageEnrolled,
    "funding.balance-changed.v1": FundBalanceChanged,
    "alert.raised.v1": AlertRaised,
    "journal.head.v1": JournalHead,
}
