"""Tables of companies: what they offer, what changed in what they pledged, the statements signed for them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables import Base


class PledgeOffer(Base):
    """A new pledge or a top-up that a company offers; it is money only once an officer has confirmed it.

    Confirming gives it a place in the fund's history: ``fund_code``, ``revision`` and the fund's
    ``total_rupiah`` after it, as ``funding.pledge-changed.v1`` states them.
    """

    __tablename__ = "pledge_offer"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'confirmed', 'declined', 'withdrawn')", name="state_known"),
        CheckConstraint("amount_rupiah > 0", name="amount_positive"),
        CheckConstraint("window_from <= window_to", name="window_in_order"),
        CheckConstraint("programmes BETWEEN 0 AND 15", name="programmes_known"),
        CheckConstraint(r"funder ~ '^\d{16}$'", name="funder_is_npwp"),
        CheckConstraint(
            "(state = 'open') = (closed_at IS NULL) AND (state = 'open') = (closed_by IS NULL)",
            name="closed_by_somebody",
        ),
        CheckConstraint(
            "state <> 'confirmed' OR num_nulls(fund_code, revision, total_rupiah) = 0",
            name="confirmed_has_place",
        ),
        CheckConstraint("(state = 'declined') <= (remark IS NOT NULL)", name="declined_has_remark"),
        Index("ix_pledge_offer_funder", "funder", "offered_at"),
        Index("ix_pledge_offer_open", "regency_code", postgresql_where=text("state = 'open'")),
        Index("ix_pledge_offer_fund", "fund_code", "revision"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    funder: Mapped[str] = mapped_column(comment="the company's NPWP in 16 digits")
    funder_name: Mapped[str]
    regency_code: Mapped[str] = mapped_column(ForeignKey("regency.code"))
    fund_code: Mapped[str | None] = mapped_column(comment="the fund a top-up is for, or what confirming made")
    name: Mapped[str]
    amount_rupiah: Mapped[int]
    window_from: Mapped[dt.date]
    window_to: Mapped[dt.date]
    programmes: Mapped[int] = mapped_column(SmallInteger, comment="bit mask; 0 = every programme")
    state: Mapped[str] = mapped_column(server_default="open")
    offered_by: Mapped[str]
    offered_at: Mapped[dt.datetime]
    closed_by: Mapped[str | None]
    closed_at: Mapped[dt.datetime | None]
    remark: Mapped[str | None]
    revision: Mapped[int | None]
    total_rupiah: Mapped[int | None]


class Statement(Base):
    """What the house has signed for a company about one period. Never changed: a later one stands beside it.

    ``content`` is what the documents show; ``signature`` is Ed25519 over its canonical JSON and ``digest``
    the SHA-256 of the same bytes (``workflow/sign_statement.py``). ``code`` opens the public page that
    says whether a printed statement is genuine.
    """

    __tablename__ = "statement"
    __table_args__ = (
        CheckConstraint("period_from <= period_to", name="period_in_order"),
        CheckConstraint("octet_length(digest) = 32", name="digest_is_sha256"),
        CheckConstraint("octet_length(signature) = 64", name="signature_is_ed25519"),
        CheckConstraint(r"funder ~ '^\d{16}$'", name="funder_is_npwp"),
        Index("ix_statement_funder", "funder", "number"),
    )

    number: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    id: Mapped[uuid.UUID] = mapped_column(unique=True)
    code: Mapped[str] = mapped_column(unique=True)
    funder: Mapped[str] = mapped_column(comment="the company's NPWP in 16 digits")
    period_from: Mapped[dt.date]
    period_to: Mapped[dt.date]
    content: Mapped[dict[str, Any]]
    digest: Mapped[bytes]
    signature: Mapped[bytes]
    signed_by: Mapped[str] = mapped_column(comment="who of the company asked for it")
    signed_at: Mapped[dt.datetime]


class TermsChange(Base):
    """A pledge's window or rules became others, by an officer or by an event from elsewhere.

    Written with the change itself; money has the journal instead. The company reads it as a message.
    """

    __tablename__ = "terms_change"
    __table_args__ = (
        CheckConstraint("cardinality(changed) > 0", name="changed_something"),
        Index("uq_terms_change_revision", "fund_id", "revision", unique=True),
    )

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"))
    revision: Mapped[int] = mapped_column(comment="the fund's revision with which it came")
    changed: Mapped[list[str]] = mapped_column(comment="columns of the fund that differ")
    recorded_at: Mapped[dt.datetime]


class MessageMark(Base):
    """How far one person has read the company's messages; no row: not at all."""

    __tablename__ = "message_mark"

    account_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("account.id"), primary_key=True, comment="whose mark"
    )
    read_at: Mapped[dt.datetime] = mapped_column(comment="when the newest message that was read arose")
