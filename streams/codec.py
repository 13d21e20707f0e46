"""CloudEvents 1.0 on Kafka: from records to envelopes and back.

Read: binary mode (``ce_`` headers, data as value), structured mode (``application/cloudevents+json``)
and JSON batches (``application/cloudevents-batch+json``), after the CloudEvents Kafka binding
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md).

Data is parsed here once, so that malformed text shows before any transaction; what the same content
hashes to in any mode is the envelope's business (``EventEnvelope.content_hash``).
The ``cloudevents`` package reads and writes the same forms (tests/unit/streams prove it) in 18 microseconds
per event instead of 5, and raises where a reason per event is needed.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import datetime as dt
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from models.event import EVENT_TYPES
from models.message import (
    BATCH_CONTENT_TYPE,
    EVENT_CONTENT_TYPE,
    LARGEST_BATCH_EVENTS,
    LARGEST_MESSAGE_BYTES,
    EventEnvelope,
    InboundMessage,
    Refusal,
    derive_event_key,
)

MAX_ATTRIBUTE_CHARACTERS: Final = 256

_SPEC_VERSION: Final = "1.0"
_JSON_TYPE: Final = re.compile(r"[a-z0-9.+-]+/(?:[a-z0-9.+-]+\+)?json", re.IGNORECASE)
# PostgreSQL text holds every character but this one.
_ESCAPED_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_REQUIRED: Final = ("specversion", "id", "source", "type")
_PLAIN_JSON: Final = ("application/json", "")


class _RefusedError(Exception):
    """Why an event cannot be read; never leaves this module."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode(message: InboundMessage) -> list[EventEnvelope | Refusal]:
    """Every event in the message, or why it (or the whole message) is refused. Never raises.

    The reasons are those of ``models.reason`` that concern the message and its type.
    """
    try:
        return _decode(message)
    except _RefusedError as refused:
        return [Refusal(message, refused.reason, refused.detail)]
    except Exception as error:  # noqa: BLE001 - a decoder that dies would block its partition
        return [Refusal(message, "internal_error", f"the message cannot be read ({type(error).__name__})")]


def _decode(message: InboundMessage) -> list[EventEnvelope | Refusal]:
    value, headers = message.value, message.headers
    if not value:
        raise _RefusedError("empty_message", "the message has no value")
    if len(value) > LARGEST_MESSAGE_BYTES:
        raise _RefusedError(
            "message_too_large",
            f"the message has {len(value)} bytes, at most {LARGEST_MESSAGE_BYTES} are taken",
        )
    content_type = _text(headers.get("content-type", b""), "content-type").partition(";")[0].strip().lower()
    if content_type == EVENT_CONTENT_TYPE:
        attributes = _parse(value)
        return [_read_structured(message, attributes, 0)]
    if content_type == BATCH_CONTENT_TYPE:
        return _read_batch(message, _parse(value))
    if "ce_specversion" not in headers:
        if content_type.startswith("application/cloudevents"):
            raise _RefusedError("not_a_cloud_event", f"content type {content_type[:80]} is not read here")
        if not content_type or _JSON_TYPE.fullmatch(content_type):
            _parse(value)  # so that "not UTF-8" or "not JSON" is said where that is the trouble
        raise _RefusedError(
            "not_a_cloud_event", "the message has neither ce_ headers nor a CloudEvents content type"
        )
    return [_read_binary(message, content_type)]


def _read_binary(message: InboundMessage, content_type: str) -> EventEnvelope | Refusal:
    headers = message.headers
    attributes = {
        name: _text(headers[f"ce_{name}"], name)
        for name in ("specversion", "id", "source", "type", "time")
        if f"ce_{name}" in headers
    }
    try:
        _check_attributes(message, attributes)
        if content_type not in _PLAIN_JSON and not _JSON_TYPE.fullmatch(content_type):
            raise _RefusedError(
                "not_a_cloud_event", f"data is {content_type[:80]}, expected application/json"
            )
        assert message.value is not None
        _parse(message.value)
        return _envelope(message, attributes, message.value, 0)
    except _RefusedError as refused:
        return _refuse(message, attributes, refused, 0)


def _read_batch(message: InboundMessage, parsed: Any) -> list[EventEnvelope | Refusal]:
    if parsed == []:
        raise _RefusedError("empty_message", "the batch holds no event")
    if not isinstance(parsed, list):
        raise _RefusedError("not_a_cloud_event", "a CloudEvents batch is a JSON array")
    if len(parsed) > LARGEST_BATCH_EVENTS:
        raise _RefusedError(
            "batch_too_large", f"the batch has {len(parsed)} events, at most {LARGEST_BATCH_EVENTS} are taken"
        )
    return [_read_structured(message, item, position) for position, item in enumerate(parsed)]


def _read_structured(message: InboundMessage, item: Any, position: int) -> EventEnvelope | Refusal:
    try:
        if not isinstance(item, dict):
            raise _RefusedError("not_a_cloud_event", "an event is a JSON object")
        _check_attributes(message, item)
        return _envelope(message, item, _data_of(item), position)
    except _RefusedError as refused:
        return _refuse(message, item, refused, position)


def _refuse(message: InboundMessage, attributes: Any, refused: _RefusedError, position: int) -> Refusal:
    """The refusal of one event, with its key where its source and id can be read."""
    key = None
    if isinstance(attributes, dict):
        source, event_id = attributes.get("source"), attributes.get("id")
        if isinstance(source, str) and isinstance(event_id, str) and source and event_id:
            with contextlib.suppress(UnicodeEncodeError):
                key = derive_event_key(source, event_id)
    return Refusal(message, refused.reason, refused.detail, position, key, message.carries_batch)


def _data_of(item: Mapping[str, Any]) -> bytes:
    if item.get("data") is not None:
        content_type = item.get("datacontenttype") or "application/json"
        if content_type != "application/json" and not _is_json(content_type):
            raise _RefusedError("not_a_cloud_event", "datacontenttype is not a JSON type")
        return _write(item["data"])
    encoded = item.get("data_base64")
    if not isinstance(encoded, str):
        raise _RefusedError("schema_violation", "the event has no data")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise _RefusedError("schema_violation", "data_base64 is not base64") from None
    _parse(data)
    return data


def _check_attributes(message: InboundMessage, attributes: Mapping[str, Any]) -> None:
    """Refuse missing or impossible attributes."""
    for name in _REQUIRED:
        value = attributes.get(name)
        if value is None or value == "":
            raise _RefusedError("not_a_cloud_event", f"attribute {name} is missing")
        if not isinstance(value, str) or len(value) > MAX_ATTRIBUTE_CHARACTERS or not value.isprintable():
            raise _RefusedError(
                "not_a_cloud_event",
                f"attribute {name} must be text of at most {MAX_ATTRIBUTE_CHARACTERS} printable characters",
            )
    if attributes["specversion"] != _SPEC_VERSION:
        raise _RefusedError("not_a_cloud_event", f"only CloudEvents {_SPEC_VERSION} is read")
    topic, event_type = message.topic, attributes["type"]
    if event_type == topic or topic not in EVENT_TYPES:
        return
    if event_type.rpartition(".v")[0] == topic.rpartition(".v")[0]:
        raise _RefusedError("wrong_schema_version", f"of this event only {topic} is read")
    raise _RefusedError("unknown_type", f"the topic carries {topic} only")


def _envelope(
    message: InboundMessage, attributes: Mapping[str, Any], data: bytes, position: int
) -> EventEnvelope:
    if b"\\u0000" in data and _ESCAPED_NUL.search(data):
        raise _RefusedError("schema_violation", "the data holds a NUL character")
    return EventEnvelope(
        source=attributes["source"],
        id=attributes["id"],
        type=attributes["type"],
        time=_time(attributes.get("time")),
        data=data,
        message=message,
        position=position,
    )


def _time(text: Any) -> dt.datetime:
    if text is None:  # optional in CloudEvents: then the event counts from its arrival
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise _RefusedError("not_a_cloud_event", "attribute time is not an RFC 3339 time with an offset")
    return moment


def _parse(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        try:
            value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _RefusedError("invalid_utf8", f"byte {error.start} is not UTF-8") from None
        raise _RefusedError("malformed_json", "the value is not JSON") from None


def _is_json(content_type: Any) -> bool:
    return isinstance(content_type, str) and bool(
        _JSON_TYPE.fullmatch(content_type.partition(";")[0].strip())
    )


def _write(data: Any) -> bytes:
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        raise _RefusedError("malformed_json", "the data nests too deeply") from None


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        raise _RefusedError("invalid_utf8", f"header {name} is not UTF-8") from None


def encode(event: EventEnvelope) -> tuple[dict[str, bytes], bytes]:
    """Headers and value of an event in binary mode."""
    headers = {
        "ce_specversion": _SPEC_VERSION.encode(),
        "ce_id": event.id.encode(),
        "ce_source": event.source.encode(),
        "ce_type": event.type.encode(),
        "ce_time": _write_time(event.time).encode(),
        "content-type": b"application/json",
    }
    return headers, event.data


def encode_batch(events: Iterable[EventEnvelope]) -> tuple[dict[str, bytes], bytes]:
    """Headers and value of a CloudEvents batch; the caller keeps to the limits above."""
    return {"content-type": BATCH_CONTENT_TYPE.encode()}, orjson.dumps(
        [_structure(event) for event in events]
    )


def encode_structured(event: EventEnvelope) -> tuple[dict[str, bytes], bytes]:
    """Headers and value of an event in structured mode."""
    return {"content-type": EVENT_CONTENT_TYPE.encode()}, orjson.dumps(_structure(event))


def _structure(event: EventEnvelope) -> dict[str, Any]:
    return {
        "specversion": _SPEC_VERSION,
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "time": _write_time(event.time),
        "datacontenttype": "application/json",
        "data": orjson.Fragment(event.data),
    }


def _write_time(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
