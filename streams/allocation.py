"""``allocation.requested.v1`` → allocate: one regency after another, the solver in its own process."""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from pydantic import ValidationError
from sqlalchemy import Engine

from models.event import AllocationRequested
from models.message import EventEnvelope, Refusal, refuse_event
from models.tariff import default_table
from streams import failpoints
from streams.processing import Step
from streams.settings import StreamSettings
from streams.solver_process import SolverProcessError, SolverStoppedError
from workflow.allocate import RunOutcome, allocate_regency
from workflow.context import IntakeContext
from workflow.dead_letter import record_dead_letters
from workflow.outbox import settle_messages
from workflow.outcome import watch_availability
from workflow.policy_versions import read_policy_in_force
from workflow.solver import Solver

#: A solver that dies is started anew; one that dies of this very problem must not hold up other regencies.
_SOLVE_ATTEMPTS = 3

_log = structlog.get_logger("gotong.streams.allocation")


def make_allocation_step(
    engine: Engine, context: IntakeContext, solver: Solver, settings: StreamSettings
) -> Step:
    """The step for a batch of requests. A request that is answered already costs one query."""
    tariffs = default_table()

    def answer_all(events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> None:
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
        try:
            outcome = allocate(request)
        except LookupError:
            return refuse_event(event, "regency_not_served", "the regency is not served here")
        if outcome is None:
            return None
        _log.info(
            "allocated",
            regency=request.regency,
            status=outcome.status,
            needs=outcome.needs,
            proposed=outcome.proposed,
        )
        return None

    def allocate(request: AllocationRequested) -> RunOutcome | None:
        """``None`` when the solver failed each time: the request stays open and is published again."""
        for attempt in range(1, _SOLVE_ATTEMPTS + 1):
            failpoints.reach("solve")
            try:
                return allocate_regency(
                    engine,
                    request.regency,
                    solver=solver,
                    policy=read_policy_in_force(engine, request.regency),
                    tariffs=tariffs,
                    time_limit_seconds=settings.solver_time_limit_seconds,
                    request_number=request.request_number,
                )
            except SolverStoppedError:
                raise
            except SolverProcessError as error:
                _log.error("solve_failed", regency=request.regency, attempt=attempt, error=str(error))
        return None

    return answer_all
