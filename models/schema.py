"""Schema: the event contracts as JSON Schema and as tables for people, written from the types.

``python -m models.schema`` writes them into ``docs/``; a test compares what is committed with the types.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any, Final

from models.event import EVENT_TYPES
from models.reason import REASONS

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_KEYS: Final = {
    "coverage.worker-uncovered.v1": "the worker's `nik_hash` (its 32 bytes)",
    "funding.pledge-changed.v1": "`fund_id`",
    "funding.budget-changed.v1": "`fund_id`",
}
_KEY_OF_OTHERS: Final = "`regency`"

#: What Gotong takes in; it publishes the others.
_INTAKE: Final = frozenset(_KEYS)

_README: Final = """\
# Events

Written by `python -m models.schema` from `models/event.py` and `models/reason.py`. Do not edit.

Every event is a [CloudEvents 1.0](https://cloudevents.io) event whose `data` follows the JSON Schema of its
type. Three forms are read:

- **binary**: attributes in headers `ce_specversion`, `ce_id`, `ce_source`, `ce_type`, `ce_time`; the
  message's value is the data; `content-type: application/json`;
- **structured**: the value is the whole event; `content-type: application/cloudevents+json`;
- **batch**: the value is a JSON array of at most 500 structured events, for one topic;
  `content-type: application/cloudevents-batch+json`.

A message has at most 1 MiB. The topic is the event's type. A change that old readers cannot take is a new
type with a new topic.

| type and topic | message key | what it says |
|---|---|---|
{events}

## One event, one outcome

`source` and `id` together name an event. Sent again with the same content it changes nothing, however often
and in whichever form. For a worker "content" is what the event says about the person: how the NIK and
the name were sealed does not count, so sealing the same facts again is a repeat. With other content it is
refused as `event_id_conflict`, and the first stands.

An event without `time` counts from its arrival. For one worker the report with the newest time counts; of
two with the same time, the later arrival.

## The NIK

A plain NIK is never in Kafka. `nik_encrypted` is AES-256-GCM under the key that `nik_key_id` names,
`nik_hash` is HMAC-SHA256 under a key of its own; `gotong events send`, `gotong import` and the
HTTP interface make both. `name_encrypted` is bound to `nik_hash` and opens beside no other worker. An id or
source that holds a NIK, and an unknown field that holds one, are refused as `plain_nik_in_event`.

What is asked of the NIK itself:

- sixteen digits; the first four a regency or city that python-stdnum or `models/data/nik_places.csv` knows
  (any of the country: the prefix is the place of issue, not of residence);
- where the region table has that regency's districts, the first six digits are one of them, or one of
  `models/data/former_districts.csv`. A NIK is for life, so the codes of districts that were renumbered
  belong there; the file is empty because Kutai Kartanegara has none that is known;
- digits 7 to 12 are a birth date, with 40 added to the day for women.

`sex` and `birth_year` need not agree with the NIK: it stays the same when the civil registry corrects either.
File imports warn of a difference.

## Months and amounts

Cover may start from 12 months before to 24 months after the month of the event's own time, so that events
can be replayed late. An event's time may be a day ahead of the receiver's clock: a wrong date would
otherwise outrank every later report. Rupiah are whole numbers written without a point, at most
9,007,199,254,740,991, the largest integer that every JSON reader keeps.

## Reasons of refusal

A refused event becomes a dead letter: kept sealed in the database, announced on `<topic>.dlq`, listed by
`gotong dlq list`, sent again by `gotong dlq replay`. Of a batch only the refused events are. On
`<topic>.dlq` these headers tell about it: `gotong-dead-letter-id`, `gotong-original-topic`,
`gotong-original-partition`, `gotong-original-offset`, `gotong-original-position` (in a batch),
`gotong-reason`, `gotong-attempt`, `gotong-payload` (`sealed`, or `omitted` when it is too large to copy).

| reason | meaning |
|---|---|
{reasons}
"""


def event_schema(event_type: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of the data of ``event_type``. Raises ``KeyError`` for an unknown type."""
    schema = EVENT_TYPES[event_type].model_json_schema()
    return {"$schema": _DIALECT, "$id": f"urn:gotong:event:{event_type}", **schema}


def contract_files() -> dict[str, str]:
    """Path below docs/ -> text of everything that is written from the types."""
    files = {
        f"events/{event_type}.json": json.dumps(event_schema(event_type), indent=2, ensure_ascii=False) + "\n"
        for event_type in EVENT_TYPES
    }
    events = "\n".join(
        f"| [`{name}`]({name}.json) | {_KEYS.get(name, _KEY_OF_OTHERS)} | {_say(name)} |"
        for name in EVENT_TYPES
    )
    reasons = "\n".join(f"| `{reason}` | {meaning} |" for reason, meaning in REASONS.items())
    files["events/README.md"] = _README.format(events=events, reasons=reasons)
    files["asyncapi.yaml"] = _write_asyncapi()
    return files


def write_contracts(folder: Path) -> None:
    """Write the files of :func:`contract_files` below ``folder``."""
    for name, content in contract_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


def _say(event_type: str) -> str:
    """The first paragraph of the type's docstring, on one line."""
    paragraph = inspect.getdoc(EVENT_TYPES[event_type]) or ""
    return " ".join(paragraph.partition("\n\n")[0].split())


def _write_asyncapi() -> str:
    """The channels in AsyncAPI 3. Its few strings need no more of YAML than JSON's quotes."""
    channels, operations, messages = "", "", ""
    for event_type in EVENT_TYPES:
        name = "".join(part.capitalize() for part in re.split(r"[.-]", event_type))
        channels += _CHANNEL.format(name=name, address=event_type, message=name)
        operations += _OPERATION.format(
            verb="Take" if event_type in _INTAKE else "Publish",
            action="receive" if event_type in _INTAKE else "send",
            name=name,
            message=name,
        )
        messages += _MESSAGE.format(
            name=name, address=event_type, summary=json.dumps(_say(event_type), ensure_ascii=False)
        )
        if event_type in _INTAKE:
            channels += _CHANNEL.format(name=f"{name}Dlq", address=f"{event_type}.dlq", message="DeadLetter")
            operations += _OPERATION.format(
                verb="Announce", action="send", name=f"{name}Dlq", message="DeadLetter"
            )
    return _ASYNCAPI.format(channels=channels, operations=operations, messages=messages)


_ASYNCAPI: Final = """\
# Written by `python -m models.schema` from models/event.py. Do not edit.
asyncapi: 3.0.0
info:
  title: Gotong
  version: "1"
  description: >-
    CloudEvents 1.0 over Kafka: uncovered workers, pledges and budget lines in, allocation proposals out.
    docs/events/README.md says how events are identified, repeated and refused.
  license:
    name: Apache-2.0
defaultContentType: application/json
channels:
{channels}operations:
{operations}components:
  messages:
{messages}    DeadLetter:
      summary: "A refused event: its sealed bytes, and in the headers where it came from and why."
      contentType: application/octet-stream
      headers:
        type: object
        required: [gotong-original-topic, gotong-reason, gotong-attempt]
        properties:
          gotong-dead-letter-id: {{type: string}}
          gotong-original-topic: {{type: string}}
          gotong-original-partition: {{type: string}}
          gotong-original-offset: {{type: string}}
          gotong-original-position: {{type: string}}
          gotong-reason: {{type: string}}
          gotong-attempt: {{type: string}}
          gotong-payload: {{type: string, enum: [sealed, omitted]}}
"""

_CHANNEL: Final = """\
  {name}:
    address: {address}
    messages:
      {message}:
        $ref: "#/components/messages/{message}"
"""

_OPERATION: Final = """\
  {verb}{name}:
    action: {action}
    channel:
      $ref: "#/channels/{name}"
    messages:
      - $ref: "#/channels/{name}/messages/{message}"
"""

_MESSAGE: Final = """\
    {name}:
      name: {address}
      summary: {summary}
      headers:
        type: object
        required: [ce_specversion, ce_id, ce_source, ce_type]
        properties:
          ce_specversion: {{type: string, const: "1.0"}}
          ce_id: {{type: string, maxLength: 256}}
          ce_source: {{type: string, maxLength: 256}}
          ce_type: {{type: string, const: {address}}}
          ce_time: {{type: string, format: date-time}}
      payload:
        schemaFormat: application/schema+json;version=draft-2020-12
        schema:
          $ref: "./events/{address}.json"
"""


if __name__ == "__main__":
    write_contracts(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
