"""A person's own wishes: language, quiet hours, digest, and which kinds of alert to be told of."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from models.alert_tables import AccountSubscription, AlertPreference, RoleSubscription
from models.role import Role
from workflow.alert_rules import KINDS

_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class WishRefusedError(ValueError):
    """A time of the day cannot be used; ``problem`` is a code that the portal says in words."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


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
        of_role = {
            row.kind: row.wanted
            for row in connection.execute(
                select(RoleSubscription.kind, RoleSubscription.wanted).where(RoleSubscription.role == role)
            )
        }
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
    shipped = {name: role in kind.roles for name, kind in KINDS.items()}
    kinds = frozenset(name for name, wanted in (shipped | of_role | own).items() if wanted)
    if chosen is None:
        return Wishes(kinds=kinds)
    return Wishes(chosen.language, chosen.quiet_from, chosen.quiet_to, chosen.digest_at, kinds)


def save_wishes(engine: Engine, account_id: uuid.UUID, wishes: Wishes, offered: Collection[str]) -> None:
    """Keep them; of ``offered`` the kinds that are not wished are not told. Raises ``WishRefusedError``."""
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
        for kind in sorted(set(offered) & set(KINDS)):
            wanted = kind in wishes.kinds
            connection.execute(
                insert_or_update(AccountSubscription)
                .values(account_id=account_id, kind=kind, wanted=wanted)
                .on_conflict_do_update(index_elements=["account_id", "kind"], set_={"wanted": wanted})
            )
