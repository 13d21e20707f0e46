"""The unit of work: one engine per process, one transaction per step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, Executable, Row, create_engine, event, make_url
from sqlalchemy.exc import InvalidatePoolError

#: PostgreSQL's own words for "the server is away or going away": worth waiting for.
_DRIVER = "postgresql+psycopg"
_ROWS_AT_A_TIME: Final = 1000


def open_engine(
    url: str,
    *,
    pool_size: int = 5,
    application_name: str = "gotong",
    transaction_patience_seconds: float | None = None,
    trusted_seconds: float = 0.0,
) -> Engine:
    """Engine for ``url``, e.g. ``postgresql://user:secret@host/gotong``.

    Connections are checked before use, so a restarted server costs one reconnect, not an error.
    With ``transaction_patience_seconds``, PostgreSQL ends a session that stood still so long inside a
    transaction, so that a frozen process does not keep its locks. A connection that was used within
    ``trusted_seconds`` is not checked: every question to the server is a turn to wait for.
    Raises ``ValueError`` for any dialect but PostgreSQL.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError(f"Gotong runs on PostgreSQL only, not on {parsed.get_backend_name()}")
    engine = create_engine(
        parsed.set(drivername=_DRIVER),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=not trusted_seconds,
        hide_parameters=True,  # an error message must never carry a person's data
        connect_args={"application_name": application_name, "connect_timeout": 10},
    )
    if trusted_seconds:
        _check_idle(engine, trusted_seconds)
    if transaction_patience_seconds is not None:
        _limit_transactions(engine, transaction_patience_seconds)
    return engine


def connect_alone(engine: Engine) -> Connection:
    """A connection on which every statement is a transaction of its own: nothing to begin and commit.

    For what takes one statement and runs with every request; two that belong together take ``begin``.
    """
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def stream_rows(
    connection: Connection, statement: Executable, values: Mapping[str, Any] | None = None
) -> Iterator[Row[Any]]:
    """Rows that a cursor of the server hands out a thousand at a time: memory does not grow with them.

    For tables to take away; a page asks for few rows and gets them in one answer.
    """
    yield from connection.execute(statement, values or {}, execution_options={"yield_per": _ROWS_AT_A_TIME})


def _check_idle(engine: Engine, seconds: float) -> None:
    """Ask a connection whether it lives only when nobody has used it for so long."""
    dialect = engine.dialect

    @event.listens_for(engine, "checkin")
    def leave(_connection: object, record: Any) -> None:
        record.info["left_at"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, _proxy: object) -> None:
        now = time.monotonic()
        if now - record.info.get("left_at", now) < seconds:
            return
        try:
            dialect.do_ping(connection)
        except dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError("the connection is gone") from error


def _limit_transactions(engine: Engine, seconds: float) -> None:
    statement = f"SET idle_in_transaction_session_timeout = {int(seconds * 1000)}"

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)
        connection.commit()
