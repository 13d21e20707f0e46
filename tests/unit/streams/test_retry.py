from __future__ import annotations

import pytest
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError

from streams.retry import is_passing
from streams.solver_process import SolverProcessError, SolverStoppedError
from workflow.outcome import Unavailable


def of_driver(kind: type[DBAPIError], *, connection_lost: bool = False) -> DBAPIError:
    return kind("SELECT", None, Exception("driver"), connection_invalidated=connection_lost)


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (Unavailable("away"), True),
        (of_driver(OperationalError), True),
        (of_driver(DBAPIError, connection_lost=True), True),
        (SolverStoppedError("stopping"), True),
        (of_driver(IntegrityError), False),
        (of_driver(DataError), False),
        (SolverProcessError("died"), False),
        (ValueError("a bug"), False),
    ],
)
def test_only_trouble_that_passes_is_waited_for(error: Exception, passing: bool) -> None:
    assert is_passing(error) is passing
