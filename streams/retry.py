"""Telling trouble that passes from trouble that stays, and waiting for the first to pass."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

import structlog
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from tenacity import AsyncRetrying, RetryCallState, RetryError, retry_if_exception, stop_when_event_set
from tenacity.wait import wait_random_exponential

from streams.settings import StreamSettings
from streams.solver_process import SolverStoppedError
from workflow.outcome import Unavailable

_log = structlog.get_logger("gotong.streams.retry")

Result = TypeVar("Result")


class StoppedError(Exception):
    """The worker was told to stop before the work could be done; nothing was acknowledged."""


def is_passing(error: BaseException) -> bool:
    """Whether ``error`` is operational (server away, connection lost, deadlock), so that waiting helps."""
    if isinstance(error, SolverStoppedError):
        return True  # not for this worker: it stops before it tries again
    if isinstance(error, Unavailable | OperationalError | InterfaceError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


async def retry_in_thread(
    work: Callable[[], Result],
    *,
    what: str,
    executor: Executor,
    stopping: asyncio.Event,
    settings: StreamSettings,
) -> Result:
    """``work()`` in a thread, again and again with jittered backoff for as long as its trouble passes.

    Other errors are raised at once. Raises ``StoppedError`` when ``stopping`` is set between tries.
    """

    async def attempt() -> Result:
        return await asyncio.get_running_loop().run_in_executor(executor, work)

    async def pause(seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        # A driver's own text may repeat the values it refused; Unavailable is written to be shown.
        detail = str(error) if isinstance(error, Unavailable) else ""
        _log.warning(
            "waiting", what=what, attempt=state.attempt_number, error=type(error).__name__, detail=detail
        )

    retrying = AsyncRetrying(
        retry=retry_if_exception(is_passing),
        wait=wait_random_exponential(
            multiplier=settings.retry_first_seconds, max=settings.retry_longest_seconds
        ),
        stop=stop_when_event_set(stopping),  # type: ignore[arg-type]  # asks only is_set()
        sleep=pause,
        before_sleep=tell,
    )
    try:
        return await retrying(attempt)
    except RetryError as error:
        raise StoppedError(what) from error
