"""Rows of the access matrix: sheet."""

from __future__ import annotations

from typing import Final

from tests.integration.portal.rows import Maker, Row

ROWS: Final[dict[tuple[str, str], Row]] = {}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {}
