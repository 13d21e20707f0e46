"""How far a running match is: written while it solves, read by who waits for it."""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import OperationalError

from models.tables import AllocationRun
from optimizer.progress import Progress


@dataclass(frozen=True, slots=True)
class RunProgress:
    """A match under way. ``phase`` is empty until its first word; ``gap`` is a fraction, or not known yet."""

    started_at: dt.datetime
    phase: str
    seconds: float
    value: float | None
    bound: float | None
    gap: float | None
    cancel_asked_by: str | None


def write_progress(engine: Engine, run_id: uuid.UUID, progress: Progress) -> None:
    """Keep a running match's latest word; a match that has ended keeps its last.

    A database that is away does not stop the match: the next word tries again.
    """
    word = {
        "phase": progress.phase,
        "seconds": round(progress.seconds, 1),
        "value": progress.value,
        "bound": progress.bound,
        "gap": progress.gap,
    }
    with contextlib.suppress(OperationalError), engine.begin() as connection:
        connection.execute(
            update(AllocationRun)
            .where(AllocationRun.id == run_id, AllocationRun.status == "RUNNING")
            .values(progress=word)
        )


def read_progress(connection: Connection, regency: str) -> RunProgress | None:
    """The regency's match under way, or ``None`` when there is none."""
    run = connection.execute(
        select(AllocationRun.started_at, AllocationRun.progress, AllocationRun.cancel_asked_by)
        .where(AllocationRun.regency_code == regency, AllocationRun.status == "RUNNING")
        .order_by(AllocationRun.generation.desc())
        .limit(1)
    ).one_or_none()
    if run is None:
        return None
    word = run.progress or {}
    return RunProgress(
        started_at=run.started_at,
        phase=word.get("phase", ""),
        seconds=word.get("seconds", 0.0),
        value=word.get("value"),
        bound=word.get("bound"),
        gap=word.get("gap"),
        cancel_asked_by=run.cancel_asked_by,
    )
