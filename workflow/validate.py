"""Validate: from an envelope to a typed, checked report, or a refusal with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.event import BudgetChanged, PledgeChanged
from models.message import EventEnvelope, Refusal
from workflow.context import IntakeContext


@dataclass(frozen=True, slots=True)
class FundReport:
    """A checked change of a fund, and the envelope it came in."""

    envelope: EventEnvelope
    change: PledgeChanged | BudgetChanged


def validate_funds(context: IntakeContext, envelopes: Sequence[EventEnvelope]) -> list[FundReport | Refusal]:
    """One result per envelope, in order, for topics ``funding.pledge-changed.v1`` and ``funding.budget-changed.v1``."""
    raise NotImplementedError
