"""Every kind of bad input, read as from Kafka and stored: its own reason, and the rest goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from models.message import BATCH_CONTENT_TYPE, EventEnvelope, InboundMessage, Refusal
from streams.codec import decode
from tests.builders import KUKAR
from tests.event_builders import CONTEXT, NOW, TOPIC, VAULT, message, worker_data, worker_event
from tests.unit.test_validate import BAD_WORKERS
from workflow.dead_letter import count_dead_letters, list_dead_letters, show_dead_letter
from workflow.load_regions import load_regions
from workflow.register import register_workers


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


HEADERS = {
    "content-type": b"application/json",
    "ce_specversion": b"1.0",
    "ce_id": b"e-1",
    "ce_source": b"/test",
    "ce_type": TOPIC.encode(),
    "ce_time": NOW.isoformat().encode(),
}
GOOD = orjson.dumps(worker_data(1))
BATCH = {"content-type": BATCH_CONTENT_TYPE.encode()}

BAD_MESSAGES: dict[str, InboundMessage] = {
    "empty_message": message(b"", headers=HEADERS),
    "message_too_large": message(GOOD + b" " * 5_000_000, headers=HEADERS),
    "invalid_utf8": message(GOOD.replace(b"nelayan", b"\xff\xfe"), headers=HEADERS),
    "malformed_json": message(GOOD[:-1], headers=HEADERS),
    "not_a_cloud_event": message(GOOD, headers={"content-type": b"application/json"}),
    "batch_too_large": message(orjson.dumps([{}] * 501), headers=BATCH),
    "unknown_type": message(GOOD, headers=HEADERS | {"ce_type": b"coverage.something-else.v1"}),
    "wrong_schema_version": message(GOOD, headers=HEADERS | {"ce_type": TOPIC[:-1].encode() + b"2"}),
}


def receive(engine: Engine, *messages: InboundMessage) -> list[str]:
    read = [item for received in messages for item in decode(received)]
    envelopes = [item for item in read if isinstance(item, EventEnvelope)]
    refusals = [item for item in read if isinstance(item, Refusal)]
    return list(register_workers(engine, CONTEXT, envelopes, refusals).outcomes)


def test_every_bad_message_is_a_dead_letter_and_the_good_one_behind_them_is_registered(
    engine: Engine,
) -> None:
    good = message(GOOD, headers=HEADERS)
    assert receive(engine, *BAD_MESSAGES.values(), good) == ["registered"]
    stored = {letter.offset: letter.reason for letter in list_dead_letters(engine)}
    assert stored == {bad.offset: reason for reason, bad in BAD_MESSAGES.items()}
    for letter in list_dead_letters(engine):
        view = show_dead_letter(engine, VAULT, letter.id)
        sent = next(bad for bad in BAD_MESSAGES.values() if bad.offset == letter.offset)
        assert view is not None and view.payload_bytes == len(sent.value or b"")


def test_every_bad_event_is_a_dead_letter_with_its_reason_and_without_personal_data(engine: Engine) -> None:
    events = [event for event, _, _ in BAD_WORKERS.values()]
    good = worker_event(5)
    outcome = register_workers(engine, CONTEXT, [*events, good])
    assert list(outcome.outcomes) == ["refused"] * len(events) + ["registered"]
    stored = {letter.offset: (letter.reason, letter.detail) for letter in list_dead_letters(engine)}
    assert stored == {
        event.message.offset: (reason, detail) for event, reason, detail in BAD_WORKERS.values()
    }
    assert sum(count.total for count in count_dead_letters(engine)) == len(events)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM worker")) == 1


def test_bad_events_in_a_batch_message_leave_the_good_ones(engine: Engine) -> None:
    def cloud_event(number: int, **changes: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": f"e-{number}",
            "source": "/test",
            "type": TOPIC,
            "time": NOW.isoformat(),
            "data": worker_data(number, **changes),
        }

    events: list[object] = [cloud_event(0), cloud_event(1, months=13), "text", cloud_event(3)]
    assert sorted(receive(engine, message(orjson.dumps(events), headers=BATCH))) == [
        "refused",
        "registered",
        "registered",
    ]
    assert [(letter.position, letter.reason) for letter in list_dead_letters(engine)[::-1]] in (
        [(1, "months_out_of_range"), (2, "not_a_cloud_event")],
        [(2, "not_a_cloud_event"), (1, "months_out_of_range")],
    )
