"""Who stands still (SIGSTOP, a paused machine) keeps its connections, but must not keep lead or locks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from models.database import open_engine
from streams.leader import hold_lock, lead
from streams.retry import is_passing
from tests.integration.streams.worker_process import await_true

PATIENCE_SECONDS = 0.4


def try_lead(engine: Engine, take_lock: Callable[[Connection], bool]) -> bool:
    with lead(engine, take_lock, patience_seconds=60) as connection:
        return connection is not None


def test_a_leader_that_says_nothing_loses_the_lead_and_learns_it(engine: Engine) -> None:
    take_lock = hold_lock(4711)
    with lead(engine, take_lock, patience_seconds=PATIENCE_SECONDS) as first:
        assert first is not None
        assert not try_lead(engine, take_lock)
        await_true(lambda: try_lead(engine, take_lock), timeout_seconds=15)
        with pytest.raises(OperationalError):
            first.execute(text("SELECT 1"))


def test_a_leader_that_asks_now_and_then_keeps_the_lead(engine: Engine) -> None:
    take_lock = hold_lock(4712)
    with lead(engine, take_lock, patience_seconds=5) as first:
        assert first is not None
        for _ in range(3):
            with first.begin():
                first.execute(text("SELECT pg_sleep(0.1)"))
            assert not try_lead(engine, take_lock)


def test_a_transaction_that_stands_still_lets_go_of_its_rows(engine: Engine, database_url: str) -> None:
    lock = text("SELECT code FROM regency FOR UPDATE NOWAIT")
    frozen = open_engine(database_url, transaction_patience_seconds=PATIENCE_SECONDS)

    def can_lock() -> bool:
        try:
            with engine.begin() as other:
                other.execute(lock)
            return True
        except OperationalError:  # lock_not_available
            return False

    with frozen.connect() as connection:
        connection.execute(lock)
        assert not can_lock()
        await_true(can_lock, timeout_seconds=15)
        with pytest.raises(DBAPIError) as told:
            connection.execute(text("SELECT 1"))
    assert is_passing(told.value)  # awake again, a worker asks once more instead of giving the events up
    frozen.dispose()
