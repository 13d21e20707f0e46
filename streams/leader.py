"""One process at a time: a PostgreSQL advisory lock, held by a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine, text


@contextlib.contextmanager
def lead(
    engine: Engine, take_lock: Callable[[Connection], bool], *, patience_seconds: float
) -> Iterator[Connection | None]:
    """A connection that holds the lock, or ``None`` when another process leads.

    The lock ends with the connection, so a leader that is killed makes room at once. One that stands
    still (SIGSTOP, a paused machine) says nothing for ``patience_seconds``; then PostgreSQL ends its session
    and another takes over. Use the connection for the work itself or ask it now and then: when it fails,
    the lead is lost.
    """
    with engine.connect() as connection:
        connection.detach()  # out of the pool: closing it must end the session and the lock
        with connection.begin():
            connection.execute(
                text("SELECT set_config('idle_session_timeout', :patience, false)"),
                {"patience": f"{patience_seconds * 1000:.0f}ms"},
            )
            held = take_lock(connection)
        yield connection if held else None


def hold_lock(number: int) -> Callable[[Connection], bool]:
    """Take the session lock ``number`` if it is free."""

    def take(connection: Connection) -> bool:
        return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}))

    return take
