"""What stands of alerts, and taking one on: acknowledged by an owner with a note, or closed by hand."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, select, text, update

from models.account_tables import Account
from models.alert_tables import Alert
from workflow.alert_rules import KINDS, may_be_told
from workflow.record import record_action
from workflow.sign_in import Visitor

LONGEST_NOTE: Final = 500
STATES: Final = ("open", "acknowledged", "resolved")


def list_alerts(connection: Connection, visitor: Visitor, state: str, limit: int = 200) -> list[Row[Any]]:
    """Newest first. The connection is confined to what the visitor may see (``portal/unit.py``)."""
    return list(
        connection.execute(
            select(Alert.__table__)
            .where(Alert.state == state, Alert.kind.in_(_kinds_for(visitor)))
            .order_by(Alert.opened_at.desc(), Alert.id)
            .limit(limit)
        )
    )


def count_alerts(connection: Connection, visitor: Visitor) -> dict[str, int]:
    """Alerts by state."""
    own = Alert.kind.in_(_kinds_for(visitor))
    counted = connection.execute(select(Alert.state, func.count()).where(own).group_by(Alert.state))
    return dict.fromkeys(STATES, 0) | {row[0]: row[1] for row in counted}


#: What the person's own wish, else the role's, else what is shipped says of the alert's kind.
_CONCERNING = text(
    """
    SELECT count(*) FROM alert a
    WHERE a.state = 'open' AND (CAST(:regency AS text) IS NULL OR a.scope = :regency)
      AND a.kind = ANY(CAST(:kinds AS text[]))
      AND coalesce(
          (SELECT s.wanted FROM alert_account_subscription s
           WHERE s.account_id = :account AND s.kind = a.kind),
          (SELECT r.channels <> '{}' FROM alert_role_subscription r WHERE r.role = :role AND r.kind = a.kind),
          a.kind = ANY(CAST(:shipped AS text[])))
    """
)


def count_concerning(connection: Connection, visitor: Visitor) -> int:
    """Open alerts that nobody has taken on and that this person is told of."""
    values = {
        "regency": visitor.regency,
        "account": visitor.account_id,
        "role": visitor.role,
        "kinds": _kinds_for(visitor),
        "shipped": [name for name, kind in KINDS.items() if visitor.role in kind.roles],
    }
    return int(connection.scalar(_CONCERNING, values) or 0)


def _kinds_for(visitor: Visitor) -> list[str]:
    return [kind for kind in KINDS if may_be_told(visitor.role, kind)]


def actionable_kinds(visitor: Visitor) -> list[str] | None:
    """The kinds of alert that the visitor may take on; ``None`` for every kind of the own regency."""
    if visitor.regency is not None:
        return None
    return _kinds_for(visitor)


def name_owners(engine: Engine, owners: set[uuid.UUID]) -> dict[uuid.UUID, str]:
    """Who took alerts on, for colleagues of the same office."""
    with engine.connect() as connection:
        rows = connection.execute(select(Account.id, Account.name).where(Account.id.in_(owners)))
        return {row.id: row.name for row in rows}


def acknowledge(engine: Engine, alert_id: uuid.UUID, visitor: Visitor, note: str, now: dt.datetime) -> bool:
    """Take an open alert on; whether there was one that the visitor may take on."""
    values = {"state": "acknowledged", "owner_id": visitor.account_id, "acknowledged_at": now}
    return _change(engine, alert_id, visitor, ("open",), values, note, now)


def resolve(engine: Engine, alert_id: uuid.UUID, visitor: Visitor, note: str, now: dt.datetime) -> bool:
    """Close an alert by hand: an occurrence, such as a large decision, never ceases by itself."""
    values = {"state": "resolved", "resolved_at": now, "resolved_why": "by_hand"}
    return _change(engine, alert_id, visitor, ("open", "acknowledged"), values, note, now)


def _change(
    engine: Engine,
    alert_id: uuid.UUID,
    visitor: Visitor,
    states: tuple[str, ...],
    values: dict[str, Any],
    note: str,
    now: dt.datetime,
) -> bool:
    kinds = actionable_kinds(visitor)
    own = Alert.scope == visitor.regency if kinds is None else Alert.kind.in_(kinds)
    with engine.begin() as connection:
        statement = update(Alert).where(Alert.id == alert_id, own, Alert.state.in_(states))
        if note:
            values = values | {"note": note[:LONGEST_NOTE]}
        if not connection.execute(statement.values(**values, changed_at=now)).rowcount:
            return False
        record_action(connection, visitor.email, f"alert_{values['state']}", str(alert_id), {}, now)
        return True
