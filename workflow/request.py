"""Request: turn many signals into few allocation requests, at most one waiting per regency.

Every change that may alter a match leaves a row in ``allocation_signal``. A
request goes out when the signals have been quiet for a moment, or when the
first of them has waited long enough, and never while one is unanswered or the
last match rests: under a steady stream, matching must not take the machine
from those whose events still come in.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, text

from models.event import AllocationRequested
from workflow.outbox import enqueue_event

_DUE = text(
    """
    WITH pending AS (
        SELECT regency_code, min(raised_at) AS first, max(raised_at) AS last
        FROM allocation_signal GROUP BY regency_code
    )
    SELECT p.regency_code
    FROM pending p JOIN regency r ON r.code = p.regency_code
    LEFT JOIN LATERAL (
        SELECT m.started_at, m.finished_at FROM allocation_run m
        WHERE m.regency_code = p.regency_code ORDER BY m.generation DESC LIMIT 1) run ON true
    WHERE r.halted_reason IS NULL
      AND NOT EXISTS (
          SELECT 1 FROM allocation_request q WHERE q.regency_code = p.regency_code AND q.answered_at IS NULL)
      AND (p.last <= clock_timestamp() - make_interval(secs => :settle)
           OR p.first <= clock_timestamp() - make_interval(secs => :longest_wait))
      AND NOT EXISTS (
          SELECT 1 FROM allocation_request q
          WHERE q.regency_code = p.regency_code
            AND q.requested_at > clock_timestamp() - make_interval(secs => :shortest_interval))
      AND coalesce(run.finished_at + (run.finished_at - run.started_at) * :rest_share
                   - make_interval(secs => :longest_wait), '-infinity') <= clock_timestamp()
    ORDER BY p.first
    """
)

_OPEN = text(
    """
    INSERT INTO allocation_request (regency_code, number)
    SELECT :regency, coalesce(max(number), 0) + 1 FROM allocation_request WHERE regency_code = :regency
    ON CONFLICT DO NOTHING
    RETURNING number
    """
)

_STALE = text(
    """
    UPDATE allocation_request SET published_at = clock_timestamp()
    WHERE answered_at IS NULL AND published_at < clock_timestamp() - make_interval(secs => :stale)
    RETURNING regency_code, number
    """
)

_RAISE = text("INSERT INTO allocation_signal (regency_code) VALUES (:regency)")


def raise_signal(connection: Connection, regency: str) -> None:
    """Note that the regency's match may be out of date."""
    connection.execute(_RAISE, {"regency": regency})


def publish_due_requests(
    engine: Engine,
    *,
    settle_seconds: float,
    shortest_interval_seconds: float,
    longest_wait_seconds: float,
    rest_share: float = 0.0,
    stale_seconds: float = 60.0,
) -> int:
    """Open a request for each regency whose signals are due; returns how many were published.

    After a match its regency rests for ``rest_share`` times as long as the match took, less the
    ``longest_wait_seconds`` that changes wait anyway: short matches follow each other without a rest.
    A request unanswered for ``stale_seconds`` is published again: its message, or the
    worker that took it, may be gone. Answering twice is harmless.
    """
    with engine.begin() as connection:
        due = connection.scalars(
            _DUE,
            {
                "settle": settle_seconds,
                "shortest_interval": shortest_interval_seconds,
                "longest_wait": longest_wait_seconds,
                "rest_share": rest_share,
            },
        ).all()
        wanted = [
            (regency, number)
            for regency in due
            if (number := connection.scalar(_OPEN, {"regency": regency})) is not None
        ]
        wanted += [
            (row.regency_code, row.number) for row in connection.execute(_STALE, {"stale": stale_seconds})
        ]
        for regency, number in wanted:
            enqueue_event(
                connection,
                "allocation.requested.v1",
                AllocationRequested(regency=regency, request_number=number),
                key=regency.encode(),
            )
    return len(wanted)
