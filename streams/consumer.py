"""How fetched records reach the agents: a whole fetch at a time instead of one message at a time.

Faust hands over each message through four asyncio tasks, a lock and a decoder (``Consumer._drain_messages``
and ``Service.wait_first`` of faust-streaming 0.15.3): about 100 microseconds per message, before an agent
sees it. Nothing of that is needed by an agent that wants raw bytes in bulk, so this consumer replaces the
drain loop and the offset bookkeeping and leaves the rest (group membership, rebalancing, commits, threads,
supervision) to Faust. See docs/decisions/0003-faust-edge.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from aiokafka.errors import ConsumerStoppedError, IllegalStateError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types import TP

_POLL_SECONDS: Final = 1.0
#: Poll time while a partition is held back, so that it is asked again soon after its queue drained.
_PRESSED_POLL_SECONDS: Final = 0.02
_IN_FLIGHT_GRACE_SECONDS: Final = 5.0
#: Less than the time Faust gives it (``broker_request_timeout``, streams/app.py).
_SEEK_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class FetchedRecords:
    """Consecutive records of one partition as the broker sent them (``aiokafka.ConsumerRecord``).

    ``generation`` is that of the consumer group when they were fetched: after a rebalance they are
    no longer ours to acknowledge.
    """

    tp: TP
    generation: int
    records: list[Any]
    size_bytes: int = field(default=0)

    @property
    def next_offset(self) -> int:
        """The offset to commit once all of these are done."""
        return int(self.records[-1].offset) + 1


def measure_bytes(records: Iterable[Any]) -> int:
    """Bytes of the records' values."""
    return sum(max(record.serialized_value_size, 0) for record in records)


class _ConsumerThread(AIOKafkaConsumerThread):
    """Faust's consumer thread, except that how long a fetch may wait is a setting and not 1.5 s."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = transport.fetch_wait_ms
        return consumer


class BulkConsumer(Consumer):
    """Faust's consumer with a drain loop that puts ``FetchedRecords`` into the agents' queues.

    Acknowledgement is a position per partition, not a set of offsets: agents finish records in the
    order of their partition and call ``mark_done`` after their transaction committed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._done: dict[TP, int] = {}
        self._pressed: set[TP] = set()
        self._callbacks: dict[TP, tuple[Callable[[], None], Callable[[], None]]] = {}
        #: Per agent: waits until it is between two batches.
        self.in_flight: dict[str, Callable[[], Awaitable[None]]] = {}

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def mark_done(self, fetched: FetchedRecords) -> bool:
        """Let the position after ``fetched`` be committed; ``False`` if a rebalance came in between."""
        if fetched.generation != self.app.consumer_generation_id:
            return False
        self._done[fetched.tp] = fetched.next_offset
        return True

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self._drain_once()
        except ConsumerStoppedError:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the committed offsets, or to what the database has where that is less.

        A database restored from a backup is older than the broker's commits; from these, what came in
        between would be skipped. Bounded in time, because Faust takes its own time-out here for an orderly
        stop and would never read again; an error instead ends the app, and the worker builds another.
        """
        async with asyncio.timeout(_SEEK_SECONDS):
            committed = await super().seek_to_committed()
            stored = await asyncio.to_thread(cast(BulkTransport, self.transport).read_positions)
            behind = {tp: stored.get((tp.topic, tp.partition), 0) for tp in committed}
            await self._thread.call_thread(self._step_back, behind)
        return committed

    async def _drain_once(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # any event will do
        active = set(self._get_active_partitions()) - self._pressed
        if not active:
            await asyncio.sleep(_PRESSED_POLL_SECONDS)
            return
        generation = self.app.consumer_generation_id
        timeout = _PRESSED_POLL_SECONDS if self._pressed else _POLL_SECONDS
        fetched = await self._getmany(active_partitions=active, timeout=timeout)
        if not fetched or self.should_stop:
            return
        if not self.flow_active or generation != self.app.consumer_generation_id:
            # The fetch position has moved past records that a rebalance made someone else's, or ours anew.
            first = {TP(tp.topic, tp.partition): records[0].offset for tp, records in fetched.items()}
            await self._thread.call_thread(self._step_back, first)
            return
        for tp, records in fetched.items():
            self._deliver(TP(tp.topic, tp.partition), generation, records)

    async def _step_back(self, offsets: Mapping[TP, int]) -> None:
        """Read from these offsets on, unless a partition's position is before them already.

        For records that were fetched but not delivered, seeking to the committed position would not do:
        a group that has committed nothing yet stays where it is, and the records would be skipped. The
        position may also have been set back further already, by an assignment that came after the fetch;
        then it stays. Runs in the consumer's own thread, where nothing can come between looking at a
        position and changing it.
        """
        consumer = self._thread._ensure_consumer()
        for tp, offset in offsets.items():
            with contextlib.suppress(IllegalStateError):  # the partition is no longer ours
                if await consumer.position(tp) > offset:
                    consumer.seek(tp, offset)

    def _deliver(self, tp: TP, generation: int, records: list[Any]) -> None:
        chunk = FetchedRecords(tp, generation, records, measure_bytes(records))
        topics: Any = self.app.topics
        press, relieve = self._pressure_callbacks(tp)
        for channel in topics._topic_name_index[tp.topic]:
            channel.queue.put_nowait_enhanced(chunk, on_pressure_high=press, on_pressure_drop=relieve)

    def _pressure_callbacks(self, tp: TP) -> tuple[Callable[[], None], Callable[[], None]]:
        # The queue keeps them in a set: they must be the same objects every time.
        if tp not in self._callbacks:
            self._callbacks[tp] = (partial(self._pressed.add, tp), partial(self._pressed.discard, tp))
        return self._callbacks[tp]

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in list(self._done) if topics is None or tp in topics or tp.topic in topics)

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        offsets = {}
        for tp in tps:
            offset = self._done.pop(tp, None)
            if offset is not None and offset != self._committed_offset[tp]:
                offsets[tp] = offset
        return offsets

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        committed = await super()._commit(offsets)
        if not committed:
            for tp, offset in offsets.items():
                self._done.setdefault(tp, offset)
        return bool(committed)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Forget what was held back: the queues are cleared, and positions start from the commit again."""
        self._pressed.clear()
        await super().on_partitions_revoked(revoked)
        for tp in list(self._done):
            if tp in revoked:
                del self._done[tp]

    async def wait_empty(self) -> None:
        """Give transactions under way a moment to finish, so that their messages are not read twice.

        Only a kindness: whatever is read again is recognised by its inbox key.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IN_FLIGHT_GRACE_SECONDS):
                for wait_idle in self.in_flight.values():
                    await wait_idle()
        await self.commit_and_end_transactions()


class BulkTransport(Transport):
    """Faust's aiokafka transport with the bulk consumer."""

    Consumer = BulkConsumer
    #: Topic and partition -> the offset before which the database has every outcome.
    read_positions: Callable[[], Mapping[tuple[str, int], int]]
    #: How long the broker may hold back the answer to a fetch that finds nothing.
    fetch_wait_ms: int
