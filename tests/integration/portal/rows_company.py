"""Rows of the access matrix: company."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Engine

from models.vault import Vault
from tests.integration.portal.rows import FOREIGN, Maker, Row, public, signed_in
from tests.integration.portal.site import COMPANY, MASTER_KEY, OTHER_COMPANY, now
from workflow.sign_statement import sign_statement


def _sign(engine: Engine, kind: str, visitor: str) -> str:
    """A statement about nothing, of this company or of another."""
    content = {"company": "PT Contoh Rekaan", "npwp": OTHER_COMPANY if kind == FOREIGN else COMPANY}
    content |= {"period_from": "2026-01-01", "period_to": "2026-12-31"}
    money = ("pledged_rupiah", "committed_rupiah", "disbursed_rupiah", "balance_rupiah")
    cover = {"total": {"workers": 0}, "programmes": {}, "districts": {}}
    whole = content | dict.fromkeys(money, 0) | cover
    return str(sign_statement(engine, Vault(MASTER_KEY), whole, "test", now()))


ROWS: Final[dict[tuple[str, str], Row]] = {
    ("POST", "/company/statements"): Row(signed_in(422, "company_user", "company_admin"), {"year": "x"}),
    ("GET", "/company/statements/{statement_id}"): Row(
        signed_in(200, "company_user", "company_admin"),
        objects="statement",
        scoped=frozenset({"company_user", "company_admin"}),
    ),
    ("GET", "/verify/{code}"): Row(public(404)),
    **{
        ("GET", path): Row(signed_in(200, "company_user", "company_admin"))
        for path in (
            "/company",
            "/company/months.svg",
            "/company/workers",
            "/company/workers.xlsx",
            "/company/workers.csv",
            "/company/statements",
        )
    },
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {"statement": _sign}
