"""The relay: publishes the outbox, in order, by one process at a time.

At least once: a row is marked only after the broker has acknowledged its message (``acks=all``,
idempotent producer). When one message of a batch fails, what follows it is not marked either and goes
out again after it, so no reader misses an order, though it may see a message twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from sqlalchemy import Connection, Engine

from streams import failpoints
from streams.leader import lead
from streams.retry import is_passing
from streams.settings import StreamSettings
from streams.topics import read_log_id
from workflow.outbox import OutboxRecord, hold_relay_lock, mark_published, reopen_forgotten, take_unpublished

_log = structlog.get_logger("gotong.streams.relay")

_STOP_SECONDS = 2.0
#: The mark of a message that no broker setting of ours lets through. Its row stays as evidence.
_TOO_LARGE = "refused:message-too-large"


class Relay:
    """Runs until ``stopping``; waits for its turn while another process relays."""

    def __init__(self, settings: StreamSettings, engine: Engine, stopping: asyncio.Event) -> None:
        self._settings = settings
        self._engine = engine
        self._stopping = stopping
        self._woken = asyncio.Event()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="relay")

    def wake(self) -> None:
        """Say that there is something to publish, instead of waiting for the next look."""
        self._woken.set()

    async def run(self) -> None:
        """Relay for as long as the worker runs; trouble with broker or database only delays."""
        try:
            while not self._stopping.is_set():
                try:
                    await self._take_turn_until_stopped()
                except Exception as error:  # noqa: BLE001 - nothing may end the loop
                    level = "warning" if isinstance(error, KafkaError) or is_passing(error) else "error"
                    getattr(_log, level)("relay_interrupted", error=type(error).__name__)
                await self._pause(self._settings.relay_rest_seconds)
        finally:
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def _take_turn_until_stopped(self) -> None:
        turn = asyncio.create_task(self._take_turn())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([turn, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not turn.done():  # told to stop: what is not acknowledged soon goes out again later
                await asyncio.wait([turn], timeout=_STOP_SECONDS)
        finally:
            turn.cancel()
            stopped.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await turn

    async def _take_turn(self) -> None:
        loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            turn = lead(self._engine, hold_relay_lock, patience_seconds=self._settings.lead_patience_seconds)
            connection = await loop.run_in_executor(self._executor, turn.__enter__)
            stack.push_async_callback(self._in_thread_exit, turn)
            if connection is None:
                return
            log_id = await read_log_id(self._settings)
            producer = AIOKafkaProducer(
                bootstrap_servers=self._settings.kafka_brokers,
                enable_idempotence=True,
                acks="all",
                linger_ms=2,
                max_batch_size=256 * 1024,
                max_request_size=self._settings.largest_message_bytes,
                request_timeout_ms=10_000,
            )
            await producer.start()
            stack.push_async_callback(self._stop_producer, producer)
            _log.info("relaying", log_id=log_id)
            await self._relay(connection, producer, log_id)

    async def _stop_producer(self, producer: AIOKafkaProducer) -> None:
        # With the broker away it would wait for what cannot be sent; the rows are still in the outbox.
        with contextlib.suppress(Exception):
            await asyncio.wait_for(producer.stop(), _STOP_SECONDS)

    async def _in_thread_exit(self, turn: contextlib.AbstractContextManager[Connection | None]) -> None:
        with contextlib.suppress(Exception):
            await asyncio.get_running_loop().run_in_executor(self._executor, turn.__exit__, None, None, None)

    async def _relay(self, connection: Connection, producer: AIOKafkaProducer, log_id: str) -> None:
        loop = asyncio.get_running_loop()
        looked_back_at = -self._settings.relay_patience_seconds
        while not self._stopping.is_set():
            if self._settings.forgetful_broker and (
                loop.time() - looked_back_at >= self._settings.relay_patience_seconds / 4
            ):
                looked_back_at = loop.time()
                await loop.run_in_executor(self._executor, self._reopen, connection, log_id)
            self._woken.clear()
            records = await loop.run_in_executor(self._executor, self._take, connection)
            if not records:
                await self._pause(self._settings.relay_poll_seconds)
                continue
            await self._publish(connection, producer, records, log_id)

    async def _publish(
        self,
        connection: Connection,
        producer: AIOKafkaProducer,
        records: Sequence[OutboxRecord],
        log_id: str,
    ) -> None:
        loop = asyncio.get_running_loop()
        failpoints.reach("before_publish")
        pending: list[asyncio.Future[object] | None] = []
        failure: KafkaError | None = None
        published: list[int] = []
        refused: list[int] = []
        for record in records:
            try:
                pending.append(
                    await producer.send(
                        record.topic,
                        record.value,
                        key=record.key,
                        headers=list(record.headers.items()),
                    )
                )
            except MessageSizeTooLargeError:
                pending.append(None)
            except KafkaError as error:
                failure = error
                break
        for record, future in zip(records, pending, strict=False):
            try:
                if future is None:
                    raise MessageSizeTooLargeError
                await future
                published.append(record.id)
            except MessageSizeTooLargeError:
                _log.error("message_too_large", outbox_id=record.id, topic=record.topic)
                refused.append(record.id)
            except KafkaError as error:
                failure = failure or error
                break
        failpoints.reach("before_mark_published")
        if published:
            await loop.run_in_executor(self._executor, self._mark, connection, published, log_id)
        if refused:
            await loop.run_in_executor(self._executor, self._mark, connection, refused, _TOO_LARGE)
        if failure is not None:
            raise failure

    def _take(self, connection: Connection) -> list[OutboxRecord]:
        in_flight_bytes = self._settings.intake_in_flight_bytes if self._settings.forgetful_broker else None
        with connection.begin():
            return take_unpublished(
                connection,
                self._settings.relay_batch_messages,
                intake_in_flight_bytes=in_flight_bytes,
            )

    def _mark(self, connection: Connection, ids: Sequence[int], log_id: str) -> None:
        with connection.begin():
            mark_published(connection, ids, log_id)

    def _reopen(self, connection: Connection, log_id: str) -> None:
        with connection.begin():
            count = reopen_forgotten(
                connection, log_id, patience_seconds=self._settings.relay_patience_seconds
            )
        if count:
            _log.warning("publishing_again", messages=count)

    async def _pause(self, seconds: float) -> None:
        waits = [asyncio.create_task(self._stopping.wait()), asyncio.create_task(self._woken.wait())]
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            task.cancel()
