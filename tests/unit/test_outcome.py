"""Which database errors mean "try again later", and which are an event's own fault."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import exc

from workflow.outcome import BatchOutcome, Unavailable, watch_availability


def wrapped(kind: type[exc.DBAPIError], cause: psycopg.Error) -> exc.DBAPIError:
    return kind("INSERT INTO worker", {"nik": "6402051708800001"}, cause)


PASSING: dict[str, Callable[[], Exception]] = {
    "a lost connection": lambda: wrapped(exc.OperationalError, errors.ConnectionFailure("gone")),
    "a shutdown": lambda: wrapped(exc.OperationalError, errors.AdminShutdown("stop")),
    "a deadlock": lambda: wrapped(exc.OperationalError, errors.DeadlockDetected("circle")),
    "a full disk": lambda: wrapped(exc.OperationalError, errors.DiskFull("full")),
    "a standby": lambda: wrapped(exc.InternalError, errors.ReadOnlySqlTransaction("read only")),
    "a table not migrated yet": lambda: wrapped(exc.ProgrammingError, errors.UndefinedTable("no table")),
    "a pool without connections": lambda: exc.TimeoutError("QueuePool limit"),
}


@pytest.mark.parametrize("case", PASSING)
def test_what_will_pass_is_unavailable_and_the_message_holds_no_data(case: str) -> None:
    with pytest.raises(Unavailable) as raised, watch_availability():
        raise PASSING[case]()
    assert "6402051708800001" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (exc.DataError, errors.NumericValueOutOfRange("too large")),
        (exc.IntegrityError, errors.CheckViolation("broken")),
    ],
)
def test_what_a_row_causes_is_left_to_the_caller(kind: type[exc.DBAPIError], cause: psycopg.Error) -> None:
    with pytest.raises(kind), watch_availability():
        raise wrapped(kind, cause)


def test_a_defect_is_not_taken_for_an_outage() -> None:
    with pytest.raises(KeyError), watch_availability():
        raise KeyError("defect")


def test_outcomes_are_counted() -> None:
    assert BatchOutcome(["registered", "repeated", "registered"]).counts == {"registered": 2, "repeated": 1}
