"""Group commit: while one batch is in its transaction, the next one gathers.

A batch is whatever has gathered when the former is done, up to a bound; so batches are small when
little comes and large when much comes, and no message waits for a batch to fill. Nothing here knows
Faust or Kafka: items are opaque, weighed by two callables.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is full. One item larger than either limit makes a batch of its own."""

    messages: int
    size_bytes: int


class Batcher(Generic[Item]):
    """Bounded batches of items in arrival order, one batch at a time.

    ``process`` gets a non-empty batch and must handle its own errors; ``is_current`` drops items that
    a rebalance made void, just before they would be processed. At most one batch's worth of items
    waits; ``put`` holds its caller back beyond that.
    """

    def __init__(
        self,
        process: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        limits: BatchLimits,
        count: Callable[[Item], int],
        weigh: Callable[[Item], int],
        is_current: Callable[[Item], bool],
    ) -> None:
        self._process = process
        self._limits = limits
        self._count = count
        self._weigh = weigh
        self._is_current = is_current
        self._waiting: deque[Item] = deque()
        self._messages = 0
        self._bytes = 0
        self._filled = asyncio.Event()
        self._taken = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no batch is being processed."""
        await self._idle.wait()

    async def put(self, item: Item) -> None:
        """Add an item; waits while a full batch is already waiting."""
        while self._messages >= self._limits.messages or self._bytes >= self._limits.size_bytes:
            self._taken.clear()
            await self._taken.wait()
        self._waiting.append(item)
        self._messages += self._count(item)
        self._bytes += self._weigh(item)
        self._filled.set()

    async def run(self) -> None:
        """Process batches until cancelled."""
        while True:
            await self._filled.wait()
            batch = self._take()
            if not batch:
                continue
            self._idle.clear()
            try:
                await self._process(batch)
            finally:
                self._idle.set()

    def _take(self) -> list[Item]:
        batch: list[Item] = []
        messages = size_bytes = 0
        while self._waiting:
            item = self._waiting[0]
            count, weight = self._count(item), self._weigh(item)
            full = messages + count > self._limits.messages or size_bytes + weight > self._limits.size_bytes
            if batch and full:
                break
            self._waiting.popleft()
            self._messages -= count
            self._bytes -= weight
            if self._is_current(item):
                batch.append(item)
                messages += count
                size_bytes += weight
        if not self._waiting:
            self._filled.clear()
        self._taken.set()
        return batch
