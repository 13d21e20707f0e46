"""What stands of alerts, and taking one on: acknowledged by an owner with a note, or closed by hand."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, select, update

from models.account_tables import Account
from models.alert_tables import Alert
from workflow.record import record_action

LONGEST_NOTE: Final = 500
STATES: Final = ("open", "acknowledged", "resolved")


def list_alerts(connection: Connection, state: str, limit: int = 200) -> list[Row[Any]]:
    """Newest first. The connection is confined to what the visitor may see (``portal/unit.py``)."""
    return list(
        connection.execute(
            select(Alert.__table__)
            .where(Alert.state == state)
            .order_by(Alert.opened_at.desc(), Alert.id)
            .limit(limit)
        )
    )


def count_alerts(connection: Connection) -> dict[str, int]:
    """Alerts by state."""
    counted = connection.execute(select(Alert.state, func.count()).group_by(Alert.state))
    return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in counted}


def name_owners(engine: Engine, owners: set[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Who took alerts on, for colleagues of the same office."""
    with engine.connect() as connection:
        rows = connection.execute(select(Account.id, Account.name).where(Account.id.in_(owners)))
        return {row.id: row.name for row in rows}


def acknowledge(
    engine: Engine, alert_id: uuid.UUID, scope: str, owner: uuid.UUID, actor: str, note: str, now: dt.datetime
) -> bool:
    """Take an open alert of ``scope`` on; whether there was one."""
    return _change(
        engine,
        alert_id,
        scope,
        ("open",),
        {"state": "acknowledged", "owner_id": owner, "acknowledged_at": now},
        actor,
        note,
        now,
    )


def resolve(engine: Engine, alert_id: uuid.UUID, scope: str, actor: str, note: str, now: dt.datetime) -> bool:
    """Close an alert by hand: an occurrence, such as a large decision, never ceases by itself."""
    values = {"state": "resolved", "resolved_at": now, "resolved_why": "by_hand"}
    return _change(engine, alert_id, scope, ("open", "acknowledged"), values, actor, note, now)


def _change(
    engine: Engine,
    alert_id: uuid.UUID,
    scope: str,
    states: tuple[str, ...],
    values: dict[str, Any],
    actor: str,
    note: str,
    now: dt.datetime,
) -> bool:
    with engine.begin() as connection:
        statement = update(Alert).where(Alert.id == alert_id, Alert.scope == scope, Alert.state.in_(states))
        if note:
            values = values | {"note": note[:LONGEST_NOTE]}
        if not connection.execute(statement.values(**values, changed_at=now)).rowcount:
            return False
        record_action(connection, actor, f"alert_{values['state']}", str(alert_id), {}, now)
        return True
