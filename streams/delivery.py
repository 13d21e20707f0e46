"""Delivery: every worker sends alerts as they fall due; leases in the database keep them from doubling up.

It needs the database alone: while the broker is away, mail still goes out. Each channel has a thread while
it is being sent to, so one that hangs keeps nobody waiting but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from sqlalchemy import Engine, Row

from models.vault import Vault
from streams import failpoints
from streams.retry import is_passing
from streams.settings import StreamSettings
from workflow.deliver import Post, claim_due, send_claimed

_log = structlog.get_logger("gotong.streams.delivery")

_CHANNELS_AT_ONCE = 16
_REST_SECONDS = 0.5


class Delivery:
    """Runs until ``stopping``."""

    def __init__(
        self, settings: StreamSettings, engine: Engine, vault: Vault, stopping: asyncio.Event
    ) -> None:
        self._engine = engine
        self._stopping = stopping
        self._post = Post(
            vault,
            settings.portal_url.rstrip("/"),
            settings.mail_url,
            tuple(ipaddress.ip_network(network) for network in settings.webhook_networks),
        )
        self._executor = ThreadPoolExecutor(_CHANNELS_AT_ONCE + 1, thread_name_prefix="delivery")
        self._busy: dict[uuid.UUID, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Send for as long as the worker runs; trouble with the database only delays."""
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping.is_set():
                claimed: list[Row[Any]] = []
                if len(self._busy) < _CHANNELS_AT_ONCE:
                    try:
                        claimed = await loop.run_in_executor(self._executor, self._claim, list(self._busy))
                    except Exception as error:  # noqa: BLE001 - nothing may end the loop
                        self._say("claim_failed", error)
                if claimed:
                    channel = claimed[0].channel_id
                    self._busy[channel] = asyncio.create_task(self._send(channel, claimed))
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), _REST_SECONDS)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _claim(self, busy: list[uuid.UUID]) -> list[Row[Any]]:
        return claim_due(self._engine, _now(), busy, mail=self._post.mail_url is not None)

    async def _send(self, channel: uuid.UUID, claimed: Sequence[Row[Any]]) -> None:
        failpoints.reach("before_deliver")
        loop = asyncio.get_running_loop()
        try:
            sent = await loop.run_in_executor(
                self._executor, send_claimed, self._engine, self._post, claimed, _now()
            )
            _log.info("delivered" if sent else "delivery_failed", channel=str(channel), alerts=len(claimed))
        except Exception as error:  # noqa: BLE001 - the lease ends, and it is tried again
            self._say("delivery_interrupted", error)
        finally:
            del self._busy[channel]

    def _say(self, event: str, error: Exception) -> None:
        level = "warning" if is_passing(error) else "error"
        getattr(_log, level)(event, error=type(error).__name__)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
