"""When a topic pauses, what it is judged by, and who may let it go on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from models.message import ATTEMPT_HEADER, InboundMessage, Refusal
from tests.event_builders import NOW, TOPIC, message
from workflow.pause_intake import (
    IntakeGuard,
    IntakePausedError,
    PauseCause,
    pause_intake,
    read_pauses,
    resume_intake,
)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def judge(guard: IntakeGuard, engine: Engine, good: int, bad: int, **changes: Any) -> PauseCause | None:
    """Judge a batch; ``None`` when it may be committed."""
    received: Sequence[InboundMessage] = [message(**changes) for _ in range(good + bad)]
    refusals = [Refusal(each, "village_unknown", "village: unknown") for each in received[:bad]]
    try:
        with engine.begin() as connection:
            guard.judge(connection, received, refusals)
    except IntakePausedError as paused:
        return paused.cause or PauseCause(TOPIC, -1, 0, 0, {}, "stands still already")
    return None


def test_the_share_is_taken_of_the_last_events_and_the_limit_itself_is_allowed(engine: Engine) -> None:
    guard = IntakeGuard(share=0.5, events=10)
    assert judge(guard, engine, 0, 9) is None, "too few to judge"
    assert judge(guard, engine, 9, 0) is None, "9 of 18"
    assert judge(guard, engine, 1, 5) is None, "5 of 15; the first nine are forgotten"
    cause = judge(guard, engine, 0, 10)
    assert cause is not None and (cause.events, cause.refused) == (10, 10)
    assert judge(IntakeGuard(share=1.0, events=10), engine, 0, 500) is None, "1 never pauses"


def test_a_batch_that_is_tried_again_counts_once(engine: Engine) -> None:
    guard = IntakeGuard(share=0.5, events=10)
    for _ in range(5):
        assert judge(guard, engine, 0, 4, partition=0, offset=7) is None


def test_replays_are_not_judged(engine: Engine) -> None:
    guard = IntakeGuard(share=0.5, events=10)
    assert judge(guard, engine, 0, 100, headers={ATTEMPT_HEADER: b"2"}) is None


def test_the_trial_is_made_where_a_batch_was_held_back(engine: Engine) -> None:
    """Most of the window's refusals may be of a partition whose messages are long acknowledged."""
    guard = IntakeGuard(share=0.5, events=10)
    assert judge(guard, engine, 0, 9, partition=3) is None
    cause = judge(guard, engine, 1, 1, partition=1)
    assert cause is not None and cause.partition == 1
    assert pause_intake(engine, cause, NOW)
    assert judge(guard, engine, 5, 0, partition=2) is not None, "nothing is tried from elsewhere"
    assert judge(guard, engine, 0, 5, partition=1) is not None, "nothing refused is stored by a trial"
    assert judge(guard, engine, 5, 0, partition=1) is None
    assert read_pauses(engine) == []


def test_people_are_told_once_though_two_find_it_and_a_trial_was_too_early(engine: Engine) -> None:
    cause = PauseCause(TOPIC, 0, 10, 9, {"village_unknown": 9}, "village: unknown")
    now = dt.datetime.now(dt.UTC)
    assert pause_intake(engine, cause, now)
    assert not pause_intake(engine, cause, now)
    assert judge(IntakeGuard(share=0.5, events=10), engine, 3, 0, partition=0) is None, "a trial"
    assert pause_intake(engine, cause, now + dt.timedelta(minutes=5))
    assert told(engine) == 1
    resume_intake(engine, TOPIC, "Ibu Rekaan", now + dt.timedelta(minutes=6))
    assert pause_intake(engine, replace(cause, refused=10), now + dt.timedelta(minutes=7))
    assert told(engine) == 2, "after a person's word it is another pause"


def test_what_was_sent_before_a_person_said_go_on_is_not_judged_again(engine: Engine) -> None:
    guard = IntakeGuard(share=0.5, events=10)
    cause = judge(guard, engine, 0, 10)
    assert cause is not None
    pause_intake(engine, cause, NOW)
    resume_intake(engine, TOPIC, "Ibu Rekaan", NOW)
    moment_ms = int(NOW.timestamp() * 1000)
    assert judge(guard, engine, 0, 500, sent_ms=moment_ms) is None
    assert judge(guard, engine, 0, 10, sent_ms=moment_ms + 1) is not None


def test_only_what_stands_still_can_be_resumed(engine: Engine) -> None:
    with pytest.raises(LookupError, match="not paused"):
        resume_intake(engine, TOPIC, "Ibu Rekaan", NOW)


def told(engine: Engine) -> int:
    with engine.connect() as connection:
        statement = text("SELECT count(*) FROM outbox_message WHERE topic = 'alert.raised.v1'")
        return int(connection.scalar(statement) or 0)
