"""Lock-out: guessing gets exponentially slower, per e-mail address and per network address.

An attempt counts as failed before it is checked and is taken back when it was right. So a hundred
guesses at once are no cheaper than a hundred in a row. Addresses that have no account are treated
like those that have one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Engine, text

FORGET_AFTER: Final = dt.timedelta(hours=24)

# The row lock of the upsert queues simultaneous attempts; a locked subject gives no row.
_COUNT = text(
    """
    INSERT INTO sign_in_lock AS l (subject_hash, failures, failed_at)
    VALUES (:subject, 1, :now)
    ON CONFLICT (subject_hash) DO UPDATE SET
        failed_at = excluded.failed_at,
        failures = CASE WHEN l.failed_at < :forget THEN 1 ELSE l.failures + 1 END,
        locked_until = CASE WHEN l.failed_at >= :forget AND l.failures + 1 >= :free
            THEN CAST(:now AS timestamptz) + least(
                CAST(:longest AS interval),
                CAST(:first AS interval) * 2 ^ least(l.failures + 1 - :free, 30)) END
    WHERE l.locked_until IS NULL OR l.locked_until <= excluded.failed_at
    RETURNING failures
    """
)
_UNTIL = text("SELECT locked_until FROM sign_in_lock WHERE subject_hash = :subject")
_FORGIVE = text("DELETE FROM sign_in_lock WHERE subject_hash = :subject")
_TAKE_BACK = text(
    "UPDATE sign_in_lock SET failures = greatest(failures - 1, 0), locked_until = NULL"
    " WHERE subject_hash = :subject"
)
_SWEEP = text("DELETE FROM sign_in_lock WHERE failed_at < :forget")


class LockedOutError(Exception):
    """Too many failed attempts; ``retry_after_seconds`` says when the next one is looked at."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"locked for {retry_after_seconds} s")
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose attempts are counted, and how patiently: ``free`` failures cost nothing."""

    digest: bytes
    free: int
    first_lock: dt.timedelta = dt.timedelta(seconds=30)
    longest_lock: dt.timedelta = dt.timedelta(hours=1)
    shared: bool = False


def email_subject(email: str) -> Subject:
    """An e-mail address, whether it has an account or not."""
    return Subject(_digest("email", email.strip().lower()), free=5)


def factor_subject(account: str) -> Subject:
    """An account's second factor: six digits bear fewer guesses a day than a password."""
    return Subject(_digest("factor", account), free=5)


def address_subject(address: str) -> Subject:
    """A network address; of IPv6 the /64, since one machine has all of it. Offices share one: be patient."""
    try:
        parsed = ipaddress.ip_address(address)
        if parsed.version == 6:
            address = str(ipaddress.ip_network(f"{address.partition('%')[0]}/64", strict=False))
    except ValueError:
        pass
    return Subject(_digest("address", address), free=25, shared=True)


def count_attempt(engine: Engine, subjects: Sequence[Subject], now: dt.datetime) -> None:
    """Count one attempt of every subject, ahead of its check. Raises :class:`LockedOutError`."""
    waits: list[dt.datetime] = []
    with engine.begin() as connection:
        for subject in sorted(subjects, key=lambda each: each.digest):  # one order: no deadlock
            counted = connection.execute(
                _COUNT,
                {
                    "subject": subject.digest,
                    "now": now,
                    "forget": now - FORGET_AFTER,
                    "free": subject.free,
                    "first": subject.first_lock,
                    "longest": subject.longest_lock,
                },
            ).one_or_none()
            if counted is None:
                until = connection.scalar(_UNTIL, {"subject": subject.digest})
                waits.append(until or now)
    if waits:
        raise LockedOutError(max(1, int((max(waits) - now).total_seconds()) + 1))


def take_back_attempt(connection: Connection, subjects: Sequence[Subject]) -> None:
    """The attempt was right: its own subject is forgiven all; one that many share, this attempt only."""
    for subject in sorted(subjects, key=lambda each: each.digest):
        connection.execute(_TAKE_BACK if subject.shared else _FORGIVE, {"subject": subject.digest})


def forgive(connection: Connection, subject: Subject) -> None:
    """Forget the subject's failures."""
    connection.execute(_FORGIVE, {"subject": subject.digest})


def sweep_locks(connection: Connection, now: dt.datetime) -> None:
    """Remove what no longer counts."""
    connection.execute(_SWEEP, {"forget": now - FORGET_AFTER})


def _digest(kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{kind}:{name}".encode()).digest()
