"""What headers say, and what makes two events the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.message import derive_event_key, refuse_event
from tests.event_builders import envelope, message


@pytest.mark.parametrize(
    ("value", "attempt"),
    [
        (None, 1),
        (b"", 1),
        (b"0", 1),
        (b"3", 3),
        (b"-3", 1),
        (b"x", 1),
        (b"9" * 30, 1),
        (b"9" * 18, 1_000_000),
    ],
)
def test_the_attempt_is_one_unless_a_replay_says_otherwise(value: bytes | None, attempt: int) -> None:
    headers = {} if value is None else {"gotong-attempt": value}
    assert message(headers=headers).attempt == attempt


def test_only_a_number_names_an_outbox_row() -> None:
    assert message(headers={"gotong-outbox-id": b"17"}).outbox_id == 17
    assert message(headers={"gotong-outbox-id": b"17; DROP"}).outbox_id is None
    assert message(headers={}).outbox_id is None


def test_source_and_id_together_name_an_event() -> None:
    assert derive_event_key("/a", "1") == derive_event_key("/a", "1")
    assert (
        len({derive_event_key(*pair) for pair in (("/a", "1"), ("/a", "2"), ("/b", "1"), ("/a1", ""))}) == 4
    )


def test_the_same_data_written_otherwise_is_the_same_content() -> None:
    plain = envelope(b'{"a":1,"b":[1,2]}')
    assert envelope(b'{ "b": [1, 2],\n"a": 1 }').content_hash == plain.content_hash
    assert envelope(b'{"a":1,"b":[2,1]}').content_hash != plain.content_hash
    assert replace(plain, type="other.v1").content_hash != plain.content_hash


def test_a_refusal_remembers_whether_its_event_came_in_a_batch() -> None:
    alone = envelope(b"{}")
    assert not refuse_event(alone, "schema_violation", "x").in_batch
    batch = message(b"[{}]", headers={"content-type": b"application/cloudevents-batch+json; charset=utf-8"})
    refusal = refuse_event(replace(alone, message=batch, position=3), "schema_violation", "x")
    assert (refusal.in_batch, refusal.position, refusal.event_key) == (True, 3, alone.key)
