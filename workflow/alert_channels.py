"""A person's own channels: added after a check, sealed, switched off but never removed."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, text, update

from models.alert_tables import AlertChannel, AlertDelivery
from models.vault import Vault
from workflow.deliver_message import check_service
from workflow.deliver_webhook import Network, check_webhook, make_secret


def add_webhook(
    engine: Engine, vault: Vault, account_id: uuid.UUID, address: str, allowed: Sequence[Network] = ()
) -> str:
    """Returns the signing secret, shown this once. Raises ``WebhookRefusedError``."""
    url = check_webhook(address, allowed)
    secret = make_secret()
    _add(
        engine,
        account_id,
        "webhook",
        f"webhook {url.host}",
        vault.encrypt(address.encode(), "webhook address"),
        vault.encrypt(secret.encode(), "webhook secret"),
    )
    return secret


def add_service(engine: Engine, vault: Vault, account_id: uuid.UUID, address: str) -> None:
    """Add a messaging service by its Apprise address. Raises ``ServiceRefusedError``."""
    label = check_service(address)
    _add(engine, account_id, "service", label, vault.encrypt(address.encode(), "service address"), None)


def list_dead(connection: Connection, account_id: uuid.UUID, limit: int = 50) -> list[Row[Any]]:
    """Deliveries through one's own channels that were given up, newest first: each with its alert."""
    return list(connection.execute(_DEAD, {"account": account_id, "limit": limit}))


def list_failing(connection: Connection) -> list[Row[Any]]:
    """Everybody's channels that fail or have given up on something, for who looks after the house."""
    return list(connection.execute(_FAILING))


_DEAD = text(
    """
    SELECT d.id, d.channel_id, d.dead_at, d.attempts, d.last_error,
           a.kind, a.subject, a.value, a.facts, a.opened_at
    FROM alert_delivery d JOIN alert_channel c ON c.id = d.channel_id JOIN alert a ON a.id = d.alert_id
    WHERE c.account_id = :account AND d.dead_at IS NOT NULL ORDER BY d.dead_at DESC, d.id LIMIT :limit
    """
)
_FAILING = text(
    """
    SELECT c.id, c.label, c.enabled, c.failures, c.last_error, o.email,
           (SELECT count(*) FROM alert_delivery d WHERE d.channel_id = c.id AND d.dead_at IS NOT NULL) AS dead
    FROM alert_channel c JOIN account o ON o.id = c.account_id
    WHERE c.failures > 0 OR EXISTS (
        SELECT FROM alert_delivery d WHERE d.channel_id = c.id AND d.dead_at IS NOT NULL)
    ORDER BY c.failures DESC, c.id
    """
)


def switch_channel(
    engine: Engine, account_id: uuid.UUID | None, channel_id: uuid.UUID, enabled: bool
) -> bool:
    """Whether the account (``None``: anybody) has such a channel."""
    with engine.begin() as connection:
        statement = update(AlertChannel).where(AlertChannel.id == channel_id)
        if account_id is not None:
            statement = statement.where(AlertChannel.account_id == account_id)
        return bool(connection.execute(statement.values(enabled=enabled, failures=0)).rowcount)


def send_again(engine: Engine, channel_id: uuid.UUID, now: dt.datetime) -> int:
    """Let the dead deliveries of a channel be sent again, with the ids they had; returns their number."""
    with engine.begin() as connection:
        statement = update(AlertDelivery).where(
            AlertDelivery.channel_id == channel_id, AlertDelivery.dead_at.is_not(None)
        )
        return connection.execute(statement.values(dead_at=None, attempts=0, due_at=now)).rowcount


def _add(
    engine: Engine,
    account_id: uuid.UUID,
    kind: str,
    label: str,
    address_sealed: bytes,
    secret_sealed: bytes | None,
) -> None:
    with engine.begin() as connection:
        connection.execute(
            insert(AlertChannel).values(
                id=uuid.uuid4(),
                account_id=account_id,
                kind=kind,
                label=label,
                address_sealed=address_sealed,
                secret_sealed=secret_sealed,
            )
        )
