"""Events of synthetic workers, as they arrive from Kafka."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import orjson

from models.message import EventEnvelope, InboundMessage
from models.region import RegionTable
from models.vault import Vault
from workflow.context import IntakeContext

NOW = dt.datetime(2026, 11, 2, 1, 0, tzinfo=dt.UTC)
TOPIC = "coverage.worker-uncovered.v1"
VAULT = Vault(bytes(range(32)))
CONTEXT = IntakeContext(RegionTable.load(), VAULT, now=lambda: NOW)
VILLAGE = "64.02.05.2001"

_OFFSETS = itertools.count()


def nik_of(number: int) -> str:
    """A valid NIK of synthetic worker ``number``: a man of Kukar, born on 17 August 1980."""
    return f"640205170880{number:04d}"


def worker_data(number: int = 1, *, vault: Vault = VAULT, **changes: Any) -> dict[str, Any]:
    """Data of an uncovered worker; ``nik`` and ``name`` may be given plain and are sealed."""
    nik, name = changes.pop("nik", nik_of(number)), changes.pop("name", f"Pekerja Rekaan {number}")
    data = {
        **vault.seal_worker(nik, name),
        "village": VILLAGE,
        "occupation": "nelayan",
        "sex": "L",
        "birth_year": 1980,
        "programmes": ["JKK", "JKM"],
        "months": 3,
        "start_month": "2026-12",
        "priority": 50,
        "declared_base_rupiah": 1_000_000,
    } | changes
    return {key: value for key, value in data.items() if value is not ...}


def message(value: bytes | None = b"{}", **changes: Any) -> InboundMessage:
    """A Kafka record at the next offset."""
    fields: dict[str, Any] = {
        "log_id": "test",
        "topic": TOPIC,
        "partition": 0,
        "offset": next(_OFFSETS),
        "key": b"key",
        "headers": {"content-type": b"application/json"},
        "value": value,
    }
    return InboundMessage(**(fields | changes))


def envelope(
    data: dict[str, Any] | bytes,
    *,
    event_id: str | None = None,
    source: str = "/test",
    event_type: str = TOPIC,
    time: dt.datetime = NOW,
    **changes: Any,
) -> EventEnvelope:
    """The event ``data`` came in, alone in its message."""
    body = data if isinstance(data, bytes) else orjson.dumps(data)
    record = message(body, **changes)
    return EventEnvelope(
        source=source,
        id=event_id or f"event-{record.offset}",
        type=event_type,
        time=time,
        data=body,
        message=record,
    )


def worker_event(
    number: int = 1, *, days: int = 0, event_id: str | None = None, **changes: Any
) -> EventEnvelope:
    """An uncovered worker's event; ``days`` moves its time, ``changes`` its data."""
    return envelope(worker_data(number, **changes), event_id=event_id, time=NOW + dt.timedelta(days=days))
