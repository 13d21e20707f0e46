"""A person's own channels: added after a check, sealed, switched off but never removed."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import Engine, insert, text, update

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


def switch_channel(engine: Engine, account_id: uuid.UUID, channel_id: uuid.UUID, enabled: bool) -> bool:
    """Whether the account has such a channel."""
    with engine.begin() as connection:
        statement = update(AlertChannel).where(
            AlertChannel.id == channel_id, AlertChannel.account_id == account_id
        )
        return bool(connection.execute(statement.values(enabled=enabled, failures=0)).rowcount)


def send_again(engine: Engine, account_id: uuid.UUID, channel_id: uuid.UUID, now: dt.datetime) -> int:
    """Let the dead deliveries of one's own channel be sent again; returns their number."""
    own = text("SELECT id FROM alert_channel WHERE id = :id AND account_id = :account")
    with engine.begin() as connection:
        if connection.scalar(own, {"id": channel_id, "account": account_id}) is None:
            return 0
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
