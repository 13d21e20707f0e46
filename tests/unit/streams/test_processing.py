from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP

from models.message import EventEnvelope, Refusal
from streams.consumer import FetchedRecords
from streams.processing import BatchProcessor
from streams.settings import StreamSettings
from workflow.outcome import Unavailable
from workflow.pause_intake import IntakePausedError

SETTINGS = replace(StreamSettings("", "", b""), retry_first_seconds=0.001, retry_longest_seconds=0.005)
TOPIC = "coverage.worker-uncovered.v1"


def record(offset: int, value: bytes | None = b"{}") -> ConsumerRecord[bytes, bytes]:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": str(offset),
        "ce_source": "/registry",
        "ce_type": TOPIC,
        "ce_time": dt.datetime(2026, 11, 2, tzinfo=dt.UTC).isoformat(),
    }
    return ConsumerRecord(
        TOPIC,
        0,
        offset,
        0,
        0,
        None,
        value,
        None,
        -1,
        len(value or b""),
        tuple((name, text.encode()) for name, text in headers.items()),
    )


def fetched(*records: ConsumerRecord[bytes, bytes]) -> FetchedRecords:
    return FetchedRecords(TP(TOPIC, 0), 1, list(records))


class Step:
    """Stores events and refusals like a transaction: all of a call or nothing."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.letters: list[tuple[str, str]] = []
        self.calls = 0
        self.trouble: list[BaseException] = []
        self.poison: set[str] = set()

    def __call__(self, events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> None:
        self.calls += 1
        if self.trouble:
            raise self.trouble.pop(0)
        if self.poison & {event.id for event in events}:
            raise ZeroDivisionError
        self.stored += [event.id for event in events]
        self.letters += [(str(refusal.message.offset), refusal.reason) for refusal in refusals]


def run(step: Step, *batches: Sequence[FetchedRecords], stop_after_seconds: float | None = None) -> list[int]:
    """Process the batches; returns the offsets acknowledged."""

    async def scenario() -> list[int]:
        stopping = asyncio.Event()
        done: list[int] = []

        async def stand_still(paused: IntakePausedError) -> None:
            done.append(-1)

        processor = BatchProcessor(
            "test",
            step,
            settings=SETTINGS,
            log_id="log",
            stopping=stopping,
            store_positions=lambda positions: None,
            stand_still=stand_still,
            acknowledge=lambda part: done.append(part.next_offset),
        )
        if stop_after_seconds is not None:
            asyncio.get_running_loop().call_later(stop_after_seconds, stopping.set)
        for batch in batches:
            await processor.process(batch)
        processor.close()
        return done

    return asyncio.run(scenario())


def test_events_and_refusals_of_a_batch_reach_the_step_together() -> None:
    step = Step()
    assert run(step, [fetched(record(0), record(1, b"{"), record(2))]) == [3]
    assert step.stored == ["0", "2"]
    assert step.letters == [("1", "malformed_json")]
    assert step.calls == 1


def test_a_database_that_is_away_is_waited_for_without_loss_or_reordering() -> None:
    step = Step()
    step.trouble = [Unavailable("away")] * 5
    assert run(step, [fetched(record(0), record(1))], [fetched(record(2))]) == [2, 3]
    assert step.stored == ["0", "1", "2"]


def test_one_message_that_breaks_the_step_is_a_dead_letter_and_the_others_go_on_in_order() -> None:
    step = Step()
    step.poison = {"5"}
    assert run(step, [fetched(*(record(offset) for offset in range(12)))]) == [12]
    assert step.stored == [str(offset) for offset in range(12) if offset != 5]
    assert step.letters == [("5", "internal_error")]


def test_a_message_stays_whole_when_the_step_breaks_on_one_of_its_events() -> None:
    batch: list[dict[str, object]] = [
        {"specversion": "1.0", "id": name, "source": "/r", "type": TOPIC, "data": {}} for name in ("a", "b")
    ]
    many = record(1, json.dumps(batch).encode())
    many = replace(many, headers=(("content-type", b"application/cloudevents-batch+json"),))
    step = Step()
    step.poison = {"b"}
    assert run(step, [fetched(record(0), many, record(2))]) == [3]
    assert step.stored == ["0", "2"]
    assert step.letters == [("1", "internal_error")] * 2


def test_a_step_that_cannot_even_store_a_refusal_is_tried_again_not_skipped() -> None:
    step = Step()
    step.trouble = [ZeroDivisionError()] * 3
    assert run(step, [fetched(record(0, b"{"))]) == [1]
    assert step.letters == [("0", "malformed_json")]


def test_a_paused_batch_is_tried_again_once_it_may_go_on_and_not_taken_apart() -> None:
    step = Step()
    step.trouble = [IntakePausedError(TOPIC)] * 2
    assert run(step, [fetched(record(0), record(1))]) == [-1, -1, 2]
    assert step.stored == ["0", "1"]
    assert step.calls == 3


def test_told_to_stop_while_waiting_nothing_is_acknowledged_not_even_what_follows() -> None:
    step = Step()
    step.trouble = [Unavailable("away")] * 1_000_000
    assert run(step, [fetched(record(0))], [fetched(record(1))], stop_after_seconds=0.02) == []
    assert step.stored == []


def test_no_personal_data_of_a_broken_message_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step()
    step.trouble = [ValueError("6402050101900001")]
    run(step, [fetched(record(0, b'{"nik":"6402050101900001"}'))])
    logged = capsys.readouterr()
    assert "ValueError" in logged.out + logged.err
    assert not re.search(r"\d{16}", logged.out + logged.err)
