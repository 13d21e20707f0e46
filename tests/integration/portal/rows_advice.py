"""Rows of the access matrix: who is unfunded, and what-if."""

from __future__ import annotations

from typing import Final

from tests.integration.portal.rows import Maker, Row, signed_in

_OFFICE: Final = ("officer", "auditor")

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/unfunded"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/unfunded/changes"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/unfunded.{form}"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/what-if"): Row(signed_in(200, *_OFFICE)),
    # No match has been made in the matrix's regency, so there is nothing to compare with.
    ("GET", "/what-if/answer"): Row(signed_in(404, *_OFFICE)),
    ("GET", "/what-if/districts.svg"): Row(signed_in(404, *_OFFICE)),
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {}
