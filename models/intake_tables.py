"""Tables of the intake's own state: how far it has come, and where it stands still."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, Integer
from sqlalchemy.orm import Mapped, mapped_column

from models.tables import Base


class IntakePosition(Base):
    """How far a partition was taken: every message before ``next_offset`` has its outcome in this database.

    Written after the outcomes, so it may lag behind them, never lead. ``log_id`` names the log that the
    offset counts in; with another one the row means nothing.
    """

    __tablename__ = "intake_position"
    __table_args__ = (CheckConstraint("next_offset >= 0", name="next_offset_not_negative"),)

    topic: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(Integer, primary_key=True)
    log_id: Mapped[str]
    next_offset: Mapped[int]


class IntakePause(Base):
    """The last pause of a topic's intake: what was found, and who let it go on. One row per topic.

    ``partition`` is where a batch was held back: a trial is made with what waits there. ``example`` is
    place and detail of one refusal, without personal data.
    """

    __tablename__ = "intake_pause"
    __table_args__ = (
        CheckConstraint("refused BETWEEN 1 AND events", name="refused_among_events"),
        CheckConstraint("(resumed_at IS NULL) = (resumed_by IS NULL)", name="resumed_by_somebody"),
    )

    topic: Mapped[str] = mapped_column(primary_key=True)
    paused_at: Mapped[dt.datetime]
    partition: Mapped[int] = mapped_column(Integer)
    events: Mapped[int] = mapped_column(Integer)
    refused: Mapped[int] = mapped_column(Integer)
    reasons: Mapped[dict[str, Any]]
    example: Mapped[str]
    resumed_at: Mapped[dt.datetime | None]
    resumed_by: Mapped[str | None]
