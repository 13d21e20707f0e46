"""Rows of the access matrix: audit."""

from __future__ import annotations

from typing import Final

from tests.integration.portal.rows import Maker, Row, signed_in

_READERS: Final = ("officer", "auditor", "administrator")

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/audit"): Row(signed_in(200, *_READERS)),
    ("POST", "/audit/check"): Row(signed_in(303, *_READERS)),
    ("GET", "/audit.{form}"): Row(signed_in(404, *_READERS)),  # {form} itself is no form of export
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {}
