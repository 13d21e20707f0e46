"""What ``BulkConsumer`` relies on inside Faust: read a new version that changes it before using it."""

from __future__ import annotations

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import Consumer
from faust.types import TP

from streams.consumer import BulkConsumer, FetchedRecords

PLACE = TP("topic", 0)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_drain_messages", ["self", "fetcher"]),
        ("_filter_tps_with_pending_acks", ["self", "topics"]),
        ("_filter_committable_offsets", ["self", "tps"]),
        ("_commit", ["self", "offsets"]),
        ("_getmany", ["self", "active_partitions", "timeout"]),
        ("_get_active_partitions", ["self"]),
        ("wait_empty", ["self"]),
    ],
)
def test_faust_still_has_what_is_overridden_and_called(name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(Consumer, name)).parameters) == parameters


def test_faust_still_drains_and_commits_through_the_overridden_methods() -> None:
    from faust.transport.consumer import Fetcher

    assert "_drain_messages" in inspect.getsource(Fetcher)
    commit = inspect.getsource(Consumer.force_commit) + inspect.getsource(Consumer._commit_tps)
    assert "_filter_tps_with_pending_acks" in commit
    assert "_filter_committable_offsets" in commit


def test_aiokafka_still_takes_the_wait_of_a_fetch_from_where_it_is_set() -> None:
    from aiokafka import AIOKafkaConsumer
    from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

    assert "fetch_max_wait_ms=1500" in inspect.getsource(AIOKafkaConsumerThread._create_worker_consumer)
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in inspect.getsource(AIOKafkaConsumer.start)


def consumer(generation: int = 3) -> Any:
    """A consumer without a broker: only its bookkeeping."""
    bare: Any = BulkConsumer.__new__(BulkConsumer)
    bare.app = SimpleNamespace(consumer_generation_id=generation)
    bare._done = {}
    bare._committed_offset = dict.fromkeys([PLACE])
    return bare


def fetched(last_offset: int, generation: int = 3) -> FetchedRecords:
    return FetchedRecords(PLACE, generation, [SimpleNamespace(offset=last_offset)])


def test_the_position_is_behind_the_last_record_done_and_committed_once() -> None:
    bulk = consumer()
    assert bulk.mark_done(fetched(41))
    assert bulk.mark_done(fetched(99))
    places = list(bulk._filter_tps_with_pending_acks())
    assert bulk._filter_committable_offsets(places) == {PLACE: 100}
    assert list(bulk._filter_tps_with_pending_acks()) == []


def test_records_of_before_a_rebalance_move_no_position() -> None:
    bulk = consumer()
    assert not bulk.mark_done(fetched(41, generation=2))
    assert list(bulk._filter_tps_with_pending_acks()) == []


class PlacedConsumer:
    """Stands for aiokafka's consumer: a position per partition that is ours."""

    def __init__(self, positions: dict[TP, int]) -> None:
        self.positions = positions

    async def position(self, tp: TP) -> int:
        if tp not in self.positions:
            raise IllegalStateError("not assigned")
        return self.positions[tp]

    def seek(self, tp: TP, offset: int) -> None:
        self.positions[tp] = offset


@pytest.mark.parametrize(
    ("position", "then"),
    [
        pytest.param(7, 0, id="records of a group that has committed nothing yet are read again"),
        pytest.param(3, 3, id="a new assignment has set the position back further already"),
    ],
)
def test_records_that_a_rebalance_keeps_from_an_agent_are_not_skipped(position: int, then: int) -> None:
    lost, first = TP("topic", 1), 0 if position == 7 else 5
    placed = PlacedConsumer({PLACE: position})
    bulk = consumer()
    bulk._thread = SimpleNamespace(_ensure_consumer=lambda: placed)
    asyncio.run(bulk._step_back({lost: 4, PLACE: first}))
    assert placed.positions == {PLACE: then}
