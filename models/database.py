"""The unit of work: one engine per process, one transaction per step."""

from __future__ import annotations

from sqlalchemy import Engine, create_engine, make_url

#: PostgreSQL's own words for "the server is away or going away": worth waiting for.
_DRIVER = "postgresql+psycopg"


def open_engine(url: str, *, pool_size: int = 5, application_name: str = "gotong") -> Engine:
    """Engine for ``url``, e.g. ``postgresql://user:secret@host/gotong``.

    Connections are checked before use, so a restarted server costs one reconnect, not an error.
    Raises ``ValueError`` for any dialect but PostgreSQL.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise ValueError(f"Gotong runs on PostgreSQL only, not on {parsed.get_backend_name()}")
    return create_engine(
        parsed.set(drivername=_DRIVER),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        hide_parameters=True,  # an error message must never carry a person's data
        connect_args={"application_name": application_name, "connect_timeout": 10},
    )
