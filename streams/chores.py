"""Chores: what whoever keeps the schedules does now and then, beside them and never in their way."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import structlog
from sqlalchemy import Engine

from streams.retry import is_passing
from streams.settings import StreamSettings
from workflow.expire import expire_funds
from workflow.halt import audit_and_halt
from workflow.publish_heads import publish_daily_heads

_log = structlog.get_logger("gotong.streams.chores")


@dataclass(slots=True)
class _Chore:
    name: str
    interval_seconds: float
    work: Callable[[Engine, dt.datetime], int]
    begun_at: float | None = None


class Chores:
    """Audit, expiry and the daily heads, each at its interval and all of them in one thread of their own.

    Repeating any of them is harmless, so a new keeper of the schedules simply begins with all of them.
    """

    def __init__(self, settings: StreamSettings, engine: Engine) -> None:
        self._engine = engine
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="chores")
        self._under_way: Future[None] | None = None
        self._chores = (
            _Chore("audit", settings.audit_interval_seconds, lambda e, now: len(audit_and_halt(e, now))),
            _Chore("expire", settings.daily_interval_seconds, lambda e, now: len(expire_funds(e, now))),
            _Chore("heads", settings.daily_interval_seconds, lambda e, now: len(publish_daily_heads(e, now))),
        )

    def start_due(self) -> None:
        """Begin the next chore that is due, unless one is under way; returns at once."""
        if self._under_way is not None and not self._under_way.done():
            return
        now = time.monotonic()
        for chore in self._chores:
            if chore.begun_at is None or now - chore.begun_at >= chore.interval_seconds:
                chore.begun_at = now
                self._under_way = self._executor.submit(self._do, chore)
                return

    def stop(self) -> None:
        """Begin nothing more."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _do(self, chore: _Chore) -> None:
        begun = time.monotonic()
        try:
            found = chore.work(self._engine, dt.datetime.now(dt.UTC))
        except Exception as error:  # noqa: BLE001 - it comes round again, and must not end the thread
            level = "warning" if is_passing(error) else "error"
            getattr(_log, level)("chore_failed", chore=chore.name, error=type(error).__name__)
        else:
            _log.info("chore_done", chore=chore.name, count=found, seconds=round(time.monotonic() - begun, 2))
