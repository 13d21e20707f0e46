"""While a topic is paused: its batches wait where they are, unacknowledged, and the worker goes on living."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from typing import Final

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from streams.settings import StreamSettings
from workflow.pause_intake import IntakePausedError, is_paused, pause_intake

_log = structlog.get_logger("gotong.streams.standstill")

_LOOK_SECONDS: Final = 1.0


class Standstill:
    """One agent's waiting for its topic to go on."""

    def __init__(self, engine: Engine, settings: StreamSettings, stopping: asyncio.Event) -> None:
        self._engine = engine
        self._trial_seconds = settings.intake_trial_seconds
        self._stopping = stopping

    async def wait(self, paused: IntakePausedError) -> None:
        """Record the pause if this batch is its cause; then wait until somebody resumes the topic.

        Returns too when the worker stops and when a trial is due. Raises when the database is away.
        """
        if paused.cause is not None:
            await asyncio.to_thread(pause_intake, self._engine, paused.cause, dt.datetime.now(dt.UTC))
        _log.warning("intake_paused", topic=paused.topic, refused=paused.cause and dict(paused.cause.reasons))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._trial_seconds):
                while not self._stopping.is_set() and await self._stands_still(paused.topic):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), _LOOK_SECONDS)

    async def _stands_still(self, topic: str) -> bool:
        try:
            return await asyncio.to_thread(is_paused, self._engine, topic)
        except SQLAlchemyError:
            return True  # a database that is away resumes nothing
