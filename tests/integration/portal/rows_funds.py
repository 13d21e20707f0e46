"""Rows of the access matrix: funds."""

from __future__ import annotations

from typing import Final

from tests.integration.portal.rows import Maker, Row, signed_in

_OFFICE: Final = ("officer", "auditor")

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/today"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/today/figures"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/today/burn-down.svg"): Row(signed_in(200, *_OFFICE)),
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {}
