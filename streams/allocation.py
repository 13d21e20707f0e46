"""``allocation.requested.v1`` → allocate: one regency after another, the solver in its own process."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine

from models.event import AllocationRequested
from models.message import EventEnvelope, Refusal, refuse_event
from models.tariff import default_table
from optimizer.policy import DEFAULT_POLICY
from streams import failpoints
from streams.processing import Step
from streams.settings import StreamSettings
from streams.solver_process import SolverProcessError
from workflow.allocate import allocate_regency
from workflow.context import IntakeContext
from workflow.dead_letter import record_dead_letters
from workflow.outbox import settle_messages
from workflow.outcome import watch_availability
from workflow.solver import Solver

_log = structlog.get_logger("gotong.streams.allocation")


def make_allocation_step(
    engine: Engine, context: IntakeContext, solver: Solver, settings: StreamSettings
) -> Step:
    """The step for a batch of requests. A request that is answered already costs one query."""
    tariffs = default_table()

    def allocate(events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> None:
        refused = list(refusals)
        with watch_availability():
            for event in events:
                refusal = answer(event)
                if refusal is not None:
                    refused.append(refusal)
            with engine.begin() as connection:
                if refused:
                    record_dead_letters(connection, context.vault, refused)
                messages = [event.message for event in events] + [refusal.message for refusal in refusals]
                settle_messages(connection, messages)

    def answer(event: EventEnvelope) -> Refusal | None:
        try:
            request = AllocationRequested.model_validate_json(event.data)
        except ValidationError as error:
            place = ".".join(str(part) for part in error.errors()[0]["loc"]) or "data"
            return refuse_event(
                event, "schema_violation", f"{place} is not as allocation.requested.v1 wants it"
            )
        failpoints.reach("solve")
        try:
            outcome = allocate_regency(
                engine,
                request.regency,
                solver=solver,
                policy=DEFAULT_POLICY,
                tariffs=tariffs,
                time_limit_seconds=settings.solver_time_limit_seconds,
                request_number=request.request_number,
            )
        except LookupError:
            return refuse_event(event, "regency_not_served", "the regency is not served here")
        except SolverProcessError as error:
            # The request stays unanswered and is published again; the run is marked FAILED.
            _log.error("solve_failed", regency=request.regency, error=str(error))
            return None
        _log.info(
            "allocated",
            regency=request.regency,
            status=outcome.status,
            needs=outcome.needs,
            proposed=outcome.proposed,
        )
        return None

    return allocate
