"""Read health: what runs, what waits and what stands still, from the database alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, select, text
from sqlalchemy.dialects.postgresql import distinct_on

from models.review_tables import AuditRecord
from models.tables import AllocationRun, Regency
from workflow.outbox import count_unsettled
from workflow.pause_intake import StandingPause, read_pauses

# The program names its connections; a worker has several.
_PROCESSES = text(
    """
    SELECT application_name AS name, count(*) AS connections, min(backend_start) AS since
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'gotong-%'
    GROUP BY application_name ORDER BY application_name
    """
)
# Whoever holds a lock of the session's kind leads: one for the relay, one for the schedules.
_LEADERS = text(
    """
    SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND l.granted AND l.database = (
              SELECT oid FROM pg_database WHERE datname = current_database())
      AND a.application_name = 'gotong-worker'
    """
)
_OLDEST = text(
    """
    SELECT topic, intake, count(*) AS messages, min(created_at) AS oldest FROM outbox_message
    WHERE settled_at IS NULL AND (intake OR published_at IS NULL)
    GROUP BY topic, intake ORDER BY topic
    """
)
_WAITING_LETTERS = text("SELECT count(*) FROM dead_letter WHERE replayed_at IS NULL")
_LAST_RUNS = (
    select(
        AllocationRun.id,
        AllocationRun.regency_code,
        AllocationRun.status,
        AllocationRun.needs,
        AllocationRun.proposed,
        AllocationRun.started_at,
        AllocationRun.finished_at,
    )
    .ext(distinct_on(AllocationRun.regency_code))
    .order_by(AllocationRun.regency_code, AllocationRun.generation.desc())
)


@dataclass(frozen=True, slots=True)
class Process:
    """A kind of process that has connections to the database now."""

    name: str
    connections: int
    since: dt.datetime


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of a topic is not done: to be published, or published and without an outcome (``intake``)."""

    topic: str
    intake: bool
    messages: int
    oldest: dt.datetime


@dataclass(frozen=True, slots=True)
class RegencyHealth:
    """Whether a regency allocates, and its newest run. Times are aware."""

    code: str
    halted_reason: str | None
    status: str | None = None
    needs: int = 0
    proposed: int = 0
    started_at: dt.datetime | None = None
    finished_at: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The house at one moment. ``schema`` is the migration it stands at."""

    read_at: dt.datetime
    server: str
    schema: str
    processes: tuple[Process, ...]
    leaders: int
    backlogs: tuple[Backlog, ...]
    intake_waiting: int
    intake_in_flight: int
    dead_letters: int
    regencies: tuple[RegencyHealth, ...]
    pauses: tuple[StandingPause, ...]
    breach: tuple[str, dt.datetime] | None

    @property
    def worker(self) -> Process | None:
        """The stream workers, when any is there."""
        return next((process for process in self.processes if process.name == "gotong-worker"), None)

    @property
    def well(self) -> bool:
        """Nothing here needs a person."""
        halted = any(regency.halted_reason for regency in self.regencies)
        return self.worker is not None and self.leaders > 0 and not halted and not self.pauses


def read_health(engine: Engine) -> Health:
    """Read all of it; the newest finding of the audit is its last halt."""
    pauses = tuple(read_pauses(engine))
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        waiting, in_flight, _ = count_unsettled(connection)
        runs = {row.regency_code: row for row in connection.execute(_LAST_RUNS)}
        homes = connection.execute(select(Regency.code, Regency.halted_reason).order_by(Regency.code)).all()
        breach = connection.execute(
            select(AuditRecord.subject, AuditRecord.recorded_at)
            .where(AuditRecord.actor == "audit", AuditRecord.action == "halt")
            .order_by(AuditRecord.number.desc())
            .limit(1)
        ).one_or_none()
        return Health(
            read_at=connection.scalar(text("SELECT clock_timestamp()")) or dt.datetime.now(dt.UTC),
            server=str(connection.scalar(text("SHOW server_version"))),
            schema=str(connection.scalar(text("SELECT version_num FROM alembic_version"))),
            processes=tuple(Process(*row) for row in connection.execute(_PROCESSES)),
            leaders=int(connection.scalar(_LEADERS) or 0),
            backlogs=tuple(Backlog(*row) for row in connection.execute(_OLDEST)),
            intake_waiting=waiting,
            intake_in_flight=in_flight,
            dead_letters=int(connection.scalar(_WAITING_LETTERS) or 0),
            regencies=tuple(_regency(home, runs.get(home.code)) for home in homes),
            pauses=pauses,
            breach=None if breach is None else (breach.subject, breach.recorded_at),
        )


def _regency(home: Any, run: Any) -> RegencyHealth:
    if run is None:
        return RegencyHealth(home.code, home.halted_reason)
    return RegencyHealth(
        home.code, home.halted_reason, run.status, run.needs, run.proposed, run.started_at, run.finished_at
    )
