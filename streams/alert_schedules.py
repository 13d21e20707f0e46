"""The alerts' schedules: Faust's crontab rings on every worker, the database lets one of them work."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import Engine

from models.tariff import default_table
from streams.retry import is_passing
from workflow.alert_schedule import run_alert_job

_log = structlog.get_logger("gotong.streams.alert_schedules")

_EVERY_MINUTE, _EVERY_HOUR = "* * * * *", "0 * * * *"


def add_alert_schedules(app: Any, engine: Engine) -> None:
    """Ring ``minute`` and ``hour``; a new worker begins with the hour's job, if nobody has done it yet."""
    executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="alerts")
    tariffs = default_table()

    def do(job: str, slot: dt.datetime) -> None:
        try:
            opened = run_alert_job(engine, job, tariffs, slot, dt.datetime.now(dt.UTC))
            _log.info("alert_job", job=job, opened=opened)
        except Exception as error:  # noqa: BLE001 - it rings again
            level = "warning" if is_passing(error) else "error"
            getattr(_log, level)("alert_job_failed", job=job, error=type(error).__name__)

    async def ring(job: str) -> None:
        now = dt.datetime.now(dt.UTC).replace(second=0, microsecond=0)
        slot = now if job == "minute" else now.replace(minute=0)
        await asyncio.get_running_loop().run_in_executor(executor, do, job, slot)

    @app.crontab(_EVERY_MINUTE)  # type: ignore[untyped-decorator]
    async def each_minute() -> None:
        await ring("minute")

    @app.crontab(_EVERY_HOUR)  # type: ignore[untyped-decorator]
    async def each_hour() -> None:
        await ring("hour")

    @app.task  # type: ignore[untyped-decorator]
    async def begin() -> None:
        await ring("hour")
