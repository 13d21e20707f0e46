"""The journal: every rupiah a fund gains, promises, pays or loses is one entry.

Balances are folds of the journal, never facts of their own. The kinds follow
the two-phase habit of ledgers: money is first *reserved*, then *posted* or
*released*, once.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

#: Kind -> signed effect on (pledged, reserved, committed, disbursed, expired).
EFFECTS: Final[dict[str, tuple[int, int, int, int, int]]] = {
    "pledge": (1, 0, 0, 0, 0),
    "top_up": (1, 0, 0, 0, 0),
    "reduce": (-1, 0, 0, 0, 0),
    "reserve": (0, 1, 0, 0, 0),
    "release": (0, -1, 0, 0, 0),
    "post": (0, -1, 1, 0, 0),
    "disburse": (0, 0, -1, 1, 0),
    "refund": (0, 0, -1, 0, 0),
    "expire": (0, 0, 0, 0, 1),
}
ENTRY_KINDS: Final = tuple(EFFECTS)

#: What can move money: an allocation run, a fund's event, an officer's decision, an answer of the
#: agency to an enrolment file, the clock (a window or fiscal year that ended).
CAUSES: Final = ("run", "event", "decision", "answer", "schedule")
CHAIN_START: Final = bytes(32)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why money moves: one of ``CAUSES`` and the id of that run, event, decision ..."""

    kind: str
    id: uuid.UUID


class OverdrawnError(ValueError):
    """A movement would promise more than the fund holds, or take a bucket below zero."""


@dataclass(frozen=True, slots=True)
class Balances:
    """A fund's buckets in rupiah. Guard: no bucket negative, promises within the pledge.

    The same rules stand as CHECKs on table ``fund`` (``ck_fund_never_overdrawn`` and the
    ``..._not_negative`` ones).
    """

    pledged_rupiah: int = 0
    reserved_rupiah: int = 0
    committed_rupiah: int = 0
    disbursed_rupiah: int = 0
    expired_rupiah: int = 0

    def __post_init__(self) -> None:
        buckets = (
            self.pledged_rupiah,
            self.reserved_rupiah,
            self.committed_rupiah,
            self.disbursed_rupiah,
            self.expired_rupiah,
        )
        if min(buckets) < 0:
            raise OverdrawnError(f"a bucket would be negative: {buckets}")
        if sum(buckets[1:]) > self.pledged_rupiah:
            raise OverdrawnError(f"promises {sum(buckets[1:])} exceed the pledge {self.pledged_rupiah}")

    @property
    def available_rupiah(self) -> int:
        """What may still be reserved."""
        promised = self.reserved_rupiah + self.committed_rupiah + self.disbursed_rupiah + self.expired_rupiah
        return self.pledged_rupiah - promised

    def after(self, kind: str, amount_rupiah: int) -> Balances:
        """Balances once an entry of ``kind`` moved ``amount_rupiah`` (> 0).

        Raises ``OverdrawnError`` when the entry is not covered, ``KeyError`` for an unknown kind.
        """
        if amount_rupiah <= 0:
            raise ValueError(f"a journal entry moves a positive amount, not {amount_rupiah}")
        pledged, reserved, committed, disbursed, expired = EFFECTS[kind]
        return Balances(
            self.pledged_rupiah + pledged * amount_rupiah,
            self.reserved_rupiah + reserved * amount_rupiah,
            self.committed_rupiah + committed * amount_rupiah,
            self.disbursed_rupiah + disbursed * amount_rupiah,
            self.expired_rupiah + expired * amount_rupiah,
        )


def fold_entries(entries: Iterable[tuple[str, int]]) -> Balances:
    """Balances from ``(kind, amount_rupiah)`` in journal order."""
    balances = Balances()
    for kind, amount_rupiah in entries:
        balances = balances.after(kind, amount_rupiah)
    return balances


def chain_entry(
    previous_hash: bytes,
    *,
    fund_code: str,
    number: int,
    kind: str,
    amount_rupiah: int,
    cause: Cause,
    recorded_at: dt.datetime,
) -> bytes:
    """Hash that seals an entry to its predecessor; any later change of either breaks the chain.

    ``recorded_at`` must be timezone-aware; it is sealed in UTC to the microsecond, which is what
    PostgreSQL keeps.
    """
    if recorded_at.tzinfo is None:
        raise ValueError("recorded_at must carry a time zone")
    moment = recorded_at.astimezone(dt.UTC).isoformat(timespec="microseconds")
    body = "|".join((fund_code, str(number), kind, str(amount_rupiah), cause.kind, str(cause.id), moment))
    return hashlib.sha256(previous_hash + body.encode()).digest()
