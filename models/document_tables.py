"""Table of a fund's documents: agreements, decrees, receipts, as they were handed in."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from models.tables import Base

MOST_BYTES = 10 * 1024 * 1024


class FundDocument(Base):
    """A file of a fund. ``kind`` is what its content was seen to be, whatever it was called.

    Rows are never changed or removed (a trigger refuses it): what a decision rested on stays.
    """

    __tablename__ = "fund_document"
    __table_args__ = (
        CheckConstraint("kind IN ('pdf', 'png', 'jpeg', 'xlsx', 'docx')", name="kind_known"),
        CheckConstraint("sha256 = sha256(content)", name="hash_is_sha256"),
        CheckConstraint(f"octet_length(content) BETWEEN 1 AND {MOST_BYTES}", name="size_limited"),
        CheckConstraint("length(name) BETWEEN 1 AND 120", name="name_given"),
        Index("uq_fund_document_content", "fund_id", "sha256", unique=True),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    fund_id: Mapped[int] = mapped_column(ForeignKey("fund.id"))
    name: Mapped[str]
    kind: Mapped[str]
    content: Mapped[bytes]
    sha256: Mapped[bytes]
    added_by: Mapped[str]
    added_at: Mapped[dt.datetime]
