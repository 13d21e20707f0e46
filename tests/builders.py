"""Builders: synthetic needs and funds, put straight into a database for a test's starting point."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from typing import Any

from sqlalchemy import Connection, Engine, insert

from models.event import BudgetChanged, PledgeChanged
from models.programme import bundle_mask, parse_bundle
from models.tables import CoverageNeed, Worker
from workflow.fund_change import change_fund

KUKAR = "64.02"
NOW = dt.datetime(2026, 11, 2, 1, 0, tzinfo=dt.UTC)


def add_need(connection: Connection, number: int, **changes: Any) -> int:
    """A waiting need of synthetic worker ``number``; returns its id."""
    of_worker = {"village_code": "64.02.05.2001", "occupation": "nelayan", "sex": "L", "birth_year": 1980}
    of_worker |= {key: changes.pop(key) for key in list(changes) if key in of_worker}
    worker_id = connection.execute(
        insert(Worker)
        .values(
            nik_hash=hashlib.sha256(f"synthetic {number}".encode()).digest(),
            nik_encrypted=b"not a real one",
            nik_key_id="test",
            declared_base_rupiah=1_000_000,
            reported_at=NOW,
            **of_worker,
        )
        .returning(Worker.id)
    ).scalar_one()
    village = of_worker["village_code"]
    values: dict[str, Any] = {
        "worker_id": worker_id,
        "regency_code": KUKAR,
        "district_code": str(village)[:8],
        "village_code": village,
        "programmes": bundle_mask(parse_bundle("JKK+JKM")),
        "months": 3,
        "start_month": dt.date(2026, 12, 1),
        "priority": 50,
        "reported_at": NOW,
    } | changes
    need_id: int = connection.execute(
        insert(CoverageNeed).values(values).returning(CoverageNeed.id)
    ).scalar_one()
    return need_id


def pledge(fund_id: str = "csr-1", amount_rupiah: int = 1_000_000, **changes: Any) -> PledgeChanged:
    """A company's pledge open to everyone, as the event states it."""
    return PledgeChanged.model_validate(
        {
            "fund_id": fund_id,
            "revision": 1,
            "regency": KUKAR,
            "name": f"Komitmen {fund_id}",
            "funder": "PT Contoh Rekaan",
            "npwp": "013000666091000",
            "amount_rupiah": amount_rupiah,
            "window_from": "2026-01",
            "window_to": "2027-12",
        }
        | changes
    )


def budget(fund_id: str = "apbd-1", ceiling_rupiah: int = 1_000_000, **changes: Any) -> BudgetChanged:
    """A regional budget line open to everyone, wholly released."""
    return BudgetChanged.model_validate(
        {
            "fund_id": fund_id,
            "revision": 1,
            "regency": KUKAR,
            "name": f"Pos {fund_id}",
            "fiscal_year": 2026,
            "account_code": "5.1.02.02.01.0065",
            "ceiling_rupiah": ceiling_rupiah,
            "released_rupiah": ceiling_rupiah,
            "window_from": "2026-01",
            "window_to": "2027-12",
        }
        | changes
    )


def apply_fund(engine: Engine, change: PledgeChanged | BudgetChanged) -> str:
    """Apply a fund event in its own transaction, as a worker would."""
    with engine.begin() as connection:
        return change_fund(connection, change, uuid.uuid4(), NOW)
