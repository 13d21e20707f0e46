"""Wishes: a person's language, quiet hours, digest and kinds of alert; and what a whole role is told of."""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Connection, Engine, delete, insert, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from models.alert_tables import AccountSubscription, AlertPreference, RoleSubscription
from models.role import Role
from workflow.alert_rules import CHANNELS, KINDS, TOLD_ROLES, may_be_told
from workflow.record import record_action

_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class WishRefusedError(ValueError):
    """A wish cannot be kept. ``problem`` is a code that the portal says in words, about ``field``."""

    def __init__(self, problem: str, field: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.field = field


@dataclass(frozen=True, slots=True)
class Wishes:
    """Times are minutes of the regency's day, ``None`` where there are none."""

    language: Literal["id", "en"] = "id"
    quiet_from: int | None = None
    quiet_to: int | None = None
    digest_at: int | None = None
    kinds: frozenset[str] = frozenset()


def parse_clock(written: str) -> int | None:
    """``21:30`` as minutes, nothing as ``None``. Raises ``WishRefusedError``."""
    if not written:
        return None
    match = _CLOCK.fullmatch(written)
    if match is None:
        raise WishRefusedError("not_a_time")
    return int(match[1]) * 60 + int(match[2])


def read_wishes(engine: Engine, account_id: uuid.UUID, role: Role) -> Wishes:
    """What the person chose; where nothing was chosen, what the role is told of."""
    with engine.connect() as connection:
        of_role = _kinds_of_role(connection, role)
        own = {
            row.kind: row.wanted
            for row in connection.execute(
                select(AccountSubscription.kind, AccountSubscription.wanted).where(
                    AccountSubscription.account_id == account_id
                )
            )
        }
        chosen = connection.execute(
            select(AlertPreference.__table__).where(AlertPreference.account_id == account_id)
        ).one_or_none()
    kinds = frozenset(name for name, wanted in (of_role | own).items() if wanted and may_be_told(role, name))
    if chosen is None:
        return Wishes(kinds=kinds)
    return Wishes(chosen.language, chosen.quiet_from, chosen.quiet_to, chosen.digest_at, kinds)


def save_wishes(engine: Engine, account_id: uuid.UUID, role: Role, wishes: Wishes) -> None:
    """Keep them. Of kinds only what differs from the role's, so that a later change for the role reaches the
    person. Raises ``WishRefusedError``."""
    if unknown := {kind for kind in wishes.kinds if kind not in KINDS or not may_be_told(role, kind)}:
        raise WishRefusedError("kind_unknown", min(unknown))
    if (wishes.quiet_from is None) != (wishes.quiet_to is None):
        raise WishRefusedError("quiet_half")
    if wishes.quiet_from is not None and wishes.quiet_from == wishes.quiet_to:
        raise WishRefusedError("quiet_empty")
    values = {
        "language": wishes.language,
        "quiet_from": wishes.quiet_from,
        "quiet_to": wishes.quiet_to,
        "digest_at": wishes.digest_at,
    }
    with engine.begin() as connection:
        connection.execute(
            insert_or_update(AlertPreference)
            .values(account_id=account_id, **values)
            .on_conflict_do_update(index_elements=["account_id"], set_=values)
        )
        of_role = _kinds_of_role(connection, role)
        connection.execute(delete(AccountSubscription).where(AccountSubscription.account_id == account_id))
        differing = [
            {"account_id": account_id, "kind": kind, "wanted": kind in wishes.kinds}
            for kind in KINDS
            if may_be_told(role, kind) and (kind in wishes.kinds) != of_role[kind]
        ]
        if differing:
            connection.execute(insert(AccountSubscription), differing)


def read_role_channels(connection: Connection, role: Role) -> dict[str, frozenset[str]]:
    """Kind -> the channels through which the role is told of it; of kinds that it may learn of."""
    chosen = {
        row.kind: frozenset(row.channels)
        for row in connection.execute(
            select(RoleSubscription.kind, RoleSubscription.channels).where(RoleSubscription.role == role)
        )
    }
    return {
        name: chosen.get(name, CHANNELS if role in kind.roles else frozenset())
        for name, kind in KINDS.items()
        if may_be_told(role, name)
    }


def save_role_channels(
    connection: Connection,
    role: Role,
    channels: Mapping[str, Collection[str]],
    actor: str,
    now: dt.datetime,
) -> None:
    """Tell ``role`` of each kind through ``channels[kind]``; a kind that is not named is not told.

    Raises ``WishRefusedError``: a role that alerts are not for, a kind that it may not learn of, a channel
    that there is not.
    """
    if role not in TOLD_ROLES:
        raise WishRefusedError("role_unknown", role)
    for kind, ways in channels.items():
        if kind not in KINDS or not may_be_told(role, kind):
            raise WishRefusedError("kind_unknown", kind)
        if not CHANNELS.issuperset(ways):
            raise WishRefusedError("channel_unknown", kind)
    for kind in KINDS:
        if may_be_told(role, kind):
            chosen = {"channels": sorted(channels.get(kind, ()))}
            connection.execute(
                insert_or_update(RoleSubscription)
                .values(role=role, kind=kind, **chosen)
                .on_conflict_do_update(index_elements=["role", "kind"], set_=chosen)
            )
    told = {kind: sorted(ways) for kind, ways in channels.items() if ways}
    record_action(connection, actor, "change_alert_roles", role, {"channels": told}, now)


def _kinds_of_role(connection: Connection, role: Role) -> dict[str, bool]:
    return {kind: bool(ways) for kind, ways in read_role_channels(connection, role).items()}
