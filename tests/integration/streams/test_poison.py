"""Poison of every class between good events: each refused for its own reason, none in the others' way."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from sqlalchemy import Engine, text

from models.reason import REASONS
from models.region import RegionTable
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.counts import count, registered
from tests.integration.streams.events import KUKAR, Message, worker_message
from tests.integration.streams.poison import ELSEWHERE, POISON, VAULT, VILLAGE_ELSEWHERE
from tests.integration.streams.worker_process import await_true
from workflow.audit import audit
from workflow.dead_letter import replay_dead_letters
from workflow.load_regions import load_regions

SHORT = 3 * len(POISON)
LONG = int(os.environ.get("GOTONG_TEST_POISON", "10000"))
#: Sent only so often: 10,000 of them would measure the disk.
MOST_OF_THE_LARGE = 40

Place = tuple[int, int]


def mixture(poison: int) -> Iterator[tuple[Message, str | None, set[str]]]:
    """Each poison after a good event: the message, the reason it must bring, the ids to be accepted."""
    classes = list(POISON)
    for turn in range(poison):
        number = 3 * turn
        yield worker_message(number, VAULT), None, {f"worker-{number}"}
        name = classes[turn % len(classes)]
        if name == "more than 1 MiB" and turn >= MOST_OF_THE_LARGE * len(classes):
            name = "truncated JSON"
        make, reason = POISON[name]
        if name == "a batch with one bad row":
            yield make(number + 1), reason, {f"worker-{number + 1}", f"worker-{number + 2}"}
        elif name == "an id taken with other content":
            yield make(number), reason, set()
        else:
            yield make(number + 1), reason, set()


def send_placed(brokers: str, poison: int) -> tuple[dict[Place, str], set[str], int]:
    """Publish the mixture: where each poison went with its reason, the good ids, how many are elsewhere."""
    reasons: dict[Place, str] = {}
    good: set[str] = set()
    failures: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": brokers,
            "enable.idempotence": True,
            "message.max.bytes": 8 * 1024 * 1024,
            "log_level": 0,
        }
    )
    for (topic, key, headers, value), reason, accepted in mixture(poison):
        good |= accepted

        def note(error: object, message: object, reason: str | None = reason) -> None:
            if error is not None:
                failures.append(error)
            elif reason is not None:
                reasons[message.partition(), message.offset()] = reason  # type: ignore[attr-defined]

        while True:
            try:
                producer.produce(topic, value, key, headers=[*headers.items()], on_delivery=note)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    assert producer.flush(120) == 0 and not failures
    return reasons, good, sum(reason == "regency_not_served" for reason in reasons.values())


def refused(engine: Engine, attempt: int) -> dict[Place, str]:
    statement = text('SELECT partition, "offset", reason FROM dead_letter WHERE attempt = :attempt')
    with engine.connect() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(statement, {"attempt": attempt})}


@pytest.mark.parametrize(
    "poison", [pytest.param(SHORT, id="some"), pytest.param(LONG, id="many", marks=pytest.mark.faults)]
)
def test_each_poison_is_refused_for_its_reason_and_replayed_once_after_a_fix(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker, poison: int
) -> None:
    assert RegionTable.load().is_village(VILLAGE_ELSEWHERE)
    assert len(POISON) >= 25 and {reason for _, reason in POISON.values()} <= set(REASONS)
    asyncio.run(ensure_topics(settings))
    worker = start_worker(replace(settings, intake_pause_share=1.0))
    reasons, good, elsewhere = send_placed(settings.kafka_brokers, poison)
    assert len(reasons) == poison and elsewhere > 0
    patience = 60 + poison / 50
    await_true(lambda: count(engine, "inbox_event") >= len(good), patience, worker.raw_log)
    await_true(lambda: count(engine, "dead_letter") >= poison, patience, worker.raw_log)
    assert refused(engine, 1) == reasons
    assert set(registered(engine)) == good
    assert count(engine, "worker") == count(engine, "coverage_need") == len(good)

    load_regions(engine, [KUKAR, ELSEWHERE])  # the fix
    large = sum(reason == "message_too_large" for reason in reasons.values())
    outcome = replay_dead_letters(engine, VAULT)
    assert (len(outcome.replayed), len(outcome.skipped)) == (poison - large, large)
    await_true(lambda: len(refused(engine, 2)) == poison - large - elsewhere, patience, worker.raw_log)
    await_true(lambda: len(registered(engine)) == len(good) + elsewhere, patience, worker.raw_log)
    again = Counter(refused(engine, 2).values()), Counter(reasons.values())
    assert again[0] == again[1] - Counter(regency_not_served=elsewhere, message_too_large=large)
    assert replay_dead_letters(engine, VAULT, reason="regency_not_served").replayed == []
    assert count(engine, "worker") == count(engine, "coverage_need") == len(good) + elsewhere
    assert audit(engine) == []
    assert worker.stop() == 0, worker.raw_log()
