"""What a row of the access matrix says: who gets what from a route."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from sqlalchemy import Engine

from models.role import ROLES

#: Not signed in; password given and the second factor not; signed in for the first time.
NOBODY, HALF, NEW = "nobody", "half", "new"
VISITORS = (NOBODY, HALF, NEW, *ROLES)
Kind = str
OWN, FOREIGN, NONEXISTENT, MALFORMED = "own", "foreign", "nonexistent", "malformed"


@dataclass(frozen=True)
class Row:
    """Who gets what from a route. ``objects`` names the objects in its address."""

    expected: dict[str, int]
    form: dict[str, str] = field(default_factory=dict)
    objects: str | None = None
    #: Sent as JSON instead of the form.
    json: object = None
    #: Roles for which somebody else's object exists; for an administrator there is none.
    scoped: frozenset[str] = frozenset()
    #: The answer is a stream: only its head is looked at.
    endless: bool = False


def signed_in(status: int, *roles: str) -> dict[str, int]:
    """401 for who is not wholly signed in, ``status`` for the roles, 403 for the others."""
    return {NOBODY: 401, HALF: 401, NEW: 401} | {role: status if role in roles else 403 for role in ROLES}


def public(status: int, signed_in_status: int | None = None) -> dict[str, int]:
    """The same for everybody, or another answer for who has a session."""
    return {NOBODY: status} | dict.fromkeys(VISITORS[1:], signed_in_status or status)


def step(status: int, visitor: str) -> dict[str, int]:
    """A step of signing in, for who owes it alone."""
    return dict.fromkeys(VISITORS, 401) | {visitor: status}


#: Makes an object of a route's address: (engine, own or foreign, visitor) -> the part that names it.
#: An officer's own objects lie in regency 64.02, a company's belong to ``site.COMPANY``, a verifier's to
#: ``site.VILLAGE``.
Maker = Callable[[Engine, str, str], str]


def random_id(engine: Engine, kind: str, visitor: str) -> str:
    """A name that nothing has; for routes whose address names something that need not exist."""
    return str(uuid.uuid4())
