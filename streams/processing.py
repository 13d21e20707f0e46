"""From fetched records to a finished batch: decode, call the workflow step, acknowledge.

The order is what keeps every event: acknowledge only after the step's transaction has committed; while
the database is away or the topic is paused try the same batch again, neither dropping nor reordering; and
let no error of one message hold up the others.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog

from models.message import EventEnvelope, InboundMessage, Refusal, refuse_event
from streams import failpoints
from streams.codec import decode
from streams.consumer import FetchedRecords
from streams.retry import StoppedError, retry_in_thread
from streams.settings import StreamSettings
from workflow.intake_position import Partition
from workflow.pause_intake import IntakePausedError

_log = structlog.get_logger("gotong.streams.batch")

#: A workflow step: one transaction for all that is given, or an exception and nothing done.
Step = Callable[[Sequence[EventEnvelope], Sequence[Refusal]], object]

#: Topic, partition and offset: one message.
Place = tuple[str, int, int]


def read_messages(log_id: str, batch: Iterable[FetchedRecords]) -> list[InboundMessage]:
    """The records of a batch as messages, in order. Header names repeat rarely; the last one counts."""
    return [
        InboundMessage(
            log_id=log_id,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            key=record.key,
            headers={name: value or b"" for name, value in record.headers},
            value=record.value,
            sent_ms=max(record.timestamp or 0, 0),
        )
        for fetched in batch
        for record in fetched.records
    ]


class BatchProcessor:
    """Takes batches of one agent through its workflow step.

    After the batch's transaction committed, ``store_positions`` notes in the database how far that was, and
    ``acknowledge`` is called for each part of it. ``stand_still`` waits while the topic is paused.

    Up to ``lanes`` batches, of different partitions, may be processed at once: while one waits for
    PostgreSQL, the other is decoded and checked.
    """

    def __init__(
        self,
        name: str,
        step: Step,
        *,
        settings: StreamSettings,
        log_id: str,
        stopping: asyncio.Event,
        store_positions: Callable[[Mapping[Partition, int]], None],
        stand_still: Callable[[IntakePausedError], Awaitable[None]],
        acknowledge: Callable[[FetchedRecords], object],
        lanes: int = 1,
    ) -> None:
        self._name = name
        self._step = step
        self._settings = settings
        self._log_id = log_id
        self._stopping = stopping
        self._store_positions = store_positions
        self._stand_still = stand_still
        self._acknowledge = acknowledge
        self.lanes = lanes
        self._executor = ThreadPoolExecutor(max_workers=lanes, thread_name_prefix=name)

    async def process(self, batch: Sequence[FetchedRecords]) -> None:
        """Do the batch and acknowledge it. Raises only ``asyncio.CancelledError``."""
        if self._stopping.is_set():
            return  # a former batch may have been left unfinished: nothing after it may be acknowledged
        failpoints.reach("poll")
        try:
            while not await self._settle(batch):
                pass
        except StoppedError:
            _log.info("left_unfinished", agent=self._name)
            return
        failpoints.reach("before_ack")
        for fetched in batch:
            self._acknowledge(fetched)

    async def _settle(self, batch: Sequence[FetchedRecords]) -> bool:
        """Whether the batch is in the database; if not, it is tried again, since nothing may be skipped."""
        try:
            loop = asyncio.get_running_loop()
            events, refusals = await loop.run_in_executor(self._executor, self._decode, batch)
            await self._work(events, refusals)
            next_offsets = {(part.tp.topic, part.tp.partition): part.next_offset for part in batch}
            await self._in_thread(lambda: self._store_positions(next_offsets))
            return True
        except StoppedError:
            raise
        except IntakePausedError as paused:
            await self._stand_still(paused)
        except Exception as error:  # noqa: BLE001 - nothing may be skipped, whatever it is
            _log.error("batch_failed", agent=self._name, error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._settings.retry_longest_seconds)
        if self._stopping.is_set():
            raise StoppedError(self._name)
        return False

    def close(self) -> None:
        """Let the thread go; does not wait for a transaction under way."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _decode(self, batch: Sequence[FetchedRecords]) -> tuple[list[EventEnvelope], list[Refusal]]:
        events: list[EventEnvelope] = []
        refusals: list[Refusal] = []
        for message in read_messages(self._log_id, batch):
            for item in decode(message):
                if isinstance(item, Refusal):
                    refusals.append(item)
                else:
                    events.append(item)
        failpoints.reach("decode")
        return events, refusals

    async def _work(self, events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> None:
        if not events and not refusals:
            return
        try:
            await self._try(events, refusals)
        except (StoppedError, IntakePausedError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the agent
            messages = dict.fromkeys([*map(_place, events), *map(_place, refusals)])
            if len(messages) > 1:
                await self._halve(events, refusals, list(messages), error)
            else:
                await self._give_up(events, refusals, error)

    async def _try(self, events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> Any:
        def work() -> object:
            outcome = self._step(events, refusals)
            failpoints.reach("after_commit")
            return outcome

        return await self._in_thread(work)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await retry_in_thread(
            work,
            what=self._name,
            executor=self._executor,
            stopping=self._stopping,
            settings=self._settings,
        )

    async def _halve(
        self,
        events: Sequence[EventEnvelope],
        refusals: Sequence[Refusal],
        places: Sequence[Place],
        error: Exception,
    ) -> None:
        """The step met something it did not foresee: find the message that brings it, keep the order.

        A message stays whole: its outcome is settled in one transaction.
        """
        _log.error("step_failed", agent=self._name, messages=len(places), error=type(error).__name__)
        middle = len(places) // 2
        for half in (set(places[:middle]), set(places[middle:])):
            await self._work(
                [event for event in events if _place(event) in half],
                [refusal for refusal in refusals if _place(refusal) in half],
            )

    async def _give_up(
        self, events: Sequence[EventEnvelope], refusals: Sequence[Refusal], error: Exception
    ) -> None:
        """One message fails for a reason nobody foresaw: a dead letter, so that the others go on."""
        if not events:
            raise error  # not even a refusal can be stored: nothing may be acknowledged
        _log.error(
            "message_failed",
            agent=self._name,
            topic=events[0].message.topic,
            partition=events[0].message.partition,
            offset=events[0].message.offset,
            error=type(error).__name__,
        )
        detail = f"the step failed with {type(error).__name__}; replay after a correction"
        failed = [refuse_event(event, "internal_error", detail) for event in events]
        await self._try((), [*refusals, *failed])


def _place(item: EventEnvelope | Refusal) -> Place:
    message = item.message
    return message.topic, message.partition, message.offset
