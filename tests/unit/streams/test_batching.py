from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from streams.batching import Batcher, BatchLimits

LIMITS = BatchLimits(messages=10, size_bytes=1_000)


def make_batcher(
    process: Callable[[Sequence[int]], Awaitable[None]],
    *,
    limits: BatchLimits = LIMITS,
    is_current: Callable[[int], bool] = lambda _: True,
) -> Batcher[int]:
    return Batcher(process, limits=limits, count=lambda _: 1, weigh=lambda item: item, is_current=is_current)


def test_what_comes_during_a_transaction_makes_the_next_batch() -> None:
    async def scenario() -> list[list[int]]:
        batches: list[list[int]] = []
        gate = asyncio.Event()

        async def process(batch: Sequence[int]) -> None:
            batches.append(list(batch))
            await gate.wait()

        batcher = make_batcher(process)
        task = asyncio.create_task(batcher.run())
        await batcher.put(1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for item in (2, 3, 4):
            await batcher.put(item)
        gate.set()
        await asyncio.sleep(0.01)
        await batcher.wait_idle()
        task.cancel()
        return batches

    assert asyncio.run(scenario()) == [[1], [2, 3, 4]]


def test_a_single_last_item_is_not_left_waiting() -> None:
    async def scenario() -> list[int]:
        done: list[int] = []

        async def process(batch: Sequence[int]) -> None:
            done.extend(batch)

        batcher = make_batcher(process)
        task = asyncio.create_task(batcher.run())
        for item in range(25):
            await batcher.put(item)
        await asyncio.sleep(0.01)
        task.cancel()
        return done

    assert asyncio.run(scenario()) == list(range(25))


def test_batches_keep_to_both_limits_and_a_giant_goes_alone() -> None:
    async def scenario() -> list[list[int]]:
        batches: list[list[int]] = []

        async def process(batch: Sequence[int]) -> None:
            batches.append(list(batch))

        batcher = make_batcher(process, limits=BatchLimits(messages=4, size_bytes=100))
        task = asyncio.create_task(batcher.run())
        for item in (60, 60, 5_000, 1, 1, 1, 1, 1):
            await batcher.put(item)
        await asyncio.sleep(0.01)
        task.cancel()
        return batches

    batches = asyncio.run(scenario())
    assert [item for batch in batches for item in batch] == [60, 60, 5_000, 1, 1, 1, 1, 1]
    assert [5_000] in batches
    assert all(len(batch) <= 4 and (sum(batch) <= 100 or batch == [5_000]) for batch in batches)


def test_a_full_batch_waiting_holds_its_source_back() -> None:
    async def scenario() -> tuple[bool, bool]:
        gate = asyncio.Event()

        async def process(_batch: Sequence[int]) -> None:
            await gate.wait()

        batcher = make_batcher(process, limits=BatchLimits(messages=2, size_bytes=1_000))
        task = asyncio.create_task(batcher.run())
        for item in (1, 2):
            await batcher.put(item)
        await asyncio.sleep(0.01)
        for item in (3, 4):
            await batcher.put(item)
        fifth = asyncio.create_task(batcher.put(5))
        await asyncio.sleep(0.01)
        held = not fifth.done()
        gate.set()
        await asyncio.sleep(0.01)
        released = fifth.done()
        task.cancel()
        return held, released

    assert asyncio.run(scenario()) == (True, True)


def test_items_a_rebalance_made_void_are_dropped_not_processed() -> None:
    async def scenario() -> list[int]:
        done: list[int] = []

        async def process(batch: Sequence[int]) -> None:
            done.extend(batch)

        batcher = make_batcher(process, is_current=lambda item: item >= 10)
        task = asyncio.create_task(batcher.run())
        for item in (1, 2, 10, 3, 11):
            await batcher.put(item)
        await asyncio.sleep(0.01)
        task.cancel()
        return done

    assert asyncio.run(scenario()) == [10, 11]
