from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from cloudevents.core.bindings import kafka as reference
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from models.message import (
    BATCH_CONTENT_TYPE,
    EVENT_CONTENT_TYPE,
    LARGEST_BATCH_EVENTS,
    LARGEST_MESSAGE_BYTES,
    EventEnvelope,
    InboundMessage,
    Refusal,
)
from models.reason import REASONS
from streams import codec

TOPIC = "coverage.worker-uncovered.v1"
NOW = dt.datetime(2026, 11, 2, 3, 4, 5, tzinfo=dt.UTC)
DATA: dict[str, Any] = {"months": 3, "village": "64.02.05.2001", "note": "Loa Kulu – é"}


def message(
    value: bytes | None, headers: dict[str, bytes] | None = None, topic: str = TOPIC
) -> InboundMessage:
    return InboundMessage("log", topic, 2, 7, b"key", headers or {}, value)


def binary_headers(**changes: bytes) -> dict[str, bytes]:
    headers = {
        "ce_specversion": b"1.0",
        "ce_id": b"e-1",
        "ce_source": b"/registry",
        "ce_type": TOPIC.encode(),
        "ce_time": b"2026-11-02T03:04:05Z",
        "content-type": b"application/json",
    }
    return {name: value for name, value in (headers | changes).items() if value != b"<none>"}


def structured(**changes: Any) -> dict[str, Any]:
    event = {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/registry",
        "type": TOPIC,
        "time": "2026-11-02T03:04:05Z",
        "data": DATA,
    }
    return {name: value for name, value in (event | changes).items() if value != "<none>"}


def one_event(found: list[EventEnvelope | Refusal]) -> EventEnvelope:
    (event,) = found
    assert isinstance(event, EventEnvelope), event
    return event


def one_refusal(found: list[EventEnvelope | Refusal]) -> Refusal:
    (refusal,) = found
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason in REASONS
    return refusal


def decode_structured(event: Any) -> list[EventEnvelope | Refusal]:
    headers = {"content-type": EVENT_CONTENT_TYPE.encode()}
    return codec.decode(message(json.dumps(event).encode(), headers))


def decode_batch(events: Any) -> list[EventEnvelope | Refusal]:
    headers = {"content-type": BATCH_CONTENT_TYPE.encode() + b"; charset=utf-8"}
    return codec.decode(message(json.dumps(events).encode(), headers))


def test_the_same_content_has_one_hash_in_every_mode() -> None:
    spaced = json.dumps(dict(reversed(DATA.items())), indent=3).encode()
    single = one_event(codec.decode(message(spaced, binary_headers())))
    alone = one_event(decode_structured(structured()))
    first, second = decode_batch([structured(), structured(id="e-2")])
    assert isinstance(first, EventEnvelope)
    assert isinstance(second, EventEnvelope)
    assert {single.content_hash, alone.content_hash} == {first.content_hash}
    assert single.key == alone.key == first.key != second.key
    assert single.time == alone.time == first.time == NOW
    assert (first.position, second.position) == (0, 1)


def test_other_content_has_another_hash() -> None:
    one = one_event(decode_structured(structured()))
    other = one_event(decode_structured(structured(data=DATA | {"months": 4})))
    assert one.key == other.key
    assert one.content_hash != other.content_hash


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (None, binary_headers(), "empty_message"),
        (b"", binary_headers(), "empty_message"),
        (b"x" * (LARGEST_MESSAGE_BYTES + 1), binary_headers(), "message_too_large"),
        (b"{", binary_headers(), "malformed_json"),
        (b"\xff\xfe{}", binary_headers(), "invalid_utf8"),
        (b"\xff\xfe{}", {}, "invalid_utf8"),
        (b"nonsense", {}, "malformed_json"),
        (b"{}", {}, "not_a_cloud_event"),
        (b"{}", {"content-type": b"application/cloudevents+avro"}, "not_a_cloud_event"),
        (b"[]", {"content-type": EVENT_CONTENT_TYPE.encode()}, "not_a_cloud_event"),
        (b"{}", {"content-type": BATCH_CONTENT_TYPE.encode()}, "not_a_cloud_event"),
        (b"[]", {"content-type": BATCH_CONTENT_TYPE.encode()}, "empty_message"),
        (b"{}", binary_headers(ce_id=b"<none>"), "not_a_cloud_event"),
        (b"{}", binary_headers(ce_id=b""), "not_a_cloud_event"),
        (b"{}", binary_headers(ce_id=b"a\x00b"), "not_a_cloud_event"),
        (b"{}", binary_headers(ce_id=b"x" * 257), "not_a_cloud_event"),
        (b"{}", binary_headers(ce_id=b"\xff"), "invalid_utf8"),
        (b"{}", binary_headers(ce_specversion=b"0.3"), "not_a_cloud_event"),
        (b"{}", binary_headers(ce_type=b"coverage.worker-uncovered.v2"), "wrong_schema_version"),
        (b"{}", binary_headers(ce_type=b"funding.pledge-changed.v1"), "unknown_type"),
        (b"{}", binary_headers(ce_time=b"yesterday"), "not_a_cloud_event"),
        (b"{}", binary_headers(ce_time=b"2026-11-02T03:04:05"), "not_a_cloud_event"),
        (b"<a/>", binary_headers(**{"content-type": b"application/xml"}), "not_a_cloud_event"),
        (b'{"name":"a\\u0000b"}', binary_headers(), "schema_violation"),
        (b"[" * 100_000 + b"]" * 100_000, binary_headers(), "malformed_json"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(
    value: bytes | None, headers: dict[str, bytes], reason: str
) -> None:
    assert one_refusal(codec.decode(message(value, headers))).reason == reason


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    event = one_event(codec.decode(message(b'{"path":"C:\\\\u0000"}', binary_headers())))
    assert json.loads(event.data) == {"path": "C:\\u0000"}


def test_a_refused_event_keeps_its_key_where_it_has_one() -> None:
    refusal = one_refusal(codec.decode(message(b"{", binary_headers())))
    good = one_event(codec.decode(message(b"{}", binary_headers())))
    assert refusal.event_key == good.key


def test_bad_events_of_a_batch_do_not_hold_up_the_good_ones() -> None:
    found = decode_batch(
        [structured(), 7, structured(id="<none>"), structured(data="<none>"), structured(id="z")]
    )
    kinds = [item.reason if isinstance(item, Refusal) else item.id for item in found]
    assert kinds == ["e-1", "not_a_cloud_event", "not_a_cloud_event", "schema_violation", "z"]
    assert [item.position for item in found] == [0, 1, 2, 3, 4]


def test_a_batch_longer_than_agreed_is_refused_whole() -> None:
    full = [structured(id=str(number)) for number in range(LARGEST_BATCH_EVENTS)]
    assert len(decode_batch(full)) == LARGEST_BATCH_EVENTS
    assert one_refusal(decode_batch([*full, structured()])).reason == "batch_too_large"


def test_an_event_without_time_counts_from_its_arrival() -> None:
    event = one_event(codec.decode(message(b"{}", binary_headers(ce_time=b"<none>"))))
    assert abs(dt.datetime.now(dt.UTC) - event.time) < dt.timedelta(minutes=1)


def test_the_reference_implementation_reads_what_we_write() -> None:
    event = EventEnvelope("/registry", "e-1", TOPIC, NOW, json.dumps(DATA).encode(), message(b""))
    headers, value = codec.encode(event)
    read = reference.from_binary(reference.KafkaMessage(headers, None, value), JSONFormat(), CloudEvent)
    headers, value = codec.encode_structured(event)
    also = reference.from_structured(reference.KafkaMessage(headers, None, value), JSONFormat(), CloudEvent)
    for found in (read, also):
        assert (found.get_id(), found.get_source(), found.get_type()) == ("e-1", "/registry", TOPIC)
        assert found.get_time() == NOW
        assert found.get_data() == DATA


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_we_read_what_the_reference_implementation_writes(mode: str) -> None:
    attributes = {
        "id": "e-1",
        "source": "/registry",
        "type": TOPIC,
        "time": NOW,
        "datacontenttype": "application/json",
        "specversion": "1.0",
    }
    write = reference.to_binary if mode == "binary" else reference.to_structured
    written = write(CloudEvent(attributes, DATA), JSONFormat())
    event = one_event(codec.decode(message(written.value, written.headers)))
    assert (event.id, event.source, event.type, event.time) == ("e-1", "/registry", TOPIC, NOW)
    assert json.loads(event.data) == DATA


def test_a_batch_we_write_is_read_back() -> None:
    events = [
        EventEnvelope("/registry", str(number), TOPIC, NOW, b'{"months":3}', message(b""))
        for number in range(3)
    ]
    headers, value = codec.encode_batch(events)
    found = codec.decode(message(value, headers))
    assert [(item.id, item.data) for item in found if isinstance(item, EventEnvelope)] == [
        (event.id, event.data) for event in events
    ]


@given(
    value=st.none() | st.binary(max_size=200) | st.text(max_size=100).map(str.encode),
    headers=st.dictionaries(
        st.sampled_from(["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type", "x"]),
        st.binary(max_size=30) | st.sampled_from([b"1.0", TOPIC.encode(), BATCH_CONTENT_TYPE.encode()]),
    ),
)
def test_decoding_never_raises_and_never_loses_a_message(
    value: bytes | None, headers: dict[str, bytes]
) -> None:
    found = codec.decode(message(value, headers))
    assert found
    assert all(item.reason in REASONS for item in found if isinstance(item, Refusal))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@given(
    batch=st.lists(
        json_values
        | st.fixed_dictionaries(
            {},
            optional={
                name: json_values | st.just("1.0") | st.just(TOPIC)
                for name in (
                    "specversion",
                    "id",
                    "source",
                    "type",
                    "time",
                    "data",
                    "data_base64",
                    "datacontenttype",
                )
            },
        ),
        max_size=5,
    )
)
def test_a_batch_of_anything_gives_an_answer_for_each_element(batch: list[Any]) -> None:
    assert len(decode_batch(batch)) == max(len(batch), 1)
