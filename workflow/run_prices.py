"""A run's prices in the database: the next run starts from them, and explanations speak of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from models.tables import AllocationRun
from optimizer.result import Prices
from workflow.carry_prices import carry_prices
from workflow.snapshot import Snapshot


def write_prices(snapshot: Snapshot, prices: Prices) -> dict[str, Any]:
    """Prices with the funds and districts they belong to, as JSON keeps them."""
    funds, districts = snapshot.names.places
    return {
        "funds": list(funds),
        "districts": list(districts),
        "fund": prices.fund.tolist(),
        "head": prices.head.tolist(),
        "district": prices.district.tolist(),
        "gap": prices.gap,
    }


def read_prices(connection: Connection, snapshot: Snapshot) -> Prices | None:
    """The last finished run's prices, laid out for the funds and districts of this snapshot."""
    stored = connection.scalar(
        select(AllocationRun.prices)
        .where(
            AllocationRun.regency_code == snapshot.regency,
            AllocationRun.status.in_(("OPTIMAL", "FEASIBLE")),
            AllocationRun.prices.is_not(None),
        )
        .order_by(AllocationRun.generation.desc())
        .limit(1)
    )
    if stored is None:
        return None
    funds, districts = tuple(stored["funds"]), tuple(stored["districts"])
    prices = Prices(
        fund=np.array(stored["fund"], dtype=np.float64),
        head=np.array(stored["head"], dtype=np.float64),
        district=np.array(stored["district"], dtype=np.float64).reshape(len(funds), len(districts)),
        gap=stored.get("gap", 0.0),
    )
    return carry_prices(prices, (funds, districts), snapshot.names.places)
