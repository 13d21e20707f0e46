"""Deliver: from rows to messages, at least once, one channel never in another's way.

A sender takes what is due for one channel and holds it by a lease: due again in two minutes. Killed
in between, the lease ends and somebody else sends. What fails is tried again after growing pauses and is
dead after the last; a dead delivery stays as a row and can be sent again by its owner.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from sqlalchemy import Engine, Row, text

from models.vault import UndecryptableError, Vault
from workflow.alert_words import act, name_place, path_of, say
from workflow.deliver_message import send_mail, send_to_service
from workflow.deliver_webhook import DeliveryFailedError, Network, send_webhook

LEASE: Final = dt.timedelta(minutes=2)
#: Pause after each failed attempt; after the last of them the delivery is dead.
PAUSES: Final = tuple(dt.timedelta(minutes=minutes) for minutes in (0.5, 2, 10, 60, 360))
#: The least severe first in a message's title.
_TITLES: Final = {
    "id": {"info": "Info", "warning": "Peringatan", "critical": "Penting"},
    "en": {"info": "Info", "warning": "Warning", "critical": "Critical"},
}
_MOST_IN_ONE_MESSAGE: Final = 50

_CLAIM = text(
    """
    WITH next AS (
        SELECT channel_id FROM alert_delivery d JOIN alert_channel c ON c.id = d.channel_id AND c.enabled
        WHERE d.delivered_at IS NULL AND d.dead_at IS NULL AND d.due_at <= :now
          AND NOT d.channel_id = ANY(CAST(:busy AS uuid[])) AND (:mail OR c.kind <> 'email')
        ORDER BY d.due_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED
    ), mine AS (
        SELECT d.id FROM alert_delivery d JOIN next USING (channel_id)
        WHERE d.delivered_at IS NULL AND d.dead_at IS NULL AND d.due_at <= :now
        ORDER BY d.due_at LIMIT :most FOR UPDATE OF d SKIP LOCKED
    )
    UPDATE alert_delivery d SET due_at = :until, attempts = d.attempts + 1 FROM mine WHERE d.id = mine.id
    RETURNING d.id
    """
)
_READ = text(
    """
    SELECT d.id, d.occasion, d.attempts, d.channel_id, c.kind AS channel, c.address_sealed, c.secret_sealed,
           o.email, o.role, coalesce(s.language, 'id') AS language,
           a.id AS alert_id, a.kind, a.scope, a.subject, a.severity, a.value, a.facts, a.opened_at
    FROM alert_delivery d JOIN alert a ON a.id = d.alert_id
    JOIN alert_channel c ON c.id = d.channel_id JOIN account o ON o.id = c.account_id
    LEFT JOIN alert_preference s ON s.account_id = c.account_id
    WHERE d.id = ANY(CAST(:ids AS uuid[])) ORDER BY a.opened_at, d.id
    """
)
_DELIVERED = text(
    "UPDATE alert_delivery SET delivered_at = :now, last_error = NULL WHERE id = ANY(CAST(:ids AS uuid[]))"
)
_FAILED = text(
    """
    UPDATE alert_delivery SET last_error = :error, due_at = :due,
           dead_at = CASE WHEN attempts > :most THEN CAST(:now AS timestamptz) END
    WHERE id = ANY(CAST(:ids AS uuid[]))
    """
)
_CHANNEL_WORKS = text(
    "UPDATE alert_channel SET failures = 0, last_error = NULL WHERE id = :id AND failures > 0"
)
_CHANNEL_FAILS = text(
    "UPDATE alert_channel SET failures = failures + 1, failed_at = :now, last_error = :error WHERE id = :id"
)


@dataclass(frozen=True, slots=True)
class Post:
    """What the house needs to send: its keys, its mail server, the portal's address, networks allowed."""

    vault: Vault
    portal_url: str
    mail_url: str | None = field(default=None, repr=False)
    webhook_networks: tuple[Network, ...] = ()


def claim_due(
    engine: Engine, now: dt.datetime, busy: Sequence[uuid.UUID] = (), *, mail: bool = True
) -> list[Row[Any]]:
    """Lease what is due for one channel that is not ``busy``; empty when nothing is due.

    Without ``mail`` (the house has no mail server) e-mail waits: what is not set up does not fail.
    """
    with engine.begin() as connection:
        values = {
            "now": now,
            "until": now + LEASE,
            "busy": list(map(str, busy)),
            "mail": mail,
            "most": _MOST_IN_ONE_MESSAGE,
        }
        ids = [str(each) for each in connection.scalars(_CLAIM, values)]
        return list(connection.execute(_READ, {"ids": ids})) if ids else []


def send_claimed(engine: Engine, post: Post, claimed: Sequence[Row[Any]], now: dt.datetime) -> bool:
    """Send what was claimed for one channel and note what came of it; whether all of it went out."""
    parts = [[each] for each in claimed] if claimed[0].channel == "webhook" else [list(claimed)]
    return all([_send_and_note(engine, post, part, now) for part in parts])


def _send_and_note(engine: Engine, post: Post, part: list[Row[Any]], now: dt.datetime) -> bool:
    ids = [str(row.id) for row in part]
    try:
        _send(post, part, now)
    except DeliveryFailedError as error:
        attempts = max(row.attempts for row in part)
        pause = PAUSES[min(attempts, len(PAUSES)) - 1]
        with engine.begin() as connection:
            values = {"error": str(error), "due": now + pause, "most": len(PAUSES), "now": now}
            connection.execute(_FAILED, values | {"ids": ids})
            connection.execute(_CHANNEL_FAILS, {"id": part[0].channel_id, "now": now, "error": str(error)})
        return False
    with engine.begin() as connection:
        connection.execute(_DELIVERED, {"ids": ids, "now": now})
        connection.execute(_CHANNEL_WORKS, {"id": part[0].channel_id})
    return True


def _send(post: Post, part: list[Row[Any]], now: dt.datetime) -> None:
    first = part[0]
    if first.channel == "webhook":
        send_webhook(
            open_sealed(post.vault, first.address_sealed, "webhook address"),
            open_sealed(post.vault, first.secret_sealed, "webhook secret"),
            first.id,
            write_body(post.portal_url, first),
            now,
            post.webhook_networks,
        )
        return
    paragraphs = [
        (
            say(row.kind, row.subject, row.value, row.facts, row.language),
            act(row.kind, row.subject, row.value, row.facts, row.language),
            post.portal_url + path_of(row.kind, row.subject, row.facts, row.role),
        )
        for row in part
    ]
    title = _title(part)
    if first.channel == "service":
        send_to_service(open_sealed(post.vault, first.address_sealed, "service address"), title, paragraphs)
    elif post.mail_url is None:
        raise DeliveryFailedError("no_mail_server")
    else:
        send_mail(post.mail_url, first.email, title, paragraphs)


def write_body(portal_url: str, row: Row[Any]) -> bytes:
    """What a webhook receives; the same bytes at every attempt."""
    message = (row.kind, row.subject, row.value, row.facts)
    return orjson.dumps(
        {
            "type": "alert.raised" if row.occasion == "raised" else "alert.escalated",
            "alert": str(row.alert_id),
            "rule": row.kind,
            "subject": row.subject,
            "regency": None if row.scope == "house" else row.scope,
            "severity": row.severity,
            "message_id": say(*message, "id"),
            "message_en": say(*message, "en"),
            "action_id": act(*message, "id"),
            "action_en": act(*message, "en"),
            "url": portal_url + path_of(row.kind, row.subject, row.facts, row.role),
            "opened_at": row.opened_at.astimezone(dt.UTC).isoformat(),
        }
    )


def _title(part: list[Row[Any]]) -> str:
    worst = max((row.severity for row in part), key=("info", "warning", "critical").index)
    words = _TITLES[part[0].language]
    if len(part) > 1:
        return f"Gotong: {len(part)} " + ("peringatan" if part[0].language == "id" else "alerts")
    return f"Gotong: {words[worst]} – {name_place(part[0].subject, part[0].facts)}"


def open_sealed(vault: Vault, sealed: bytes, context: str) -> str:
    """An address or secret of a channel. Raises ``DeliveryFailedError`` when its key is gone."""
    try:
        return vault.decrypt(bytes(sealed), context).decode()
    except UndecryptableError:
        raise DeliveryFailedError("key_gone") from None
