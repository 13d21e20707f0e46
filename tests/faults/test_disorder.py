"""Events twice, out of order and up to ninety days late: in the end the house holds what it held in order."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from sqlalchemy import Engine, text

from models.database import open_engine
from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import pledge
from tests.faults.conftest import StartWorker, shorten
from tests.faults.rounds import add_line, rounds_of
from tests.integration.streams.conftest import make_settings
from tests.integration.streams.events import KUKAR, MASTER_KEY, NOW, Message, pledge_message, worker_message
from tests.integration.streams.worker_process import await_true
from tests.stack.kafka import delete_topics
from tests.stack.postgres import DatabaseServer
from workflow.audit import audit
from workflow.load_regions import load_regions

pytestmark = [pytest.mark.timeout(4 * 3600), pytest.mark.kafka]

VILLAGES = ("64.02.05.2001", "64.02.06.2012", "64.02.01.2001")
LATEST_DAYS = 90
SHARE = 0.2

State = dict[str, list[tuple[object, ...]]]

#: What must be the same: people, needs, funds with their money, and who is funded by whom.
_QUESTIONS = {
    "workers": "SELECT nik_hash, village_code, occupation, sex, birth_year, reported_at FROM worker",
    "needs": "SELECT w.nik_hash, n.programmes, n.months, n.start_month, n.priority, n.village_code, n.state,"
    " n.reported_at FROM coverage_need n JOIN worker w ON w.id = n.worker_id",
    "funds": "SELECT code, revision, pledged_rupiah, reserved_rupiah, committed_rupiah, disbursed_rupiah,"
    " expired_rupiah FROM fund",
    "lines": "SELECT w.nik_hash, f.code, p.months, p.amount_rupiah, p.state FROM proposal p"
    " JOIN coverage_need n ON n.id = p.need_id JOIN worker w ON w.id = n.worker_id"
    " JOIN fund f ON f.id = p.fund_id WHERE p.closed_at IS NULL",
    "events": "SELECT source, event_id, content_hash FROM inbox_event"
    " WHERE type IN ('coverage.worker-uncovered.v1', 'funding.pledge-changed.v1')",
}
_SETTLED = text(
    """
    SELECT (SELECT coalesce(sum(next_offset), 0) FROM intake_position WHERE topic = ANY(:topics)) = :sent
       AND NOT EXISTS (SELECT FROM allocation_signal)
       AND NOT EXISTS (SELECT FROM allocation_request WHERE answered_at IS NULL)
       AND NOT EXISTS (SELECT FROM outbox_message WHERE published_at IS NULL)
    """
)


def in_order(workers: int, random_numbers: random.Random) -> list[Message]:
    """Ninety days: every worker told four times, each time otherwise; a fund per district, stated four times.

    Each fund has enough for its own district in the end, and no other accepts it: so there is one best match.
    """
    vault = Vault(MASTER_KEY)
    told: list[tuple[dt.datetime, Message]] = []

    def moment() -> dt.datetime:
        return NOW - dt.timedelta(seconds=random_numbers.randrange(LATEST_DAYS * 86_400))

    for worker in range(workers):
        village = random_numbers.choice(VILLAGES)
        for number, at in enumerate(sorted(moment() for _ in range(4))):
            changes = {
                "months": random_numbers.randint(1, 6),
                "priority": random_numbers.randint(1, 100),
                "village": random_numbers.choice(VILLAGES) if number == 3 else village,
                "occupation": random_numbers.choice(("fisher", "farmer", "driver")),
            }
            topic, key, headers, value = worker_message(worker, vault, **changes)
            own = {"ce_id": f"worker-{worker}-{number}".encode(), "ce_time": at.isoformat().encode()}
            told.append((at, (topic, key, headers | own, value)))
    for village in VILLAGES:
        for revision, at in enumerate(sorted(moment() for _ in range(4)), start=1):
            amount_rupiah = workers * 6 * 16_800 if revision == 4 else random_numbers.randrange(2_000_000)
            rules = {"regions": [village[:8]]}
            change = pledge(f"csr-{village[:8]}", amount_rupiah, revision=revision, rules=rules)
            topic, key, headers, value = pledge_message(change)
            told.append((at, (topic, key, headers | {"ce_time": at.isoformat().encode()}, value)))
    return [message for _, message in sorted(told, key=lambda pair: pair[0])]


def disordered(messages: list[Message], random_numbers: random.Random) -> list[Message]:
    """A fifth comes again at any later moment, another fifth comes only then, at most ninety days late."""
    places: list[tuple[float, Message]] = []
    for number, message in enumerate(messages):
        later = random_numbers.uniform(number, len(messages))
        late = random_numbers.random() < SHARE
        places.append((later if late else number, message))
        if random_numbers.random() < SHARE:
            places.append((random_numbers.uniform(number, len(messages)), message))
    return [message for _, message in sorted(places, key=lambda pair: pair[0])]


@pytest.fixture
def live(
    kafka: str, database_server: DatabaseServer, _migrated_template: str, start_worker: StartWorker
) -> Callable[[list[Message]], State]:
    """Let a new house live through these messages; what it holds in the end."""

    def live_through(messages: list[Message]) -> State:
        delete_topics(kafka)
        url = database_server.create(template=_migrated_template)
        settings = replace(shorten(make_settings(kafka, url)), batch_messages=100)
        engine = open_engine(url)
        try:
            load_regions(engine, [KUKAR])
            asyncio.run(ensure_topics(settings))
            worker = start_worker(settings)
            publish(settings, messages)
            parameters = {"topics": sorted({message[0] for message in messages}), "sent": len(messages)}
            await_true(
                lambda: holds(engine, parameters), 900, lambda: f"{waits_for(engine)}\n{worker.raw_log()}"
            )
            assert audit(engine) == []
            worker.kill()
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM dead_letter")) == 0
                return {
                    name: sorted(map(tuple, connection.execute(text(question))), key=repr)
                    for name, question in _QUESTIONS.items()
                }
        finally:
            engine.dispose()
            database_server.drop(url)

    return live_through


def holds(engine: Engine, parameters: dict[str, object]) -> bool:
    with engine.connect() as connection:
        return bool(connection.scalar(_SETTLED, parameters))


def waits_for(engine: Engine) -> str:
    questions = {
        "positions": "SELECT sum(next_offset) FROM intake_position",
        "signals": "SELECT count(*) FROM allocation_signal",
        "requests": "SELECT count(*) FROM allocation_request WHERE answered_at IS NULL",
        "unpublished": "SELECT count(*) FROM outbox_message WHERE published_at IS NULL",
    }
    with engine.connect() as connection:
        return str({name: connection.scalar(text(question)) for name, question in questions.items()})


def publish(settings: StreamSettings, messages: list[Message]) -> None:
    """In pieces, so that matches are made in between."""
    producer = Producer({"bootstrap.servers": settings.kafka_brokers, "linger.ms": 0, "log_level": 0})
    piece = max(len(messages) // 5, 1)
    for number, (topic, key, headers, value) in enumerate(messages, start=1):
        producer.produce(topic, value, key, headers=[*headers.items()])
        if number % piece == 0:
            producer.flush(60)
            time.sleep(0.3)
    assert producer.flush(60) == 0


@rounds_of(5, short=1)
def test_twice_out_of_order_and_late_ends_the_same(
    live: Callable[[list[Message]], State], rounds: int, request: pytest.FixtureRequest
) -> None:
    workers = 30 if "short" in request.node.callspec.id else 1_000
    for number in range(rounds):
        chosen = random.randrange(2**32)
        print(f"disorder: seed {chosen}")  # noqa: T201 - to repeat a failure
        random_numbers = random.Random(chosen)
        clean = in_order(workers, random_numbers)
        untidy = disordered(clean, random_numbers)
        assert untidy[: len(clean)] != clean
        expected, found = live(clean), live(untidy)
        assert len(expected["lines"]) == workers
        different = [name for name in expected if expected[name] != found[name]]
        add_line(
            {
                "fault": "20 % twice, 20 % out of order, up to 90 days late",
                "rounds": 1,
                "events": len(untidy),
                "seed": chosen,
                "lost": len(set(expected["events"]) - set(found["events"])),
                "doubled": len(found["events"]) - len(set(found["events"])),
                "findings": len(different),
            }
        )
        assert different == [], (number, {name: (expected[name], found[name]) for name in different})
