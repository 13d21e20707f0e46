"""What intake needs besides the database: the regions, the keys and the time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from models.region import RegionTable
from models.vault import Vault


def _read_clock() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """Handed to every intake step; ``now`` gives an aware time and may be replaced in tests."""

    regions: RegionTable
    vault: Vault
    now: Callable[[], dt.datetime] = _read_clock
