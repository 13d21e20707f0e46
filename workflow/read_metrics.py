"""Read metrics: what the house would tell a monitoring system about itself, as plain numbers.

Nothing here names a person, and no number is about one: labels are topics, reasons, funds, regencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, text

from workflow.read_health import read_health
from workflow.report import RunFigures, read_last_run

Labels = tuple[str, ...]

_EVENTS = text("SELECT type, outcome, count(*) FROM inbox_event GROUP BY 1, 2")
_DEAD_LETTERS = text(
    """
    SELECT topic, reason, CASE WHEN replayed_at IS NULL THEN 'waiting' ELSE 'replayed' END, count(*)
    FROM dead_letter GROUP BY 1, 2, 3
    """
)
_FUNDS = text(
    """
    SELECT regency_code, kind, code, pledged_rupiah,
           reserved_rupiah + committed_rupiah + disbursed_rupiah + expired_rupiah AS used_rupiah
    FROM fund
    """
)
_ALERTS = text("SELECT scope, kind, severity, state, count(*) FROM alert GROUP BY 1, 2, 3, 4")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of a topic is not done (``workflow.read_health``); ``oldest_seconds`` is the oldest one's age."""

    messages: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class HouseMetrics:
    """The house at one moment; the keys are the labels in the order that each line names.

    ``used_share`` is the part of a fund's money that is reserved, spent or gone, from 0 to 1.
    """

    events: Mapping[Labels, int]  # type, outcome
    dead_letters: Mapping[Labels, int]  # topic, reason, state
    outbox: Mapping[Labels, Backlog]  # topic, and intake or own
    used_share: Mapping[Labels, float]  # regency, kind, fund
    runs: Mapping[str, RunFigures]  # regency -> its newest match
    alerts: Mapping[Labels, int]  # scope, kind, severity, state
    halted: Mapping[str, bool]  # regency -> whether it allocates no more
    paused_topics: int
    worker_connections: int


def read_metrics(engine: Engine) -> HouseMetrics:
    """Read all of it; at a million events it takes about a second, so callers keep the answer a while."""
    health = read_health(engine)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        runs = {each.code: read_last_run(connection, each.code) for each in health.regencies}
        return HouseMetrics(
            events={tuple(row[:2]): row[2] for row in connection.execute(_EVENTS)},
            dead_letters={tuple(row[:3]): row[3] for row in connection.execute(_DEAD_LETTERS)},
            outbox={
                (each.topic, "intake" if each.intake else "own"): Backlog(
                    each.messages, max(0.0, (health.read_at - each.oldest).total_seconds())
                )
                for each in health.backlogs
            },
            used_share={
                (row.regency_code, row.kind, row.code): (
                    row.used_rupiah / row.pledged_rupiah if row.pledged_rupiah else 0.0
                )
                for row in connection.execute(_FUNDS)
            },
            runs={code: run for code, run in runs.items() if run is not None},
            alerts={tuple(row[:4]): row[4] for row in connection.execute(_ALERTS)},
            halted={each.code: each.halted_reason is not None for each in health.regencies},
            paused_topics=len(health.pauses),
            worker_connections=health.worker.connections if health.worker else 0,
        )
