"""The tables: what is true, and the constraints that keep it true.

PostgreSQL is the only dialect. Every invariant of the domain stands here as a
named CHECK or unique index as well as in the Python guard of the same rule, so
that neither a bug nor a hand-typed UPDATE can break it silently.
"""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from models.journal import CAUSES, ENTRY_KINDS
from models.state import (
    CLOSED_PROPOSAL_STATES,
    LIVE_PROPOSAL_STATES,
    NEED_STATES,
    OPEN_NEED_STATES,
    PROPOSAL_STATES,
)


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """Declarative base with one naming scheme, so that every constraint has a name to report."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as a class attribute
        str: Text,
        bytes: LargeBinary,
        int: BigInteger,
        dt.datetime: TIMESTAMP(timezone=True),
        dict[str, Any]: JSONB,
        list[str]: ARRAY(Text),
    }


class Region(Base):
    """A province, regency, district or village with its Kemendagri code."""

    __tablename__ = "region"
    __table_args__ = (
        CheckConstraint("level IN ('province', 'regency', 'district', 'village')", name="level_known"),
        CheckConstraint(
            "(level = 'village') = (kind IS NOT NULL) AND (kind IS NULL OR kind IN ('desa', 'kelurahan'))",
            name="kind_of_village",
        ),
        CheckConstraint(r"code ~ '^\d{2}(\.\d{2}(\.\d{2}(\.\d{4})?)?)?$'", name="code_wellformed"),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    level: Mapped[str]
    parent_code: Mapped[str | None] = mapped_column(ForeignKey("region.code"), index=True)
    kind: Mapped[str | None]


class Regency(Base):
    """A local government that runs Gotong: its clock, and whose turn it is to allocate."""

    __tablename__ = "regency"
    __table_args__ = (CheckConstraint("generation >= 0", name="generation_not_negative"),)

    code: Mapped[str] = mapped_column(ForeignKey("region.code"), primary_key=True)
    timezone: Mapped[str]
    generation: Mapped[int] = mapped_column(server_default="0")
    halted_reason: Mapped[str | None]


class Worker(Base):
    """A vulnerable worker. The NIK stands only encrypted and as a keyed hash."""

    __tablename__ = "worker"
    __table_args__ = (
        CheckConstraint("octet_length(nik_hash) = 32", name="nik_hash_is_sha256"),
        CheckConstraint("sex IN ('L', 'P')", name="sex_known"),
        CheckConstraint("birth_year BETWEEN 1900 AND 2100", name="birth_year_plausible"),
        CheckConstraint("declared_base_rupiah > 0", name="declared_base_positive"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    nik_hash: Mapped[bytes] = mapped_column(unique=True)
    nik_encrypted: Mapped[bytes]
    nik_key_id: Mapped[str]
    name_encrypted: Mapped[bytes | None]
    village_code: Mapped[str] = mapped_column(ForeignKey("region.code"))
    occupation: Mapped[str]
    sex: Mapped[str | None]
    birth_year: Mapped[int | None] = mapped_column(SmallInteger)
    declared_base_rupiah: Mapped[int]
    reported_at: Mapped[dt.datetime]


class CoverageNeed(Base):
    """Worker x programme bundle x months from a start month, waiting for a fund or carried by one.

    ``programmes`` is the bundle's bit mask (``models.programme``). Region codes are
    copied from the worker at registration: the need belongs to the place where it arose.
    """

    __tablename__ = "coverage_need"
    __table_args__ = (
        CheckConstraint("programmes BETWEEN 1 AND 15", name="programmes_known"),
        CheckConstraint("months BETWEEN 1 AND 12", name="months_1_to_12"),
        CheckConstraint("priority BETWEEN 1 AND 100", name="priority_1_to_100"),
        CheckConstraint("extract(day FROM start_month) = 1", name="start_month_first_day"),
        CheckConstraint(_one_of("state", NEED_STATES), name="state_known"),
        CheckConstraint("version >= 1", name="version_positive"),
        Index(
            "ix_coverage_need_open",
            "regency_code",
            "id",
            postgresql_where=text(_one_of("state", OPEN_NEED_STATES)),
        ),
        Index(
            "ix_coverage_need_village_open",
            "village_code",
            "reported_at",
            "id",
            postgresql_where=text(_one_of("state", OPEN_NEED_STATES)),
        ),
        Index("ix_coverage_need_worker", "worker_id", "start_month"),
        Index("ix_coverage_need_district_state", "district_code", "state"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    worker_id: Mapped[int] = mapped_column(ForeignKey("worker.id"))
    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"))
    district_code: Mapped[str]
    village_code: Mapped[str]
    programmes: Mapped[int] = mapped_column(SmallInteger)
    months: Mapped[int] = mapped_column(SmallInteger)
    start_month: Mapped[dt.date]
    priority: Mapped[int] = mapped_column(SmallInteger)
    state: Mapped[str] = mapped_column(server_default="waiting")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    unfunded_reason: Mapped[str | None]
    reported_at: Mapped[dt.datetime]
    registered_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    changed_at: Mapped[dt.datetime] = mapped_column(
        server_default=func.clock_timestamp(), comment="an older line of this need must not be signed"
    )


class Fund(Base):
    """A company pledge (``csr``) or a regional budget line (``apbd``), its rules and its balances.

    Balances are the fold of the fund's journal; they stand here so that CHECKs can guard them.
    Available = pledged - reserved - committed - disbursed - expired.
    """

    __tablename__ = "fund"
    __table_args__ = (
        CheckConstraint("kind IN ('csr', 'apbd')", name="kind_known"),
        CheckConstraint("pledged_rupiah >= 0", name="pledged_not_negative"),
        CheckConstraint("reserved_rupiah >= 0", name="reserved_not_negative"),
        CheckConstraint("committed_rupiah >= 0", name="committed_not_negative"),
        CheckConstraint("disbursed_rupiah >= 0", name="disbursed_not_negative"),
        CheckConstraint("expired_rupiah >= 0", name="expired_not_negative"),
        CheckConstraint(
            "reserved_rupiah + committed_rupiah + disbursed_rupiah + expired_rupiah <= pledged_rupiah",
            name="never_overdrawn",
        ),
        CheckConstraint("window_from <= window_to", name="window_in_order"),
        CheckConstraint("programmes BETWEEN 0 AND 15", name="programmes_known"),
        CheckConstraint("max_months BETWEEN 1 AND 12", name="max_months_1_to_12"),
        CheckConstraint("head_count_cap >= 0", name="head_count_cap_not_negative"),
        CheckConstraint("district_cap >= 0", name="district_cap_not_negative"),
        CheckConstraint("min_workers >= 0", name="min_workers_not_negative"),
        CheckConstraint("age_from <= age_to", name="ages_in_order"),
        CheckConstraint("four_eyes_above_rupiah >= 0", name="four_eyes_not_negative"),
        CheckConstraint(
            "(kind = 'apbd') = (ceiling_rupiah IS NOT NULL AND released_rupiah IS NOT NULL"
            " AND fiscal_year IS NOT NULL AND account_code IS NOT NULL)",
            name="budget_line_complete",
        ),
        CheckConstraint(
            "kind = 'csr' OR pledged_rupiah <= least(ceiling_rupiah, released_rupiah)",
            name="within_ceiling_and_release",
        ),
        CheckConstraint("NOT (kind = 'apbd' AND jkk_jkm_discount)", name="no_discount_for_apbd"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)
    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"), index=True)
    kind: Mapped[str]
    name: Mapped[str]
    funder: Mapped[str | None]
    npwp: Mapped[str | None]
    fiscal_year: Mapped[int | None] = mapped_column(Integer)
    account_code: Mapped[str | None]
    ceiling_rupiah: Mapped[int | None]
    released_rupiah: Mapped[int | None]
    revision: Mapped[int]
    window_from: Mapped[dt.date]
    window_to: Mapped[dt.date]
    regions: Mapped[list[str]]
    occupations: Mapped[list[str]]
    programmes: Mapped[int] = mapped_column(SmallInteger, comment="bit mask; 0 = every programme")
    sexes: Mapped[list[str]]
    age_from: Mapped[int | None] = mapped_column(SmallInteger)
    age_to: Mapped[int | None] = mapped_column(SmallInteger)
    max_months: Mapped[int | None] = mapped_column(SmallInteger)
    head_count_cap: Mapped[int | None]
    district_cap: Mapped[int | None]
    min_workers: Mapped[int | None]
    jkk_jkm_discount: Mapped[bool] = mapped_column(server_default=text("false"))
    four_eyes_above_rupiah: Mapped[int] = mapped_column(
        server_default="50000000", comment="a decision above it needs a second officer"
    )
    pledged_rupiah: Mapped[int] = mapped_column(server_default="0")
    reserved_rupiah: Mapped[int] = mapped_column(server_default="0")
    committed_rupiah: Mapped[int] = mapped_column(server_default="0")
    disbursed_rupiah: Mapped[int] = mapped_column(server_default="0")
    expired_rupiah: Mapped[int] = mapped_column(server_default="0")


class AllocationSignal(Base):
    """Something changed that may change the match. Append-only until a run takes the signals it saw.

    A row per change instead of one flag per regency: two writers never wait for each other, and a
    change that commits while a run is reading leaves its signal for the next run.
    """

    __tablename__ = "allocation_signal"
    __table_args__ = (Index("ix_allocation_signal_regency", "regency_code", "raised_at"),)

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"))
    raised_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class AllocationRequest(Base):
    """A debounced wish to allocate; at most one per regency is waiting."""

    __tablename__ = "allocation_request"
    __table_args__ = (
        Index(
            "uq_allocation_request_waiting",
            "regency_code",
            unique=True,
            postgresql_where=text("answered_at IS NULL"),
        ),
    )

    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    requested_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    published_at: Mapped[dt.datetime] = mapped_column(
        server_default=func.clock_timestamp(), comment="renewed when a request is published again"
    )
    answered_at: Mapped[dt.datetime | None]


class AllocationRun(Base):
    """One solve of a regency's match, with its proof and what it cost in time."""

    __tablename__ = "allocation_run"
    __table_args__ = (
        UniqueConstraint("regency_code", "generation"),
        CheckConstraint(
            "status IN ('RUNNING', 'OPTIMAL', 'FEASIBLE', 'ABANDONED', 'FAILED', 'CANCELLED')",
            name="status_known",
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"))
    generation: Mapped[int]
    policy: Mapped[dict[str, Any]]
    requested_by: Mapped[str | None] = mapped_column(comment="the officer who asked; empty for an event")
    cancel_asked_by: Mapped[str | None] = mapped_column(comment="the officer who wants it stopped")
    status: Mapped[str]
    needs: Mapped[int] = mapped_column(Integer, server_default="0")
    proposed: Mapped[int] = mapped_column(Integer, server_default="0")
    changed: Mapped[int] = mapped_column(Integer, server_default="0")
    tiers: Mapped[list[Any] | None] = mapped_column(JSONB)
    prices: Mapped[dict[str, Any] | None]
    seconds: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]
    marginal_values: Mapped[dict[str, Any] | None]
    started_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    finished_at: Mapped[dt.datetime | None]


class Proposal(Base):
    """One line: this fund stands ready to pay this need, by this run.

    A move to another fund closes the line and opens a new one, so the history of
    every rupiah can be read. At most one line of a need is live.
    """

    __tablename__ = "proposal"
    __table_args__ = (
        CheckConstraint("amount_rupiah > 0", name="amount_positive"),
        CheckConstraint("months BETWEEN 1 AND 12", name="months_1_to_12"),
        CheckConstraint(_one_of("state", PROPOSAL_STATES), name="state_known"),
        CheckConstraint(
            f"({_one_of('state', CLOSED_PROPOSAL_STATES)}) = (closed_at IS NOT NULL)", name="closed_has_time"
        ),
        CheckConstraint(
            "num_nulls(closed_at, closed_cause, closed_cause_id) IN (0, 3)", name="closed_has_cause"
        ),
        CheckConstraint("version >= 1", name="version_positive"),
        CheckConstraint(
            "num_nulls(alternative_fund_id, alternative_points) IN (0, 2)", name="alternative_whole"
        ),
        CheckConstraint(
            "alternative_fund_id <> fund_id AND asks_points IS NOT NULL OR alternative_fund_id IS NULL",
            name="alternative_is_another",
        ),
        Index(
            "uq_proposal_one_live_per_need",
            "need_id",
            unique=True,
            postgresql_where=text(_one_of("state", LIVE_PROPOSAL_STATES)),
        ),
        Index("ix_proposal_fund_state", "fund_id", "state"),
        Index("ix_proposal_run", "run_id", "fund_id"),
        Index("ix_proposal_closed_cause", "closed_cause_id", "fund_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    need_id: Mapped[int] = mapped_column(ForeignKey("coverage_need.id"))
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"))
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("allocation_run.id"))
    months: Mapped[int] = mapped_column(SmallInteger)
    amount_rupiah: Mapped[int]
    state: Mapped[str] = mapped_column(server_default="proposed")
    version: Mapped[int] = mapped_column(Integer, server_default="1")
    opened_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    closed_at: Mapped[dt.datetime | None]
    closed_cause: Mapped[str | None]
    closed_cause_id: Mapped[uuid.UUID | None]
    # Prices in priority points when the line was proposed. The other fund is one of the same run's, and
    # funds are never removed: a foreign key would only be looked up once for each of a million lines.
    asks_points: Mapped[float | None] = mapped_column(REAL, comment="the fund's price; older lines have none")
    alternative_fund_id: Mapped[int | None] = mapped_column(comment="the best other fund")
    alternative_points: Mapped[float | None] = mapped_column(REAL, comment="what it asks more than this fund")


class JournalEntry(Base):
    """One movement of a fund's money. Rows are never changed or removed (a trigger refuses it).

    ``hash`` chains each entry to the one before it of the same fund (``models.journal``).
    """

    __tablename__ = "journal_entry"
    __table_args__ = (
        UniqueConstraint("fund_id", "number"),
        CheckConstraint("amount_rupiah > 0", name="amount_positive"),
        CheckConstraint("number >= 1", name="number_positive"),
        CheckConstraint(_one_of("kind", ENTRY_KINDS), name="kind_known"),
        CheckConstraint(_one_of("cause", CAUSES), name="cause_known"),
        CheckConstraint(
            "octet_length(hash) = 32 AND octet_length(previous_hash) = 32", name="hash_is_sha256"
        ),
        Index("ix_journal_entry_cause", "cause_id", "fund_id"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"))
    number: Mapped[int]
    kind: Mapped[str]
    amount_rupiah: Mapped[int]
    cause: Mapped[str] = mapped_column(comment="what moved the money: a run, an event, a decision ...")
    cause_id: Mapped[uuid.UUID]
    recorded_at: Mapped[dt.datetime]
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]


class InboxEvent(Base):
    """An accepted event and its one outcome. The key is a digest of source and id.

    ``log_id`` names the Kafka cluster: offsets mean nothing without it, since the embedded
    cluster starts again at 0 after a restart.
    """

    __tablename__ = "inbox_event"
    __table_args__ = (CheckConstraint("octet_length(content_hash) = 32", name="content_hash_is_sha256"),)

    event_key: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    type: Mapped[str]
    source: Mapped[str]
    event_id: Mapped[str]
    content_hash: Mapped[bytes]
    log_id: Mapped[str]
    topic: Mapped[str]
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int]
    outcome: Mapped[str]
    received_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class OutboxMessage(Base):
    """A Kafka message to publish, written in the transaction that caused it.

    An intake message is settled in the transaction that stores the outcomes of all its events; until
    then it is published again whenever the broker forgot it. ``value_hash`` proves that a message
    which says it came from this row really did (``workflow.outbox``).
    """

    __tablename__ = "outbox_message"
    __table_args__ = (
        CheckConstraint("octet_length(value_hash) = 32", name="value_hash_is_sha256"),
        CheckConstraint("intake OR settled_at IS NULL", name="only_intake_settles"),
        Index(
            "ix_outbox_message_unpublished",
            "intake",
            "id",
            postgresql_where=text("published_at IS NULL AND settled_at IS NULL"),
        ),
        Index(
            "ix_outbox_message_in_flight",
            "id",
            postgresql_where=text("intake AND published_at IS NOT NULL AND settled_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    topic: Mapped[str]
    key: Mapped[bytes | None]
    headers: Mapped[dict[str, Any]]
    value: Mapped[bytes]
    value_hash: Mapped[bytes]
    intake: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    published_at: Mapped[dt.datetime | None]
    published_log_id: Mapped[str | None]
    settled_at: Mapped[dt.datetime | None]


class DeadLetter(Base):
    """A message or event that could not be accepted: why, and its raw bytes (encrypted) for replay."""

    __tablename__ = "dead_letter"
    __table_args__ = (
        UniqueConstraint("log_id", "topic", "partition", "offset", "position"),
        Index("ix_dead_letter_topic_reason", "topic", "reason"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    log_id: Mapped[str]
    topic: Mapped[str]
    partition: Mapped[int] = mapped_column(Integer)
    offset: Mapped[int]
    position: Mapped[int] = mapped_column(
        Integer, comment="which event of a CloudEvents batch; 0 for a single event or the whole message"
    )
    event_key: Mapped[uuid.UUID | None]
    reason: Mapped[str]
    detail: Mapped[str]
    key_encrypted: Mapped[bytes | None]
    headers_encrypted: Mapped[bytes]
    payload_encrypted: Mapped[bytes]
    attempt: Mapped[int] = mapped_column(Integer, server_default="1")
    received_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    replayed_at: Mapped[dt.datetime | None]
