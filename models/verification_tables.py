"""What people of a village know about a waiting worker."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from models.tables import Base

#: What a verifier found; all but ``confirmed`` close the need.
OUTCOMES: Final = ("confirmed", "not_real", "already_covered", "moved_away", "deceased")
_OUTCOME_LIST = ", ".join(repr(outcome) for outcome in OUTCOMES)


class NeedVerification(Base):
    """A verifier's finding about one need; at most one stands, and who took one back is kept."""

    __tablename__ = "need_verification"
    __table_args__ = (
        CheckConstraint(f"outcome IN ({_OUTCOME_LIST})", name="outcome_known"),
        Index(
            "uq_need_verification_standing",
            "need_id",
            unique=True,
            postgresql_where=text("undone_at IS NULL"),
        ),
        Index("ix_need_verification_verifier", "verifier", "verified_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    need_id: Mapped[int] = mapped_column(ForeignKey("coverage_need.id"))
    outcome: Mapped[str]
    verifier: Mapped[uuid.UUID] = mapped_column(ForeignKey("account.id"))
    verified_at: Mapped[dt.datetime]
    undone_at: Mapped[dt.datetime | None]
