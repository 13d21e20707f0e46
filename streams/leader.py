"""One process at a time: a PostgreSQL advisory lock, held by a connection of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine, text


@contextlib.contextmanager
def lead(engine: Engine, take_lock: Callable[[Connection], bool]) -> Iterator[Connection | None]:
    """A connection that holds the lock, or ``None`` when another process leads.

    The lock ends with the connection, so a leader that is killed makes room at once. Use the
    connection for the work itself or ask it now and then: when it fails, the lead is lost.
    """
    with engine.connect() as connection:
        connection.detach()  # out of the pool: closing it must end the session and the lock
        with connection.begin():
            held = take_lock(connection)
        yield connection if held else None


def hold_lock(number: int) -> Callable[[Connection], bool]:
    """Take the session lock ``number`` if it is free."""

    def take(connection: Connection) -> bool:
        return bool(connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}))

    return take
