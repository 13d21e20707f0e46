"""Events for the stream tests: synthetic people, sealed as an edge would, and a producer."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import Producer

from models.event import PledgeChanged
from models.vault import Vault

KUKAR = "64.02"
MASTER_KEY = bytes(range(32))
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
WORKER_UNCOVERED = "coverage.worker-uncovered.v1"
PLEDGE_CHANGED = "funding.pledge-changed.v1"
ALLOCATION_REQUESTED = "allocation.requested.v1"

Message = tuple[str, bytes | None, dict[str, bytes], bytes | None]


def nik_of(number: int) -> str:
    """A well-formed NIK of nobody: Kutai Kartanegara, born on a day of 1980, serial from 9000."""
    day, serial = divmod(number, 1000)
    month, day = divmod(day, 28)
    return f"640205{day + 1:02d}{month % 12 + 1:02d}80{9000 + serial:04d}"


def worker_data(number: int, vault: Vault, **changes: Any) -> dict[str, Any]:
    data = {
        **vault.seal_worker(nik_of(number)),
        "village": "64.02.05.2001",
        "occupation": "fisher",
        "sex": "L",
        "birth_year": 1980,
        "programmes": ["JKK", "JKM"],
        "months": 3,
        "start_month": f"{NOW:%Y-%m}",
        "priority": 50,
    } | changes
    return {name: value for name, value in data.items() if value is not None}


def headers(event_id: str, event_type: str = WORKER_UNCOVERED) -> dict[str, bytes]:
    return {
        "ce_specversion": b"1.0",
        "ce_id": event_id.encode(),
        "ce_source": b"/test",
        "ce_type": event_type.encode(),
        "ce_time": NOW.isoformat().encode(),
        "content-type": b"application/json",
    }


def worker_message(number: int, vault: Vault, **changes: Any) -> Message:
    data = worker_data(number, vault, **changes)
    value = json.dumps(data).encode()
    return WORKER_UNCOVERED, data["nik_hash"].encode(), headers(f"worker-{number}"), value


def worker_messages(numbers: Iterable[int], vault: Vault | None = None) -> list[Message]:
    vault = vault or Vault(MASTER_KEY)
    return [worker_message(number, vault) for number in numbers]


def batch_message(numbers: Iterable[int], vault: Vault) -> Message:
    events = [
        {
            "specversion": "1.0",
            "id": f"worker-{number}",
            "source": "/test",
            "type": WORKER_UNCOVERED,
            "time": NOW.isoformat(),
            "data": worker_data(number, vault),
        }
        for number in numbers
    ]
    batch_headers = {"content-type": b"application/cloudevents-batch+json"}
    return WORKER_UNCOVERED, b"batch", batch_headers, json.dumps(events).encode()


def pledge_message(change: PledgeChanged) -> Message:
    event_id = f"{change.fund_id}-{change.revision}"
    return (
        PLEDGE_CHANGED,
        change.fund_id.encode(),
        headers(event_id, PLEDGE_CHANGED),
        change.model_dump_json().encode(),
    )


def send(bootstrap_servers: str, messages: Iterable[Message], **options: Any) -> None:
    """Publish in order and wait for every acknowledgement; raises when one is missing."""
    failures: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "enable.idempotence": True,
            "message.max.bytes": 8 * 1024 * 1024,
            "log_level": 0,
            **options,
        }
    )

    def note(error: object, _message: object) -> None:
        if error is not None:
            failures.append(str(error))

    for topic, key, message_headers, value in messages:
        producer.produce(topic, value, key, headers=_pairs(message_headers), on_delivery=note)
        producer.poll(0)
    left = producer.flush(60)
    if left or failures:
        raise RuntimeError(f"{left} messages not acknowledged, failures: {failures[:3]}")


def _pairs(mapping: Mapping[str, bytes]) -> list[tuple[str, str | bytes | None]]:
    return list(mapping.items())
