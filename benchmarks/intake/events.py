"""The same synthetic workers as single events and as CloudEvents batches, on two topics."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from models.message import BATCH_CONTENT_TYPE
from models.vault import Vault

MASTER_KEY = bytes(range(32))
EVENT_TYPE = "coverage.worker-uncovered.v1"
SINGLE, BULK = "bench.single", "bench.bulk"
EVENTS_PER_BATCH = 500
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)

_VILLAGES = [f"64.02.05.{number}" for number in range(2001, 2008)]


def nik_of(number: int) -> str:
    """A well-formed NIK of nobody: Kutai Kartanegara, serial from 9000; distinct for 1.6 million numbers."""
    rest, serial = divmod(number, 1000)
    rest, day = divmod(rest, 28)
    year, month = divmod(rest, 12)
    return f"640205{day + 1:02d}{month + 1:02d}{50 + year % 50:02d}{9000 + serial:04d}"


def event_data(number: int, vault: Vault, **changes: Any) -> dict[str, Any]:
    return {
        **vault.seal_worker(nik_of(number), f"Pekerja Contoh {number}"),
        "village": _VILLAGES[number % len(_VILLAGES)],
        "occupation": "fisher",
        "programmes": ["JKK", "JKM"],
        "months": 3,
        "start_month": f"{NOW:%Y-%m}",
        "priority": 1 + number % 100,
    } | changes


def headers_of(event_id: str) -> list[tuple[str, bytes]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event_id.encode()),
        ("ce_source", b"/benchmark"),
        ("ce_type", EVENT_TYPE.encode()),
        ("ce_time", NOW.isoformat().encode()),
        ("content-type", b"application/json"),
    ]


def fill_topics(bootstrap_servers: str, events: int, batched_events: int) -> None:
    """Create and fill both topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    wanted = [NewTopic(name, num_partitions=4, replication_factor=1) for name in (SINGLE, BULK)]
    for future in admin.create_topics(wanted).values():
        future.result(30)
    producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 20, "log_level": 0})
    vault = Vault(MASTER_KEY)
    for number in range(events):
        data = event_data(number, vault)
        _produce(producer, SINGLE, data["nik_hash"], json.dumps(data).encode(), headers_of(f"event-{number}"))
    kind = [("content-type", BATCH_CONTENT_TYPE.encode())]
    for position, batch in enumerate(_batches(batched_events, vault)):
        _produce(producer, BULK, str(position), json.dumps(batch).encode(), kind)
    if producer.flush(120):
        raise RuntimeError("the broker did not take every event")


def _produce(producer: Producer, topic: str, key: str, value: bytes, headers: list[tuple[str, Any]]) -> None:
    while True:
        try:
            producer.produce(topic, value, key.encode(), headers=headers)
            break
        except BufferError:
            producer.poll(0.1)


def _batches(events: int, vault: Vault) -> Iterator[list[dict[str, Any]]]:
    numbers = iter(range(events))
    while chunk := list(islice(numbers, EVENTS_PER_BATCH)):
        yield [
            {
                "specversion": "1.0",
                "id": f"event-{number}",
                "source": "/benchmark",
                "type": EVENT_TYPE,
                "time": NOW.isoformat(),
                "data": event_data(number, vault),
            }
            for number in chunk
        ]
