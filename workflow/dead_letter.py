"""Dead letters: what could not be accepted is kept, explained, and can be tried again after a fix."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from models.message import Refusal
from models.vault import Vault


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """One dead letter without its contents."""

    id: int
    log_id: str
    topic: str
    partition: int
    offset: int
    position: int
    reason: str
    detail: str
    attempt: int
    received_at: dt.datetime
    replayed_at: dt.datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """A dead letter as a person may see it: digits of identity numbers and names are masked."""

    summary: DeadLetterSummary
    key: str | None
    headers: Mapping[str, str]
    payload: str
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class DeadLetterCount:
    """Dead letters of one topic and reason; ``replayed`` is the part of ``total`` that was tried again."""

    topic: str
    reason: str
    total: int
    replayed: int


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """``replayed`` and ``skipped`` ids; skipped ones are unknown, replayed already, or too large to send."""

    replayed: Sequence[int]
    skipped: Mapping[int, str]


def record_dead_letters(connection: Connection, vault: Vault, refusals: Sequence[Refusal]) -> int:
    """Store refusals and announce them on ``<topic>.dlq``, in the caller's transaction.

    Returns how many are new: one that is known by (log, topic, partition, offset, position) is left alone.
    """
    raise NotImplementedError


def list_dead_letters(
    engine: Engine,
    *,
    topic: str | None = None,
    reason: str | None = None,
    waiting_only: bool = True,
    limit: int = 100,
    before_id: int | None = None,
) -> list[DeadLetterSummary]:
    """Newest first; ``waiting_only`` leaves out those that were replayed."""
    raise NotImplementedError


def show_dead_letter(engine: Engine, vault: Vault, dead_letter_id: int) -> DeadLetterView | None:
    """One dead letter with masked contents; ``None`` when there is no such id."""
    raise NotImplementedError


def count_dead_letters(engine: Engine) -> list[DeadLetterCount]:
    """By topic and reason."""
    raise NotImplementedError


def replay_dead_letters(
    engine: Engine,
    vault: Vault,
    ids: Sequence[int] | None = None,
    *,
    topic: str | None = None,
    reason: str | None = None,
) -> ReplayOutcome:
    """Send the original bytes to the original topic again, by ids or by filter (all waiting ones without any).

    Through the outbox, and marked in the same transaction. An event that was refused out of a batch
    is sent alone. If it is refused again, that is a new dead letter of the next attempt.
    """
    raise NotImplementedError
