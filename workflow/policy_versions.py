"""Policy versions: named policies that administrators save, and the one in force in each regency.

A version is never changed, so a run of years ago can be read beside its aims. A regency for which
nothing was chosen follows the policy that Gotong ships.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Engine, and_, func, insert, select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as insert_or_change

from models.api_tables import PolicyInForce, PolicyVersion
from models.tables import Regency
from optimizer.policy import DEFAULT_POLICY, Policy, PolicyError
from workflow.record import record_action
from workflow.request import raise_signal

#: The policy that is shipped; it has version 0 and cannot be saved over.
SHIPPED: Final = DEFAULT_POLICY.name
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('policy ' || :name, 10))")


class PolicyUnknownError(LookupError):
    """There is no such policy version, or no such regency."""


class PolicyChangedError(Exception):
    """Somebody saved a newer version than the one this change was made from."""


@dataclass(frozen=True, slots=True)
class SavedPolicy:
    """A version of a policy; ``saved_by`` and ``saved_at`` are empty for the shipped one."""

    version: int
    policy: Policy
    saved_by: str | None = None
    saved_at: dt.datetime | None = None

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.policy.name


@dataclass(frozen=True, slots=True)
class Choice:
    """What a regency's next runs follow. ``chosen_by`` is empty for the shipped policy."""

    regency: str
    name: str
    version: int
    chosen_by: str | None = None
    chosen_at: dt.datetime | None = None


_SHIPPED: Final = SavedPolicy(0, DEFAULT_POLICY)


def list_policies(engine: Engine) -> list[SavedPolicy]:
    """The newest version of each policy by name, the shipped one first."""
    statement = (
        select(PolicyVersion.__table__)
        .ext(distinct_on(PolicyVersion.name))
        .order_by(PolicyVersion.name, PolicyVersion.version.desc())
    )
    with engine.connect() as connection:
        return [_SHIPPED, *(_saved(row) for row in connection.execute(statement))]


def list_versions(engine: Engine, name: str) -> list[SavedPolicy]:
    """Every version of a policy, newest first; empty when there is no such policy."""
    if name == SHIPPED:
        return [_SHIPPED]
    statement = select(PolicyVersion.__table__).where(PolicyVersion.name == name)
    with engine.connect() as connection:
        rows = connection.execute(statement.order_by(PolicyVersion.version.desc()))
        return [_saved(row) for row in rows]


def save_policy(
    engine: Engine,
    actor: str,
    mapping: Mapping[str, object],
    now: dt.datetime,
    *,
    made_from: int | None = None,
) -> SavedPolicy:
    """Check a policy and add it as the next version of its name.

    ``made_from`` is the newest version that the author saw (0: none). Raises
    ``optimizer.policy.PolicyError``, whose message names the field at fault, or
    :class:`PolicyChangedError`.
    """
    policy = Policy.from_mapping(mapping)
    if not _NAME.fullmatch(policy.name):
        raise PolicyError("name must be 1 to 50 lower-case letters, digits and hyphens")
    if policy.name == SHIPPED:
        raise PolicyError(f"name must not be {SHIPPED!r}: that is the policy which Gotong ships")
    with engine.begin() as connection:
        connection.execute(_LOCK, {"name": policy.name})
        newest = connection.scalar(
            select(func.coalesce(func.max(PolicyVersion.version), 0)).where(PolicyVersion.name == policy.name)
        )
        assert newest is not None
        if made_from is not None and made_from != newest:
            raise PolicyChangedError
        saved = SavedPolicy(newest + 1, policy, actor, now)
        connection.execute(
            insert(PolicyVersion).values(
                name=saved.name,
                version=saved.version,
                content=policy.to_mapping(),
                saved_by=actor,
                saved_at=now,
            )
        )
        subject = f"{saved.name} {saved.version}"
        record_action(connection, actor, "save_policy", subject, policy.to_mapping(), now)
    return saved


def choose_policy(
    engine: Engine, actor: str, regency: str, name: str, version: int, now: dt.datetime
) -> Choice:
    """Let the regency's next runs follow a version, and ask for such a run.

    Raises :class:`PolicyUnknownError`.
    """
    with engine.begin() as connection:
        if not connection.scalar(
            select(Regency.code).where(Regency.code == regency).with_for_update(key_share=True)
        ):
            raise PolicyUnknownError(f"regency {regency} is not served here")
        shipped = (name, version) == (SHIPPED, 0)
        if not shipped and not connection.scalar(
            select(PolicyVersion.version).where(PolicyVersion.name == name, PolicyVersion.version == version)
        ):
            raise PolicyUnknownError(f"there is no version {version} of a policy {name}")
        values = {
            "name": None if shipped else name,
            "version": None if shipped else version,
            "chosen_by": actor,
            "chosen_at": now,
        }
        statement = insert_or_change(PolicyInForce).values(regency_code=regency, **values)
        connection.execute(statement.on_conflict_do_update(index_elements=["regency_code"], set_=values))
        raise_signal(connection, regency)
        detail = {"policy": name, "version": version}
        record_action(connection, actor, "choose_policy", regency, detail, now)
    return Choice(regency, name, version, actor, now)


def list_choices(engine: Engine) -> list[Choice]:
    """What each regency that is served follows, by code."""
    statement = (
        select(
            Regency.code,
            PolicyInForce.name,
            PolicyInForce.version,
            PolicyInForce.chosen_by,
            PolicyInForce.chosen_at,
        )
        .outerjoin(PolicyInForce, PolicyInForce.regency_code == Regency.code)
        .order_by(Regency.code)
    )
    with engine.connect() as connection:
        return [
            Choice(row.code, row.name or SHIPPED, row.version or 0, row.chosen_by, row.chosen_at)
            for row in connection.execute(statement)
        ]


def read_policy_in_force(engine: Engine, regency: str) -> Policy:
    """The policy that a run of this regency follows now."""
    statement = (
        select(PolicyVersion.content)
        .join(
            PolicyInForce,
            and_(PolicyInForce.name == PolicyVersion.name, PolicyInForce.version == PolicyVersion.version),
        )
        .where(PolicyInForce.regency_code == regency)
    )
    with engine.connect() as connection:
        content = connection.scalar(statement)
    return DEFAULT_POLICY if content is None else Policy.from_mapping(content)


def _saved(row: Any) -> SavedPolicy:
    return SavedPolicy(row.version, Policy.from_mapping(row.content), row.saved_by, row.saved_at)
