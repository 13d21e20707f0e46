"""Rows of the access matrix: the component sheet."""

from __future__ import annotations

from typing import Final

from models.role import ROLES
from tests.integration.portal.rows import Maker, Row, signed_in

ROWS: Final[dict[tuple[str, str], Row]] = {("GET", "/components"): Row(signed_in(200, *ROLES))}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {}
