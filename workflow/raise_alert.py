"""Raise an alert: an event that says to people what is wrong, where, and how to look at it."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from sqlalchemy import Connection

from models.event import AlertRaised
from workflow.outbox import enqueue_event


def raise_alert(
    connection: Connection,
    rule: str,
    subject: str,
    severity: Literal["info", "warning", "critical"],
    *,
    message_id: str,
    message_en: str,
    now: dt.datetime,
    regency: str | None = None,
) -> None:
    """Put ``alert.raised.v1`` into the caller's transaction; no text of it may be personal.

    ``message_id`` is the Indonesian sentence, ``message_en`` the English one.
    """
    enqueue_event(
        connection,
        "alert.raised.v1",
        AlertRaised(
            rule=rule,
            subject=subject[:200],
            severity=severity,
            message_id=message_id,
            message_en=message_en,
            regency=regency,
            raised_at=now.astimezone(dt.UTC).isoformat(),
        ),
        key=(regency or rule).encode(),
        time=now,
    )
