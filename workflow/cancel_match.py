"""Cancel a match that is under way: its plan is dropped, and everything that stands proposed stays."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import OperationalError

from models.tables import AllocationRun
from workflow.record import record_action


class NothingRunsError(Exception):
    """The regency has no match under way, or it is being stored already."""


def cancel_match(engine: Engine, regency: str, officer: str, now: dt.datetime) -> uuid.UUID:
    """Ask the regency's match to stop; its worker does so within about a second. Returns the run.

    Asked twice, the first officer stands. Raises ``NothingRunsError``.
    """
    with engine.begin() as connection:
        run = connection.execute(
            select(AllocationRun.id, AllocationRun.cancel_asked_by)
            .where(AllocationRun.regency_code == regency, AllocationRun.status == "RUNNING")
            .order_by(AllocationRun.generation.desc())
            .limit(1)
            .with_for_update()
        ).one_or_none()
        if run is None:
            raise NothingRunsError(f"no match is under way in {regency}")
        if run.cancel_asked_by is None:
            connection.execute(
                update(AllocationRun).where(AllocationRun.id == run.id).values(cancel_asked_by=officer)
            )
            record_action(connection, officer, "cancel_match", str(run.id), {"regency": regency}, now)
    run_id: uuid.UUID = run.id
    return run_id


def is_cancelled(engine: Engine, run_id: uuid.UUID) -> bool:
    """Whether an officer wants this match stopped; a database that is away stops nothing."""
    with contextlib.suppress(OperationalError), engine.connect() as connection:
        asked = connection.scalar(select(AllocationRun.cancel_asked_by).where(AllocationRun.id == run_id))
        return asked is not None
    return False
