"""Tables of review and enrolment: who decided what, and what the agency answered."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.tables import Base


class BatchClaim(Base):
    """An officer has opened a batch (fund x district x run): runs leave it alone until the claim lapses."""

    __tablename__ = "batch_claim"
    __table_args__ = (Index("ix_batch_claim_lapses", "lapses_at"),)

    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("allocation_run.id"), primary_key=True)
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"), primary_key=True)
    district_code: Mapped[str] = mapped_column(primary_key=True)
    officer: Mapped[str]
    lapses_at: Mapped[dt.datetime]


class ReviewBatch(Base):
    """How much of a batch (run x fund x district) is undecided: its lines that are open, and those that
    wait for a second officer.

    Triggers on ``proposal`` keep it, so that the queue need not count a million lines.
    """

    __tablename__ = "review_batch"
    __table_args__ = (
        UniqueConstraint("run_id", "fund_id", "district_code"),
        CheckConstraint(
            "open_lines >= 0 AND (open_lines = 0) = (open_rupiah = 0) AND open_rupiah >= 0",
            name="open_not_negative",
        ),
        CheckConstraint(
            "confirming_lines >= 0 AND (confirming_lines = 0) = (confirming_rupiah = 0)"
            " AND confirming_rupiah >= 0",
            name="confirming_not_negative",
        ),
        Index("ix_review_batch_open", "fund_id", postgresql_where=text("open_lines > 0")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("allocation_run.id"))
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"))
    district_code: Mapped[str]
    open_lines: Mapped[int] = mapped_column(Integer)
    open_rupiah: Mapped[int]
    confirming_lines: Mapped[int] = mapped_column(Integer)
    confirming_rupiah: Mapped[int]
    created_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())
    changed_at: Mapped[dt.datetime] = mapped_column(server_default=func.clock_timestamp())


class Decision(Base):
    """An officer's decision on lines of one batch, and the second officer's, where four eyes are due.

    ``idempotency_key`` with ``content_hash``: the same key gives the same answer, and with other
    content is refused.
    """

    __tablename__ = "decision"
    __table_args__ = (
        CheckConstraint("action IN ('approve', 'reject', 'return')", name="action_known"),
        CheckConstraint("state IN ('awaiting_second', 'done', 'undone')", name="state_known"),
        CheckConstraint("(action = 'reject') <= (reason IS NOT NULL)", name="rejection_has_reason"),
        CheckConstraint("second_officer IS NULL OR second_officer <> officer", name="four_eyes"),
        CheckConstraint(
            "NOT needs_second OR state <> 'done' OR second_officer IS NOT NULL", name="second_signed"
        ),
        CheckConstraint("lines > 0 AND amount_rupiah > 0", name="not_empty"),
        Index("ix_decision_fund", "fund_id", "decided_at"),
        Index("ix_decision_open", "decided_at", postgresql_where=text("state = 'awaiting_second'")),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    content_hash: Mapped[bytes]
    action: Mapped[str]
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"))
    district_code: Mapped[str]
    run_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("allocation_run.id"))
    officer: Mapped[str]
    reason: Mapped[str | None]
    remark: Mapped[str | None]
    lines: Mapped[int] = mapped_column(Integer)
    amount_rupiah: Mapped[int]
    needs_second: Mapped[bool]
    state: Mapped[str]
    second_officer: Mapped[str | None]
    decided_at: Mapped[dt.datetime]
    closed_at: Mapped[dt.datetime | None]


class DecisionLine(Base):
    """The lines a decision was made about."""

    __tablename__ = "decision_line"
    __table_args__ = (Index("ix_decision_line_proposal", "proposal_id"),)

    decision_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("decision.id"), primary_key=True)
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposal.id"), primary_key=True)


class RejectedMatch(Base):
    """This need was rejected at this fund: not proposed again while need and fund stay as they were."""

    __tablename__ = "rejected_match"

    need_id: Mapped[int] = mapped_column(ForeignKey("coverage_need.id"), primary_key=True)
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"), primary_key=True)
    fund_revision: Mapped[int]
    need_reported_at: Mapped[dt.datetime]


class FundedMonth(Base):
    """A programme month of a worker that committed money pays. The key refuses to pay it twice.

    A trigger (migration 0017) refuses another worker than the line's, once for each statement.
    """

    __tablename__ = "funded_month"
    __table_args__ = (
        CheckConstraint("programme IN (1, 2, 4, 8)", name="one_programme"),
        CheckConstraint("extract(day FROM month) = 1", name="month_first_day"),
        Index("ix_funded_month_proposal", "proposal_id"),
    )

    worker_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    programme: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    month: Mapped[dt.date] = mapped_column(primary_key=True)
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposal.id"))


class EnrolmentBatch(Base):
    """One enrolment file for the agency, with its control total."""

    __tablename__ = "enrolment_batch"
    __table_args__ = (CheckConstraint("lines > 0 AND total_rupiah > 0", name="not_empty"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"), index=True)
    officer: Mapped[str]
    lines: Mapped[int] = mapped_column(Integer)
    total_rupiah: Mapped[int]
    exported_at: Mapped[dt.datetime]


class EnrolmentLine(Base):
    """A line of an enrolment file and, once it came, the agency's answer to it."""

    __tablename__ = "enrolment_line"
    __table_args__ = (
        UniqueConstraint("batch_id", "number"),
        CheckConstraint("answer IN ('accepted', 'refused')", name="answer_known"),
        CheckConstraint("paid_rupiah >= 0", name="paid_not_negative"),
    )

    reference: Mapped[str] = mapped_column(
        primary_key=True, comment="what the agency answers to; no personal data"
    )
    batch_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("enrolment_batch.id"))
    number: Mapped[int] = mapped_column(Integer)
    proposal_id: Mapped[int] = mapped_column(ForeignKey("proposal.id"), unique=True)
    answer: Mapped[str | None]
    answer_reason: Mapped[str | None]
    answer_months: Mapped[int | None] = mapped_column(SmallInteger)
    answer_rupiah: Mapped[int | None]
    paid_rupiah: Mapped[int | None]
    paid_months: Mapped[int | None] = mapped_column(SmallInteger)
    answered_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("enrolment_answer.id"))


class EnrolmentAnswer(Base):
    """An answer file of the agency, known by its digest: the same file changes nothing twice."""

    __tablename__ = "enrolment_answer"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    file_hash: Mapped[bytes] = mapped_column(unique=True)
    officer: Mapped[str]
    outcomes: Mapped[dict[str, Any]]
    imported_at: Mapped[dt.datetime]


class SuspenseItem(Base):
    """An answer line that moved no money and that a person must look at."""

    __tablename__ = "suspense_item"
    __table_args__ = (
        CheckConstraint("kind IN ('unknown', 'contradictory', 'overpaid')", name="kind_known"),
        CheckConstraint("amount_rupiah >= 0", name="amount_not_negative"),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    answer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("enrolment_answer.id"))
    row_number: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str]
    reference: Mapped[str]
    amount_rupiah: Mapped[int]
    detail: Mapped[str]
    resolved_at: Mapped[dt.datetime | None]
    resolved_by: Mapped[str | None]


class AuditRecord(Base):
    """Who did what when. Append-only (a trigger refuses the rest); ``hash`` chains the records."""

    __tablename__ = "audit_record"
    __table_args__ = (
        CheckConstraint(
            "octet_length(hash) = 32 AND octet_length(previous_hash) = 32", name="hash_is_sha256"
        ),
    )

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    detail: Mapped[dict[str, Any]]
    recorded_at: Mapped[dt.datetime]
    previous_hash: Mapped[bytes]
    hash: Mapped[bytes]


class LegalTransition(Base):
    """The transitions of needs and lines that the trigger allows (``models.state``)."""

    __tablename__ = "legal_transition"

    subject: Mapped[str] = mapped_column(primary_key=True)
    from_state: Mapped[str] = mapped_column(primary_key=True)
    to_state: Mapped[str] = mapped_column(primary_key=True)
