"""What intake needs besides the database: the regions, the keys, the time, and when to stand still."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field

from models.region import RegionTable
from models.vault import Vault
from workflow.pause_intake import IntakeGuard


def _read_clock() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class IntakeContext:
    """Handed to every intake step; ``now`` gives an aware time and may be replaced in tests.

    The guard of a context made without one never pauses a topic.
    """

    regions: RegionTable
    vault: Vault
    now: Callable[[], dt.datetime] = _read_clock
    guard: IntakeGuard = field(default_factory=IntakeGuard)
