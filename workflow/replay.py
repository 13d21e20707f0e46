"""Replay: somebody sends dead letters again, and the record says who."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import Engine

from models.vault import Vault
from workflow.dead_letter import ReplayOutcome, replay_dead_letters
from workflow.record import record_action


def replay_for(
    engine: Engine,
    vault: Vault,
    actor: str,
    now: dt.datetime,
    ids: Sequence[int] | None = None,
    *,
    topic: str | None = None,
    reason: str | None = None,
) -> ReplayOutcome:
    """As ``workflow.dead_letter.replay_dead_letters``, recorded in the name of ``actor``."""
    outcome = replay_dead_letters(engine, vault, ids, topic=topic, reason=reason)
    if outcome.replayed:
        detail = {"replayed": len(outcome.replayed), "topic": topic, "reason": reason}
        subject = str(outcome.replayed[0]) if len(outcome.replayed) == 1 else "several"
        with engine.begin() as connection:
            record_action(connection, actor, "replay_dead_letters", subject, detail, now)
    return outcome
