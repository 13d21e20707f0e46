"""Register: a batch of uncovered workers becomes workers and coverage needs, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine

from models.message import EventEnvelope, Refusal
from workflow.context import IntakeContext
from workflow.outcome import BatchOutcome


def register_workers(
    engine: Engine,
    context: IntakeContext,
    envelopes: Sequence[EventEnvelope],
    refusals: Sequence[Refusal] = (),
) -> BatchOutcome:
    """Store the batch: inbox, worker, coverage need, allocation signal, dead letters, outbox.

    All envelopes and refusals of one message must come in one call. Repeats change nothing.
    Raises ``workflow.outcome.Unavailable`` when the database is away; nothing is stored then, or
    a leading part of the batch, and calling again with the same batch is right.
    """
    raise NotImplementedError
