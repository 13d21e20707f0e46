"""Deadlock: whoever PostgreSQL sends back, because two transactions waited for each other, asks again.

An officer, a run and a shrinking fund lock the same rows, some of them in another order. Steps that
are idempotent - by a key, a state or a file's digest - are simply taken once more.
"""

from __future__ import annotations

from typing import Final

from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy.exc import OperationalError
from tenacity import retry, retry_if_exception, stop_after_attempt, wait_random_exponential


def is_deadlock(error: BaseException) -> bool:
    """Whether another transaction was let through instead; nothing of this one was stored."""
    return isinstance(error, OperationalError) and isinstance(
        error.orig, DeadlockDetected | SerializationFailure
    )


#: Decorator: take the step again, a little later each time, at most eight times.
ask_again: Final = retry(
    retry=retry_if_exception(is_deadlock),
    wait=wait_random_exponential(multiplier=0.02, max=0.5),
    stop=stop_after_attempt(8),
    reraise=True,
)
