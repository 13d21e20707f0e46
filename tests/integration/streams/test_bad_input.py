"""Bad input through the whole edge: a dead letter with its reason, and nothing else is held up."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.reason import REASONS
from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ALLOCATION_REQUESTED, dead_letter_topic, ensure_topics
from tests.builders import pledge
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.counts import count, dead_letters, read_topic, registered
from tests.integration.streams.events import (
    MASTER_KEY,
    PLEDGE_CHANGED,
    WORKER_UNCOVERED,
    Message,
    batch_message,
    headers,
    pledge_message,
    send,
    worker_data,
    worker_message,
)
from tests.integration.streams.worker_process import WorkerProcess, await_true
from tests.stack.choice import choose_broker

VAULT = Vault(MASTER_KEY)
#: The embedded broker keeps 5 MB per partition: a greater message would push the good ones out.
GIANT_BYTES = (5 if choose_broker().is_apache_kafka else 2) * 1024 * 1024


def changed_pledge(event_id: str, **changes: Any) -> Message:
    data = json.loads(pledge("csr-9").model_dump_json()) | changes
    return PLEDGE_CHANGED, b"csr-9", headers(event_id, PLEDGE_CHANGED), json.dumps(data).encode()


def worker(event_id: str, number: int, **changes: Any) -> Message:
    topic, key, _, value = worker_message(number, VAULT, **changes)
    return topic, key, headers(event_id), value


def with_value(value: bytes | None) -> Message:
    return WORKER_UNCOVERED, b"k", headers("odd"), value


def with_headers(**changes: bytes) -> Message:
    topic, key, kept, value = worker_message(900, VAULT)
    return topic, key, kept | changes, value


def spoilt_batch() -> Message:
    """Three good events and one that is no object."""
    topic, key, batch_headers, value = batch_message(range(700, 703), VAULT)
    assert value is not None
    return topic, key, batch_headers, json.dumps([*json.loads(value), 7]).encode()


#: What is sent, and the reasons it must bring.
BAD: list[tuple[Message, list[str]]] = [
    (with_value(b'{"months": 3,'), ["malformed_json"]),
    (with_value(b'{"name": "\xc3\x28"}'), ["invalid_utf8"]),
    (with_value(None), ["empty_message"]),
    (with_value(b"x" * GIANT_BYTES), ["message_too_large"]),
    (with_headers(ce_type=b"coverage.worker-uncovered.v2"), ["wrong_schema_version"]),
    (with_headers(ce_type=b"funding.pledge-changed.v1"), ["unknown_type"]),
    (with_headers(ce_id=b""), ["not_a_cloud_event"]),
    ((WORKER_UNCOVERED, None, {}, b"{}"), ["not_a_cloud_event"]),
    (worker("bad-nik", 901, **VAULT.seal_worker("6402991708900001")), ["nik_invalid"]),
    (worker("bad-hash", 902, nik_hash="0" * 64), ["nik_hash_mismatch"]),
    (worker("bad-village", 903, village="64.02.05.9999"), ["village_unknown"]),
    (worker("bad-months", 904, months=13), ["months_out_of_range"]),
    (worker("bad-nul", 905, occupation="fis\x00her"), ["schema_violation"]),
    (worker("same-id", 906), []),
    (worker("same-id", 906, months=4), ["event_id_conflict"]),
    (changed_pledge("negative", amount_rupiah=-1), ["amount_negative"]),
    (changed_pledge("fraction", amount_rupiah=1.5), ["amount_fractional"]),
    (changed_pledge("npwp", npwp="123456789012345"), ["npwp_invalid"]),
    (spoilt_batch(), ["not_a_cloud_event"]),
    ((ALLOCATION_REQUESTED, b"64.02", headers("ask", ALLOCATION_REQUESTED), b"{}"), ["schema_violation"]),
    (
        (
            ALLOCATION_REQUESTED,
            b"64.03",
            headers("elsewhere", ALLOCATION_REQUESTED),
            b'{"regency":"64.03","request_number":1}',
        ),
        ["regency_not_served"],
    ),
]


@pytest.fixture
def topics(settings: StreamSettings) -> None:
    asyncio.run(ensure_topics(settings))


@pytest.mark.usefixtures("topics")
def test_every_kind_of_bad_input_is_a_dead_letter_among_good_events(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    expected = Counter(reason for _, reasons in BAD for reason in reasons)
    process = start_worker(settings)
    messages: list[Message] = []
    for number, (bad, _) in enumerate(BAD):
        messages += [worker_message(number, VAULT), bad]
    send(settings.kafka_brokers, [*messages, worker_message(800, VAULT), pledge_message(pledge("csr-1"))])
    good = {f"worker-{number}" for number in (*range(len(BAD)), 700, 701, 702, 800)} | {"same-id"}
    await_true(lambda: set(registered(engine)) == good, explain=process.raw_log)
    await_true(lambda: dead_letters(engine) == expected, explain=lambda: _explain(engine, expected, process))
    assert set(expected) <= set(REASONS)
    assert count(engine, "fund", "code = 'csr-1'") == 1
    assert count(engine, "fund", "code = 'csr-9'") == 0
    assert_nothing_personal(process)
    await_true(lambda: count(engine, "outbox_message", "published_at IS NULL") == 0, explain=process.raw_log)
    letters = read_topic(
        settings.kafka_brokers,
        dead_letter_topic(PLEDGE_CHANGED),
        expected=3,
    )
    assert len(letters) == 3
    assert process.stop() == 0


def _explain(engine: Engine, expected: Counter[str], process: WorkerProcess) -> str:
    found = dead_letters(engine)
    return f"missing {expected - found}, unexpected {found - expected}\n{process.raw_log()}"


def assert_nothing_personal(process: WorkerProcess) -> None:
    log = process.raw_log()
    for entry in process.log():
        assert "event" in entry
    for number in range(10):
        data = worker_data(number, VAULT)
        assert data["nik_hash"] not in log
    assert "6402991708900001" not in log


@pytest.mark.usefixtures("topics")
def test_a_dead_letter_is_stored_once_though_its_worker_is_killed(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker
) -> None:
    send(settings.kafka_brokers, [with_value(b"{"), worker_message(1, VAULT)])
    start_worker(settings, failpoint="after_commit:kill").wait_killed()
    process = start_worker(settings)
    send(settings.kafka_brokers, [worker_message(2, VAULT)])
    await_true(lambda: len(registered(engine)) == 2, explain=process.raw_log)
    await_true(lambda: dead_letters(engine) == Counter(malformed_json=1), explain=process.raw_log)
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT payload_encrypted FROM dead_letter")).scalar_one()
    assert bytes(stored) != b"{"
