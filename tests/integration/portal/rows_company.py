"""Rows of the access matrix: company."""

from __future__ import annotations

from typing import Final

from tests.integration.portal.rows import Maker, Row, signed_in

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", path): Row(signed_in(200, "company_user", "company_admin"))
    for path in (
        "/company",
        "/company/months.svg",
        "/company/workers",
        "/company/workers.xlsx",
        "/company/workers.csv",
    )
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {}
