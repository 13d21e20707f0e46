"""Rows of the access matrix: village."""

from __future__ import annotations

import itertools
from typing import Final

from sqlalchemy import Engine

from tests.builders import add_need
from tests.integration.portal.rows import FOREIGN, Maker, Row, signed_in
from tests.integration.portal.site import VILLAGE

_NUMBERS = itertools.count(700_000)
_VERIFIER = "verifier"


def _make_need(engine: Engine, kind: str, visitor: str) -> str:
    village = "64.02.01.2001" if kind == FOREIGN else VILLAGE
    with engine.begin() as connection:
        return str(add_need(connection, next(_NUMBERS), village_code=village))


ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/village"): Row(signed_in(200, _VERIFIER)),
    ("POST", "/village/search"): Row(signed_in(200, _VERIFIER), {"q": "a"}),
    ("POST", "/village/workers/{need_id}"): Row(
        signed_in(303, _VERIFIER), {"outcome": "confirmed"}, objects="need", scoped=frozenset({_VERIFIER})
    ),
    # Nobody's own: a finding that does not exist is refused like somebody else's (test_village_page.py).
    ("POST", "/village/findings/{finding}/undo"): Row(signed_in(404, _VERIFIER), objects="finding"),
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {
    "need": _make_need,
    "finding": lambda engine, kind, visitor: "00000000-0000-0000-0000-000000000001",
}
