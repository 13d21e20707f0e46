"""Dead letters keep what was refused, show it without personal data, and send it again when asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import orjson
import pytest
from sqlalchemy import Engine, event, text

from models.database import open_engine
from models.message import InboundMessage, Refusal
from models.vault import UndecryptableError, Vault
from tests.builders import KUKAR
from tests.event_builders import CONTEXT, TOPIC, VAULT, envelope, message, nik_of, worker_data, worker_event
from workflow.dead_letter import (
    count_dead_letters,
    list_dead_letters,
    record_dead_letters,
    replay_dead_letters,
    show_dead_letter,
)
from workflow.load_regions import load_regions
from workflow.outbox import OutboxRecord, take_unpublished
from workflow.register import register_workers


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


def record(engine: Engine, *refusals: Refusal) -> int:
    with engine.begin() as connection:
        return record_dead_letters(connection, VAULT, refusals)


def refusal(value: bytes | None = b"raw", reason: str = "malformed_json", **changes: object) -> Refusal:
    return Refusal(message(value, **changes), reason, "not JSON")


def outbox(engine: Engine, *, intake: bool) -> list[OutboxRecord]:
    with engine.connect() as connection:
        return [record for record in take_unpublished(connection, 1_000) if record.intake is intake]


def redeliver(sent: OutboxRecord) -> InboundMessage:
    """The replayed message as it comes back from Kafka."""
    return message(sent.value, topic=sent.topic, key=sent.key, headers=sent.headers)


def test_bytes_key_and_headers_are_stored_sealed_and_come_back_unchanged_on_replay(engine: Engine) -> None:
    raw, key, headers = b"\xff\x00{ not json", b"\x01key", {"ce_id": b"e-1", "odd": b"\xfe"}
    assert record(engine, refusal(raw, key=key, headers=headers)) == 1
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT * FROM dead_letter")).one()
    assert raw not in bytes(stored.payload_encrypted) and key not in bytes(stored.key_encrypted)
    (letter,) = list_dead_letters(engine)
    assert replay_dead_letters(engine, VAULT, [letter.id]).replayed == [letter.id]
    (sent,) = outbox(engine, intake=True)
    assert (sent.topic, sent.key, sent.value) == (TOPIC, key, raw)
    assert {name: sent.headers[name] for name in headers} == headers


def test_a_copy_is_announced_on_the_dead_letter_topic(engine: Engine) -> None:
    bad = refusal(b"raw", offset=42, partition=3)
    record(engine, bad)
    (copy,) = outbox(engine, intake=False)
    assert copy.topic == "coverage.worker-uncovered.v1.dlq"
    assert VAULT.decrypt(copy.value, "dead-letter:payload") == b"raw"
    assert {name: value.decode() for name, value in copy.headers.items()} == {
        "gotong-dead-letter-id": str(list_dead_letters(engine)[0].id),
        "gotong-original-topic": TOPIC,
        "gotong-original-partition": "3",
        "gotong-original-offset": "42",
        "gotong-original-position": "0",
        "gotong-reason": "malformed_json",
        "gotong-attempt": "1",
        "gotong-payload": "sealed",
    }


def test_a_message_too_large_is_kept_but_neither_copied_nor_replayed(engine: Engine) -> None:
    record(engine, refusal(b"x" * 5_000_000, "message_too_large"))
    (copy,) = outbox(engine, intake=False)
    assert (copy.value, copy.headers["gotong-payload"]) == (b"", b"omitted")
    (letter,) = list_dead_letters(engine)
    outcome = replay_dead_letters(engine, VAULT)
    assert outcome.replayed == []
    assert outcome.skipped == {letter.id: "its 5000000 bytes are more than a message may have"}
    view = show_dead_letter(engine, VAULT, letter.id)
    assert view is not None and view.payload_bytes == 5_000_000 and len(view.payload) < 5_000


def test_the_same_refusal_is_stored_and_announced_once(engine: Engine) -> None:
    bad = refusal()
    assert [record(engine, bad, bad), record(engine, bad)] == [1, 0]
    assert len(outbox(engine, intake=False)) == 1
    assert record(engine, replace(bad, message=replace(bad.message, log_id="after-restart"))) == 1


def test_a_replay_happens_once_however_often_it_is_asked_for(engine: Engine) -> None:
    record(engine, refusal())
    (letter,) = list_dead_letters(engine)
    first, second = replay_dead_letters(engine, VAULT), replay_dead_letters(engine, VAULT, [letter.id, 999])
    assert (first.replayed, second.replayed) == ([letter.id], [])
    assert second.skipped == dict.fromkeys((letter.id, 999), "no such dead letter, or replayed already")
    assert list_dead_letters(engine) == []
    assert [found.id for found in list_dead_letters(engine, waiting_only=False)] == [letter.id]
    assert [(found.total, found.replayed) for found in count_dead_letters(engine)] == [(1, 1)]


def test_a_filter_replays_only_what_it_names(engine: Engine) -> None:
    other = "funding.pledge-changed.v1"
    record(engine, refusal(reason="nik_invalid"), refusal(), refusal(topic=other))
    assert len(replay_dead_letters(engine, VAULT, reason="nik_invalid").replayed) == 1
    assert len(replay_dead_letters(engine, VAULT, topic=other).replayed) == 1
    assert len(replay_dead_letters(engine, VAULT).replayed) == 1


def test_more_dead_letters_than_one_transaction_takes_are_all_replayed_in_order(engine: Engine) -> None:
    record(engine, *[refusal(str(number).encode()) for number in range(450)])
    assert len(replay_dead_letters(engine, VAULT).replayed) == 450
    assert [int(sent.value) for sent in outbox(engine, intake=True)] == list(range(450))


def test_an_event_that_is_refused_again_is_a_new_dead_letter_of_the_next_attempt(engine: Engine) -> None:
    data = worker_data(1, months=13)
    register_workers(engine, CONTEXT, [envelope(data, event_id="e-1")])
    for attempt in (2, 3):
        replay_dead_letters(engine, VAULT)
        sent = outbox(engine, intake=True)[-1]
        again = replace(envelope(data, event_id="e-1"), message=redeliver(sent))
        register_workers(engine, CONTEXT, [again])
        (letter,) = list_dead_letters(engine)
        assert (letter.reason, letter.attempt) == ("months_out_of_range", attempt)


def test_a_replay_after_the_fix_succeeds(engine: Engine) -> None:
    event = worker_event(1, village="64.71.01.1001")
    assert list(register_workers(engine, CONTEXT, [event]).outcomes) == ["refused"]
    load_regions(engine, [KUKAR, "64.71"])
    replay_dead_letters(engine, VAULT)
    (sent,) = outbox(engine, intake=True)
    again = replace(event, data=sent.value, message=redeliver(sent))
    assert list(register_workers(engine, CONTEXT, [again]).outcomes) == ["registered"]
    assert outbox(engine, intake=True) == []  # settled, so the relay has nothing left to do
    assert list_dead_letters(engine) == []


def test_a_forged_attempt_header_cannot_stop_a_dead_letter(engine: Engine) -> None:
    assert record(engine, refusal(headers={"gotong-attempt": b"99999999999999"})) == 1
    assert record(engine, refusal(headers={"gotong-attempt": b"x"})) == 1


def test_a_message_without_a_value_is_kept(engine: Engine) -> None:
    assert record(engine, refusal(None, "empty_message", key=None)) == 1
    (letter,) = list_dead_letters(engine)
    view = show_dead_letter(engine, VAULT, letter.id)
    assert view is not None and (view.key, view.payload) == (None, "")


def test_a_view_masks_numbers_and_names(engine: Engine) -> None:
    nik = nik_of(1)
    spaced = f"{nik[:6]} {nik[6:12]}-{nik[12:]}"
    data = worker_data(1) | {"nik": nik, "nama": 'Budi "Rekaan" Santoso', "note": f"born as {spaced}"}
    record(engine, refusal(orjson.dumps(data), "plain_nik_in_event", key=nik.encode()))
    (letter,) = list_dead_letters(engine)
    view = show_dead_letter(engine, VAULT, letter.id)
    assert view is not None
    shown = repr(view)
    assert nik not in shown and spaced not in shown and "Santoso" not in shown
    assert data["nik_encrypted"] not in shown
    assert '"village":"64.02.05.2001"' in view.payload and "nelayan" in view.payload


def test_a_letter_whose_key_is_lost_says_so_and_waits(engine: Engine) -> None:
    record(engine, refusal())
    (letter,) = list_dead_letters(engine)
    stranger = Vault(bytes([9]) * 32)
    outcome = replay_dead_letters(engine, stranger)
    assert outcome.skipped == {
        letter.id: "its contents cannot be opened: sealed with a key that is not in the ring"
    }
    with pytest.raises(UndecryptableError):
        show_dead_letter(engine, stranger, letter.id)
    assert replay_dead_letters(engine, VAULT).replayed == [letter.id]


def test_there_is_nothing_to_show_of_an_unknown_letter(engine: Engine) -> None:
    assert show_dead_letter(engine, VAULT, 1) is None


def test_lists_are_newest_first_and_can_be_paged(engine: Engine) -> None:
    record(engine, *[refusal(offset=offset) for offset in range(5)])
    page = list_dead_letters(engine, limit=2)
    assert [letter.offset for letter in page] == [4, 3]
    assert [letter.offset for letter in list_dead_letters(engine, before_id=page[-1].id)] == [2, 1, 0]


def test_what_is_refused_again_while_replaying_is_not_sent_again_and_again(engine: Engine) -> None:
    record(engine, *(refusal() for _ in range(5)))
    arrivals = iter(range(5))

    def refuse_again(_connection: object) -> None:
        if next(arrivals, None) is not None:
            record(other, refusal())

    other = open_engine(engine.url.render_as_string(hide_password=False))
    event.listen(engine, "commit", refuse_again)
    outcome = replay_dead_letters(engine, VAULT)
    event.remove(engine, "commit", refuse_again)
    other.dispose()
    assert len(outcome.replayed) == 5
    assert len(list_dead_letters(engine)) > 0
