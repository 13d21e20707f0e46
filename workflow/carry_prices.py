"""A former run's prices, laid out for the funds and districts of the next.

Apart from the solver on purpose: a worker's process, which solves in a child, never loads OR-Tools.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from optimizer.result import Prices


def carry_prices(
    prices: Prices,
    before: tuple[Sequence[str], Sequence[str]],
    now: tuple[Sequence[str], Sequence[str]],
) -> Prices:
    """Prices for other funds and districts, matched by (fund ids, district codes), as a warm start.

    What ``before`` did not know begins at price 0.
    """
    fund_at, district_at = (_positions(old, new) for old, new in zip(before, now, strict=True))
    return replace(
        prices,
        fund=np.append(prices.fund, 0.0)[fund_at],
        head=np.append(prices.head, 0.0)[fund_at],
        district=np.pad(prices.district, ((0, 1), (0, 1)))[np.ix_(fund_at, district_at)],
    )


def _positions(before: Sequence[str], now: Sequence[str]) -> list[int]:
    """Where each of ``now`` stands in ``before``; the place after the last when it does not."""
    known = {name: position for position, name in enumerate(before)}
    return [known.get(name, len(before)) for name in now]
