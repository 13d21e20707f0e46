"""A topic of which too much is refused stands still: nothing is lost, people are told once, it goes on."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.counts import committed_offsets, count, dead_letters, registered
from tests.integration.streams.events import (
    MASTER_KEY,
    WORKER_UNCOVERED,
    Message,
    send,
    worker_message,
    worker_messages,
)
from tests.integration.streams.worker_process import await_true
from workflow.audit import audit
from workflow.dead_letter import replay_dead_letters
from workflow.pause_intake import read_pauses, resume_intake

VAULT = Vault(MASTER_KEY)
EVENTS = 800
WINDOW = 50


@pytest.fixture
def pausing(settings: StreamSettings) -> StreamSettings:
    asyncio.run(ensure_topics(settings))
    return replace(settings, intake_pause_events=WINDOW, batch_messages=40, intake_trial_seconds=1.0)


def mostly_rubbish() -> list[Message]:
    """Nine of ten name a village that does not exist."""
    return [
        worker_message(number, VAULT, **({} if number % 10 == 0 else {"village": "64.02.05.9999"}))
        for number in range(EVENTS)
    ]


def good(numbers: range) -> set[str]:
    return {f"worker-{number}" for number in numbers}


def alerts(engine: Engine) -> int:
    return count(engine, "outbox_message", "topic = 'alert.raised.v1'")


def stays(figure: Callable[[], object], seconds: float = 3.0) -> bool:
    before, until = figure(), time.monotonic() + seconds
    while time.monotonic() < until:
        if figure() != before:
            return False
        time.sleep(0.2)
    return True


def test_a_broken_producer_pauses_its_topic_and_not_one_event_is_lost(
    engine: Engine, pausing: StreamSettings, start_worker: StartWorker
) -> None:
    def taken() -> object:
        where = committed_offsets(pausing.kafka_brokers, pausing.consumer_group, WORKER_UNCOVERED)
        return where, count(engine, "dead_letter"), count(engine, "inbox_event")

    worker = start_worker(pausing)
    send(pausing.kafka_brokers, mostly_rubbish())
    await_true(lambda: len(read_pauses(engine)) == 1, explain=worker.raw_log)
    (pause,) = read_pauses(engine)
    assert (pause.cause.topic, dict(pause.cause.reasons)) == (
        WORKER_UNCOVERED,
        {"village_unknown": pause.cause.refused},
    )
    time.sleep(pausing.commit_interval_seconds * 5)
    assert stays(taken)
    assert count(engine, "dead_letter") <= 3 * WINDOW < EVENTS // 2

    worker.kill()
    second = start_worker(pausing)
    second.wait_running()
    assert stays(taken), "the pause must outlive the worker"

    resume_intake(engine, WORKER_UNCOVERED, "Ibu Rekaan", dt.datetime.now(dt.UTC))
    send(pausing.kafka_brokers, worker_messages(range(EVENTS, EVENTS + 100), VAULT))
    expected = {f"worker-{number}" for number in range(0, EVENTS, 10)} | good(range(EVENTS, EVENTS + 100))
    await_true(lambda: set(registered(engine)) == expected, explain=second.raw_log)
    await_true(lambda: dead_letters(engine).total() == EVENTS - EVENTS // 10, explain=second.raw_log)
    assert set(dead_letters(engine)) == {"village_unknown"}
    assert count(engine, "worker") == count(engine, "coverage_need") == len(expected)
    assert alerts(engine) == 1
    assert count(engine, "audit_record", "action = 'resume_intake' AND actor = 'Ibu Rekaan'") == 1
    assert read_pauses(engine) == []
    assert audit(engine) == []
    assert second.stop() == 0, second.raw_log()


@pytest.mark.faults
def test_our_own_fault_mended_intake_goes_on_by_itself(
    engine: Engine, pausing: StreamSettings, start_worker: StartWorker
) -> None:
    send(pausing.kafka_brokers, worker_messages(range(EVENTS), VAULT))
    wrong = start_worker(replace(pausing, master_key=bytes([7]) * 32))
    await_true(lambda: len(read_pauses(engine)) == 1, explain=wrong.raw_log)
    assert wrong.stop() == 0, wrong.raw_log()
    assert dead_letters(engine).total() <= 3 * WINDOW

    letters = dead_letters(engine).total()
    worker = start_worker(pausing)
    await_true(lambda: len(registered(engine)) == EVENTS - letters, explain=worker.raw_log)
    assert read_pauses(engine) == []
    assert alerts(engine) == 1
    # They were sealed with the wrong key; whoever lost it cannot open them, whoever has it can.
    replay_dead_letters(engine, Vault(bytes([7]) * 32))
    await_true(lambda: set(registered(engine)) == good(range(EVENTS)), explain=worker.raw_log)
    assert count(engine, "coverage_need") == EVENTS
    assert worker.stop() == 0, worker.raw_log()
