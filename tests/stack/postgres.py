"""PostgreSQL for tests: databases made from a migrated template, and a server that listens on TCP."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.errors import InsufficientPrivilege
from sqlalchemy import make_url
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from gotong.postgres import APPLICATION_ROLE, EmbeddedPostgres

# Tests kill the server, never the machine, so nothing is lost without fsync; it saves a third of the time.
TEST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


@contextmanager
def open_tcp_postgres(folder: Path, *, password: str) -> Iterator[str]:
    """A server of its own on 127.0.0.1, with a password: what production looks like to a client.

    Gives the URL of an empty database for the role `gotong`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with EmbeddedPostgres(folder, settings=TEST_SETTINGS, tcp_port=port) as server:
        with psycopg.connect(server.superuser_conninfo(), autocommit=True) as connection:
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(APPLICATION_ROLE), sql.Literal(password)))
        yield f"postgresql+psycopg://{APPLICATION_ROLE}:{password}@127.0.0.1:{port}/gotong"


class DatabaseServer:
    """Makes and drops databases on one server; `admin_url` must be allowed to create databases."""

    def __init__(self, admin_url: str) -> None:
        self.admin_url = admin_url

    def create(self, *, template: str = "template0") -> str:
        """A new database, a copy of `template`; returns its SQLAlchemy URL."""
        name = f"gotong_test_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self._execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
        return make_url(self.admin_url).set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Drop a database, with whoever is still connected to it."""
        name = make_url(url).database or ""
        # Only a superuser may end an autovacuum worker that is in there just now; it leaves by itself.
        patiently = Retrying(
            retry=retry_if_exception_type(InsufficientPrivilege),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(30),
            reraise=True,
        )
        for attempt in patiently:
            with attempt:
                self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.admin_url.replace("+psycopg", "", 1), autocommit=True) as connection:
            connection.execute(statement)
