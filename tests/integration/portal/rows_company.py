"""Rows of the access matrix: company."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import Engine, text

from models.vault import Vault
from tests.integration.portal.rows import FOREIGN, Maker, Row, public, signed_in
from tests.integration.portal.site import COMPANY, MASTER_KEY, OTHER_COMPANY, now
from workflow.offer_pledge import OfferRequest, offer_pledge
from workflow.sign_statement import sign_statement


def _sign(engine: Engine, kind: str, visitor: str) -> str:
    """A statement about nothing, of this company or of another."""
    content = {"company": "PT Contoh Rekaan", "npwp": OTHER_COMPANY if kind == FOREIGN else COMPANY}
    content |= {"period_from": "2026-01-01", "period_to": "2026-12-31"}
    money = ("pledged_rupiah", "committed_rupiah", "disbursed_rupiah", "balance_rupiah")
    cover = {"total": {"workers": 0}, "programmes": {}, "districts": {}}
    whole = content | dict.fromkeys(money, 0) | cover
    return str(sign_statement(engine, Vault(MASTER_KEY), whole, "test", now()))


def make_offer(engine: Engine, kind: str, visitor: str) -> str:
    """An open offer of this company to 64.02; a foreign one is another company's, to another regency."""
    request = OfferRequest(
        funder=OTHER_COMPANY if kind == FOREIGN else COMPANY,
        funder_name="PT Contoh Rekaan",
        regency="64.02",
        fund_code=None,
        name="Komitmen uji",
        amount_rupiah=1_000_000,
        window_from=dt.date(2027, 1, 1),
        window_to=dt.date(2027, 12, 1),
    )
    offer_id = offer_pledge(engine, request, "test", now())
    if kind == FOREIGN:
        with engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO regency (code, timezone) VALUES ('64.03', 'Asia/Makassar')"
                    " ON CONFLICT DO NOTHING"
                )
            )
            connection.execute(
                text("UPDATE pledge_offer SET regency_code = '64.03' WHERE id = :id"), {"id": offer_id}
            )
    return str(offer_id)


_OFFER: Final = {"name": "Uji", "amount_rupiah": "nol", "window_from": "2027-01", "window_to": "2027-12"}
_COMPANIES: Final = ("company_user", "company_admin")

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/company/messages/badge"): Row(signed_in(200, *_COMPANIES)),
    ("POST", "/company/statements"): Row(signed_in(422, "company_user", "company_admin"), {"year": "x"}),
    **{
        ("GET", f"/company/statements/{{statement_id}}{part}"): Row(
            signed_in(200, *_COMPANIES), objects="statement", scoped=frozenset(_COMPANIES)
        )
        for part in ("", "/table", "/certificate")
    },
    ("POST", "/company/messages/read"): Row(
        signed_in(303, *_COMPANIES), {"until": "2026-01-01T00:00:00+00:00"}
    ),
    ("GET", "/verify/{code}"): Row(public(404)),
    ("GET", "/company/offers"): Row(signed_in(200, *_COMPANIES)),
    ("POST", "/company/offers"): Row(signed_in(422, *_COMPANIES), _OFFER),
    ("POST", "/company/offers/{offer_id}/withdraw"): Row(
        signed_in(303, *_COMPANIES), objects="offer", scoped=frozenset(_COMPANIES)
    ),
    ("GET", "/offers"): Row(signed_in(200, "officer", "auditor")),
    ("POST", "/offers/{offer_id}/confirm"): Row(
        signed_in(303, "officer"), objects="offer", scoped=frozenset({"officer"})
    ),
    ("POST", "/offers/{offer_id}/decline"): Row(
        signed_in(303, "officer"), {"remark": "tidak jadi"}, objects="offer", scoped=frozenset({"officer"})
    ),
    **{
        ("GET", path): Row(signed_in(200, "company_user", "company_admin"))
        for path in (
            "/company",
            "/company/months.svg",
            "/company/workers",
            "/company/workers.xlsx",
            "/company/workers.csv",
            "/company/statements",
            "/company/impact",
            "/company/impact/months.svg",
            "/company/impact/districts.svg",
            "/company/messages",
        )
    },
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {"statement": _sign, "offer": make_offer}
