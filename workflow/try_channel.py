"""Try a channel: a message that says it is a test, sent at once and signed like any other.

It is no alert: nothing is kept of it, and one that fails is no failure of the channel's. One that goes out
does count: the channel works.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Final

import orjson
from sqlalchemy import Engine, select, update

from models.alert_tables import AlertChannel
from models.vault import Vault
from workflow.deliver import open_sealed
from workflow.deliver_message import send_to_service
from workflow.deliver_webhook import Network, send_webhook

_SAYS: Final = {
    "id": "Ini pesan uji dari Gotong. Tidak ada yang perlu dilakukan.",
    "en": "This is a test message from Gotong. Nothing needs to be done.",
}


def try_channel(
    engine: Engine,
    vault: Vault,
    account_id: uuid.UUID,
    channel_id: uuid.UUID,
    now: dt.datetime,
    allowed: Sequence[Network] = (),
) -> None:
    """Send a test through the account's own webhook or service.

    Raises ``LookupError`` when the account has no such channel, and ``DeliveryFailedError`` with what came of
    it; an address that leads inside now is not reached, whatever it was when it was added.
    """
    own = select(AlertChannel.__table__).where(
        AlertChannel.id == channel_id, AlertChannel.account_id == account_id, AlertChannel.kind != "email"
    )
    with engine.connect() as connection:
        channel = connection.execute(own).one_or_none()
    if channel is None:
        raise LookupError(f"no channel {channel_id} to try")
    if channel.kind == "webhook":
        body = {
            "type": "alert.test",
            "message_id": _SAYS["id"],
            "message_en": _SAYS["en"],
            "sent_at": now.astimezone(dt.UTC).isoformat(),
        }
        send_webhook(
            open_sealed(vault, channel.address_sealed, "webhook address"),
            open_sealed(vault, channel.secret_sealed, "webhook secret"),
            uuid.uuid4(),
            orjson.dumps(body),
            now,
            allowed,
        )
    else:
        address = open_sealed(vault, channel.address_sealed, "service address")
        send_to_service(address, "Gotong", [(_SAYS["id"], _SAYS["en"], "")])
    with engine.begin() as connection:
        connection.execute(
            update(AlertChannel).where(AlertChannel.id == channel_id).values(failures=0, last_error=None)
        )
