"""Who is told of an alert, through which channels, and when: subscriptions, quiet hours, digest."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, and_, bindparam, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from models.account_tables import Account
from models.alert_tables import AccountSubscription, AlertChannel, AlertPreference, RoleSubscription
from models.tables import Regency
from workflow.alert_rules import CHANNELS, KINDS, may_be_told


@dataclass(frozen=True, slots=True)
class Recipient:
    """A person's open channels; minutes of the day in ``timezone``, ``None`` where not set."""

    account_id: uuid.UUID
    channels: tuple[uuid.UUID, ...]
    timezone: str = "Asia/Makassar"
    quiet_from: int | None = None
    quiet_to: int | None = None
    digest_at: int | None = None


def find_recipients(
    connection: Connection,
    scope: str,
    kind: str,
    *,
    everybody: bool = False,
    except_channel: uuid.UUID | None = None,
) -> list[Recipient]:
    """Active people of the scope whose role or who themselves want ``kind``, with the channels for it.

    A person's own wish means all of that person's channels; a role's names some. ``everybody`` (an
    escalation): whoever's role may act, whatever they chose, at once. Each of them has an e-mail channel,
    made here when it is not there yet.
    """
    of_role = {row.role: frozenset(row.channels) for row in connection.execute(_ROLE_WISHES, {"kind": kind})}
    ways: dict[uuid.UUID, frozenset[str]] = {}
    people = []
    for person in connection.execute(_PEOPLE, {"kind": kind}).all():
        shipped = CHANNELS if person.role in KINDS[kind].roles else frozenset[str]()
        wanted = CHANNELS if person.wanted else frozenset[str]()
        told = of_role.get(person.role, shipped) if person.wanted is None else wanted
        ways[person.id] = shipped | told if everybody else told
        may_see = person.regency_code in (None, scope) and may_be_told(person.role, kind)
        if may_see and ways[person.id]:
            people.append(person)
    if not people:
        return []
    ids = [person.id for person in people]
    connection.execute(
        insert_or_skip(AlertChannel).on_conflict_do_nothing(),
        [{"id": uuid.uuid4(), "account_id": each, "kind": "email", "label": "e-mail"} for each in ids],
    )
    channels: dict[uuid.UUID, list[uuid.UUID]] = {}
    for row in connection.execute(
        select(AlertChannel.id, AlertChannel.account_id, AlertChannel.kind).where(
            AlertChannel.account_id.in_(ids), AlertChannel.enabled
        )
    ):
        if row.id != except_channel and row.kind in ways[row.account_id]:
            channels.setdefault(row.account_id, []).append(row.id)
    return [
        Recipient(
            person.id,
            tuple(channels.get(person.id, ())),
            person.timezone or "Asia/Makassar",
            None if everybody else person.quiet_from,
            None if everybody else person.quiet_to,
            None if everybody else person.digest_at,
        )
        for person in people
    ]


def due_moment(person: Recipient, severity: str, now: dt.datetime) -> dt.datetime:
    """When to send: a critical alert at once, others with the digest or after quiet hours."""
    if severity == "critical":
        return now
    if person.digest_at is not None:
        return _next(person.digest_at, person.timezone, now)
    if person.quiet_from is None or person.quiet_to is None:
        return now
    local = now.astimezone(ZoneInfo(person.timezone))
    minute = local.hour * 60 + local.minute
    after_from = (minute - person.quiet_from) % 1440
    is_quiet = after_from < (person.quiet_to - person.quiet_from) % 1440
    return _next(person.quiet_to, person.timezone, now) if is_quiet else now


def _next(minute: int, timezone: str, now: dt.datetime) -> dt.datetime:
    local = now.astimezone(ZoneInfo(timezone))
    moment = local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
    return moment if moment > local else moment + dt.timedelta(days=1)


_ROLE_WISHES: Any = select(RoleSubscription.role, RoleSubscription.channels).where(
    RoleSubscription.kind == bindparam("kind")
)
_PEOPLE: Any = (
    select(
        Account.id,
        Account.role,
        Account.regency_code,
        Regency.timezone,
        AccountSubscription.wanted,
        AlertPreference.quiet_from,
        AlertPreference.quiet_to,
        AlertPreference.digest_at,
    )
    .outerjoin(Regency, Regency.code == Account.regency_code)
    .outerjoin(
        AccountSubscription,
        and_(
            AccountSubscription.account_id == Account.id,
            AccountSubscription.kind == bindparam("kind"),
        ),
    )
    .outerjoin(AlertPreference, AlertPreference.account_id == Account.id)
    .where(
        Account.state == "active",
        or_(Account.role == "officer", Account.role == "auditor", Account.role == "administrator"),
    )
    .order_by(Account.id)
)
