"""What ``BulkConsumer`` relies on inside Faust: read a new version that changes it before using it."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
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
        ("perform_seek", ["self"]),
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
