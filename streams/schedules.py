"""What happens by the clock: due allocation requests, tidying the outbox, and the chores."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from sqlalchemy import Connection, Engine, text

from streams.chores import Chores
from streams.leader import hold_lock, lead
from streams.retry import is_passing
from streams.settings import StreamSettings
from workflow.outbox import purge_outbox
from workflow.request import publish_due_requests

_log = structlog.get_logger("gotong.streams.schedules")

#: Arbitrary, shared by every worker: one keeps the schedules at a time.
_SCHEDULE_LOCK = 0x676F746F_73636865


class Schedules:
    """Runs until ``stopping``; the process that holds the lock keeps the clock for all."""

    def __init__(
        self,
        settings: StreamSettings,
        engine: Engine,
        stopping: asyncio.Event,
        on_request: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._stopping = stopping
        self._on_request = on_request
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="schedules")
        self._chores = Chores(settings, engine)

    async def run(self) -> None:
        """Keep the schedules for as long as the worker runs; a database that is away only delays."""
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping.is_set():
                try:
                    turn = lead(
                        self._engine,
                        hold_lock(_SCHEDULE_LOCK),
                        patience_seconds=self._settings.lead_patience_seconds,
                    )
                    connection = await loop.run_in_executor(self._executor, turn.__enter__)
                    try:
                        if connection is not None:
                            await self._keep(connection)
                    finally:
                        with contextlib.suppress(Exception):
                            await loop.run_in_executor(self._executor, turn.__exit__, None, None, None)
                except Exception as error:  # noqa: BLE001 - nothing may end the loop
                    level = "warning" if is_passing(error) else "error"
                    getattr(_log, level)("schedules_interrupted", error=type(error).__name__)
                await self._pause(self._settings.relay_rest_seconds)
        finally:
            self._chores.stop()
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _keep(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        purged_at = time.monotonic()
        while not self._stopping.is_set():
            if await loop.run_in_executor(self._executor, self._publish_due, connection):
                self._on_request()
            self._chores.start_due()
            if time.monotonic() - purged_at > self._settings.purge_interval_seconds:
                purged_at = time.monotonic()
                await loop.run_in_executor(self._executor, self._purge)
            await self._pause(self._settings.schedule_interval_seconds)

    def _publish_due(self, connection: Connection) -> int:
        with connection.begin():
            connection.execute(text("SELECT 1"))  # fails when the lock's session is gone
        return publish_due_requests(
            self._engine,
            settle_seconds=self._settings.settle_seconds,
            shortest_interval_seconds=self._settings.shortest_interval_seconds,
            longest_wait_seconds=self._settings.longest_wait_seconds,
            rest_share=self._settings.rest_share,
        )

    def _purge(self) -> None:
        with self._engine.begin() as connection:
            purge_outbox(connection, older_than_seconds=self._settings.outbox_kept_seconds)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
