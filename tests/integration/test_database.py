"""Connections: one that the server ended is noticed before it is used, however it is checked."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from models.database import connect_alone, open_engine

TRUSTED_SECONDS = 0.3


def end_connections(url: str) -> None:
    """What a restart of the server does to the connections of everybody else."""
    other = open_engine(url)
    with other.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    other.dispose()


def ask(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT 1")) or 0)


@pytest.mark.parametrize("trusted_seconds", [0.0, TRUSTED_SECONDS])
def test_a_connection_that_has_rested_costs_a_reconnect_and_no_error(
    database_url: str, trusted_seconds: float
) -> None:
    engine = open_engine(database_url, trusted_seconds=trusted_seconds)
    assert ask(engine) == 1
    end_connections(database_url)
    time.sleep(trusted_seconds)
    assert ask(engine) == 1
    engine.dispose()


def test_one_that_was_just_used_is_trusted_and_after_its_one_error_all_are_made_anew(
    database_url: str,
) -> None:
    engine = open_engine(database_url, trusted_seconds=60.0)
    with engine.connect() as first, engine.connect() as second:
        assert first.scalar(text("SELECT 1")) == second.scalar(text("SELECT 1"))
    end_connections(database_url)
    with pytest.raises(OperationalError):
        ask(engine)
    with engine.connect() as first, engine.connect() as second:
        assert first.scalar(text("SELECT 1")) == second.scalar(text("SELECT 1"))
    engine.dispose()


def test_a_statement_alone_is_committed_at_once_and_the_next_unit_is_a_transaction_again(
    database_url: str,
) -> None:
    engine, other = open_engine(database_url, pool_size=1), open_engine(database_url)
    count = text("SELECT count(*) FROM region")
    with connect_alone(engine) as connection:
        connection.execute(text("INSERT INTO region (code, name, level) VALUES ('11', 'Aceh', 'province')"))
        with other.connect() as reader:
            assert reader.scalar(count) == 1
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM region"))  # rolled back: nobody said commit
    with other.connect() as reader:
        assert reader.scalar(count) == 1
    engine.dispose()
    other.dispose()
