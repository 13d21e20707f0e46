"""Pause intake: when too much of a topic is refused, it stands still instead of draining into dead letters.

Either a producer is broken or we are (a lost key, an old region table, a defect); in both cases a person
should look before thousands of events have become dead letters. Each batch is judged inside its own
transaction: a batch that passes the limit is rolled back whole, so nothing of it is stored, acknowledged or
lost. See docs/decisions/0006-intake-pause.md.

Not judged are replays of dead letters (whoever sends them again knows them) and, after somebody resumed the
topic, the messages that were sent before: those they have agreed to.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, Engine, select, text, update
from sqlalchemy.dialects.postgresql import insert

from models.intake_tables import IntakePause
from models.message import InboundMessage, Refusal
from workflow.alert_rules import HOUSE
from workflow.raise_alert import close_alerts, raise_alert
from workflow.record import record_action

#: Who resumed a topic when nobody did: what waited there was tried and accepted.
TRIAL: Final = "trial"
#: A topic that pauses again so soon after a trial has the same trouble; people were told of it already.
_SAME_TROUBLE: Final = dt.timedelta(hours=1)

# Two lanes that find the same trouble: the second one waits here and sees the first one's pause.
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:topic, 6))")


@dataclass(frozen=True, slots=True)
class PauseCause:
    """What passed the limit: ``refused`` of ``events``, by reason.

    ``partition`` is that of the batch that was held back, so there is always something to try there.
    """

    topic: str
    partition: int
    events: int
    refused: int
    reasons: Mapping[str, int]
    example: str


@dataclass(frozen=True, slots=True)
class StandingPause:
    """A topic that stands still, and why."""

    cause: PauseCause
    paused_at: dt.datetime


class IntakePausedError(Exception):
    """The topic stands still; nothing of the batch was stored. ``cause``: this very batch is why."""

    def __init__(self, topic: str, cause: PauseCause | None = None) -> None:
        super().__init__(topic)
        self.topic = topic
        self.cause = cause


@dataclass(slots=True)
class _Part:
    """The events of one transaction that count, and the refusals among them by reason."""

    events: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    example: str = ""

    def add(self, other: _Part) -> None:
        self.events += other.events
        self.reasons += other.reasons
        self.example = self.example or other.example


class IntakeGuard:
    """Judges a topic by its last ``events`` events: more than ``share`` of them refused, and it pauses.

    One per worker process, shared by its threads; it judges only once that many events were seen. A
    ``share`` of 1 never pauses. Standing pauses are in the database and hold for every process.
    """

    def __init__(self, *, share: float = 1.0, events: int = 1) -> None:
        self._share = share
        self._events = events
        self._lock = threading.Lock()
        #: By topic, then by the place of a part's first message: a part that is tried again replaces itself.
        self._windows: dict[str, dict[tuple[int, int], _Part]] = {}

    def judge(
        self, connection: Connection, received: Sequence[InboundMessage], refusals: Sequence[Refusal]
    ) -> None:
        """Call before the commit of a batch of one topic. ``received`` has one message per event.

        Raises :class:`IntakePausedError` when the topic stands still, or must from now on.
        """
        if not received:
            return
        topic = received[0].topic
        last = connection.execute(
            select(IntakePause.__table__).where(IntakePause.topic == topic)
        ).one_or_none()
        if last is None or last.resumed_at is not None:
            part = _count(received, refusals, last.resumed_at if last else None)
            self._judge_window(topic, (received[0].partition, received[0].offset), part)
            return
        trial = _count(received, refusals, None)
        if all(message.partition != last.partition for message in received) or self._is_too_much(trial):
            raise IntakePausedError(topic)
        _let_go_on(connection, topic, TRIAL, dt.datetime.now(dt.UTC))

    def _judge_window(self, topic: str, place: tuple[int, int], part: _Part) -> None:
        if not part.events:
            return
        with self._lock:
            window = self._windows.setdefault(topic, {})
            window.pop(place, None)
            window[place] = part
            events = sum(each.events for each in window.values())
            while events - (oldest := next(iter(window.values()))).events >= self._events:
                events -= oldest.events
                del window[next(iter(window))]
            whole = _Part()
            for each in window.values():
                whole.add(each)
            if events >= self._events and self._is_too_much(whole):
                window.clear()
                raise IntakePausedError(topic, _describe(topic, place[0], whole))

    def _is_too_much(self, part: _Part) -> bool:
        return part.reasons.total() > self._share * part.events


def pause_intake(engine: Engine, cause: PauseCause, now: dt.datetime) -> bool:
    """Let the topic stand still and tell people; ``False`` if it does so already."""
    with engine.begin() as connection:
        connection.execute(_LOCK, {"topic": cause.topic})
        last = connection.execute(
            select(IntakePause.__table__).where(IntakePause.topic == cause.topic)
        ).one_or_none()
        if last is not None and last.resumed_at is None:
            return False
        goes_on = last is not None and last.resumed_by == TRIAL and now - last.resumed_at < _SAME_TROUBLE
        values = {
            "topic": cause.topic,
            "paused_at": last.paused_at if last is not None and goes_on else now,
            "partition": cause.partition,
            "events": cause.events,
            "refused": cause.refused,
            "reasons": dict(cause.reasons),
            "example": cause.example,
            "resumed_at": None,
            "resumed_by": None,
        }
        statement = insert(IntakePause).values(values)
        connection.execute(statement.on_conflict_do_update(index_elements=["topic"], set_=values))
        if not goes_on:
            _tell(connection, cause, now)
    return True


def resume_intake(engine: Engine, topic: str, officer: str, now: dt.datetime) -> None:
    """Let a paused topic go on; what was sent before ``now`` is not judged again.

    Raises ``LookupError`` when the topic is not paused.
    """
    with engine.begin() as connection:
        if not _let_go_on(connection, topic, officer, now):
            raise LookupError(f"intake of {topic} is not paused")


def is_paused(engine: Engine, topic: str) -> bool:
    """Whether the topic stands still."""
    statement = select(IntakePause.topic).where(IntakePause.topic == topic, IntakePause.resumed_at.is_(None))
    with engine.connect() as connection:
        return connection.scalar(statement) is not None


def read_pauses(engine: Engine) -> list[StandingPause]:
    """The topics that stand still, by name."""
    statement = select(IntakePause.__table__).where(IntakePause.resumed_at.is_(None))
    with engine.connect() as connection:
        return [
            StandingPause(
                PauseCause(row.topic, row.partition, row.events, row.refused, row.reasons, row.example),
                row.paused_at,
            )
            for row in connection.execute(statement.order_by(IntakePause.topic))
        ]


def _let_go_on(connection: Connection, topic: str, who: str, now: dt.datetime) -> bool:
    statement = (
        update(IntakePause)
        .where(IntakePause.topic == topic, IntakePause.resumed_at.is_(None))
        .values(resumed_at=now, resumed_by=who)
    )
    if not connection.execute(statement).rowcount:
        return False
    record_action(connection, who, "resume_intake", topic, {}, now)
    close_alerts(connection, "intake_paused", HOUSE, now, topic)
    return True


def _tell(connection: Connection, cause: PauseCause, now: dt.datetime) -> None:
    topic, worst = cause.topic, max(cause.reasons, key=lambda reason: cause.reasons[reason])
    detail = {"events": cause.events, "refused": cause.refused, "reasons": dict(cause.reasons)}
    record_action(connection, "intake", "pause_intake", topic, detail, now)
    raise_alert(
        connection,
        "intake_paused",
        topic,
        "critical",
        message_id=(
            f"Penerimaan {topic} dihentikan sementara: {cause.refused} dari {cause.events} peristiwa"
            f" terakhir ditolak, terbanyak {worst}. Tidak ada yang hilang. Periksa dengan 'gotong status',"
            f" perbaiki sebabnya, lalu 'gotong intake resume {topic}'."
        ),
        message_en=(
            f"Intake of {topic} is paused: {cause.refused} of the last {cause.events} events were refused,"
            f" most of them {worst}. Nothing is lost. Look with 'gotong status', mend the cause, then"
            f" 'gotong intake resume {topic}'."
        ),
        now=now,
    )


def _count(
    received: Sequence[InboundMessage], refusals: Sequence[Refusal], agreed_until: dt.datetime | None
) -> _Part:
    """What of the batch is judged: neither replays nor what was sent before somebody said go on."""
    agreed_ms = agreed_until.timestamp() * 1000 if agreed_until is not None else -1.0

    def counts(message: InboundMessage) -> bool:
        return message.attempt == 1 and message.sent_ms > agreed_ms

    judged = [refusal for refusal in refusals if counts(refusal.message)]
    return _Part(
        sum(counts(message) for message in received),
        Counter(refusal.reason for refusal in judged),
        _place(judged[0]) if judged else "",
    )


def _describe(topic: str, partition: int, part: _Part) -> PauseCause:
    return PauseCause(
        topic=topic,
        partition=partition,
        events=part.events,
        refused=part.reasons.total(),
        reasons=part.reasons,
        example=part.example,
    )


def _place(refusal: Refusal) -> str:
    message = refusal.message
    detail = refusal.detail.replace("\0", "\ufffd")
    return f"partition {message.partition}, offset {message.offset}: {detail}"
