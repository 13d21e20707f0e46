"""Races on a real PostgreSQL: one winner, the loser told why, no rupiah promised twice.

A short selection runs with every test run; `pytest -m faults` races for as long as the tables of
docs/RELIABILITY.md say, or GOTONG_FAULT_ROUNDS rounds.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from models.journal import Cause, OverdrawnError
from tests.builders import KUKAR, NOW, add_need, apply_fund, pledge
from tests.event_builders import CONTEXT, envelope
from tests.faults.rounds import RaceCounting
from tests.integration.test_allocate import allocate
from tests.integration.test_money_machine import empty_database
from workflow.audit import audit
from workflow.expire import expire_funds
from workflow.fund_change import change_funds
from workflow.load_regions import load_regions
from workflow.move_money import Movement, move_money
from workflow.outcome import Unavailable
from workflow.review import (
    Batch,
    DecisionAnswer,
    DecisionRequest,
    ReviewRefusedError,
    claim_batch,
    confirm,
    decide,
    read_batch,
    undo,
)

LINE_RUPIAH = 3 * 16_800
#: Races per scene: each in a district of its own, with a fund and a worker of its own.
SCENE = 20

pytestmark = pytest.mark.timeout(8 * 3600)


def rounds_of(full: int, short: int = 40) -> pytest.MarkDecorator:
    given = int(os.environ.get("GOTONG_FAULT_ROUNDS") or full)
    long = pytest.param(given, marks=pytest.mark.faults, id="full")
    return pytest.mark.parametrize("rounds", [pytest.param(short, id="short"), long])


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url, pool_size=8)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def runners() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=4) as pool:
        yield pool


def race(runners: ThreadPoolExecutor, *steps: Callable[[], object]) -> list[object]:
    """Start all steps at the same moment; what each returned or raised, in their order."""
    start = threading.Barrier(len(steps))

    def run(step: Callable[[], object]) -> object:
        start.wait(20)
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - whatever came is what the race is judged by
            return error

    return [future.result(300) for future in [runners.submit(run, step) for step in steps]]


@dataclass(frozen=True)
class Duel:
    """One race's own fund and batch."""

    fund: str
    batch: Batch
    token: str

    def request(self, officer: str, action: Any = "approve") -> DecisionRequest:
        return DecisionRequest(
            idempotency_key=str(uuid.uuid4()),
            officer=officer,
            action=action,
            batch=self.batch,
            token=self.token,
            reason="not_eligible" if action == "reject" else None,
        )


def set_scene(engine: Engine, four_eyes_above_rupiah: int = 50_000_000) -> list[Duel]:
    """Twenty districts, each with one worker proposed from a fund of its own."""
    empty_database(engine)
    with engine.begin() as connection:
        villages = connection.scalars(
            text(
                "SELECT min(code) FROM region WHERE level = 'village' AND code LIKE '64.02.%'"
                " GROUP BY parent_code ORDER BY 1"
            )
        ).all()
        for number, village in enumerate(villages):
            add_need(connection, number, village_code=village)
    assert len(villages) == SCENE
    for village in villages:
        apply_fund(
            engine, pledge(f"csr-{village[:8]}", amount_rupiah=80_000, rules={"regions": [village[:8]]})
        )
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE fund SET four_eyes_above_rupiah = :rupiah"), {"rupiah": four_eyes_above_rupiah}
        )
    run_id = allocate(engine).run_id
    assert run_id is not None
    with engine.connect() as connection:
        batches = [Batch(run_id, f"csr-{village[:8]}", village[:8]) for village in villages]
        return [Duel(batch.fund_code, batch, read_batch(connection, batch).token) for batch in batches]


def scenes(
    engine: Engine, race_name: str, rounds: int, four_eyes_above_rupiah: int = 50_000_000
) -> Iterator[Duel]:
    """``rounds`` duels; after every scene the books are audited."""
    with RaceCounting(race_name) as counting:
        for first in range(0, rounds, SCENE):
            duels = set_scene(engine, four_eyes_above_rupiah)[: rounds - first]
            yield from duels
            assert audit(engine) == []
            counting.added(len(duels))


def money_of(engine: Engine, fund: str) -> tuple[int, int, int, int]:
    with engine.connect() as connection:
        row = connection.execute(
            text(
                "SELECT reserved_rupiah, committed_rupiah, expired_rupiah, pledged_rupiah FROM fund"
                " WHERE code = :code"
            ),
            {"code": fund},
        ).one()
    return row[0], row[1], row[2], row[3]


def judge(results: Sequence[object]) -> tuple[list[DecisionAnswer], list[str]]:
    """Winners' answers and losers' reasons; anything else is a defect."""
    odd = [result for result in results if not isinstance(result, DecisionAnswer | ReviewRefusedError)]
    assert odd == []
    return (
        [result for result in results if isinstance(result, DecisionAnswer)],
        [result.reason for result in results if isinstance(result, ReviewRefusedError)],
    )


@rounds_of(10_000)
def test_reservations_of_the_last_rupiah(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    apply_fund(engine, pledge(amount_rupiah=rounds))
    with engine.connect() as connection:
        fund_id = connection.scalar(text("SELECT id FROM fund"))

    def reserve() -> object:
        with engine.begin() as connection:
            return move_money(
                connection,
                [Movement(fund_id, "reserve", rounds)],
                cause=Cause("run", uuid.uuid4()),
                recorded_at=NOW,
            )

    def release() -> None:
        with engine.begin() as connection:
            move_money(
                connection,
                [Movement(fund_id, "release", rounds)],
                cause=Cause("run", uuid.uuid4()),
                recorded_at=NOW,
            )

    with RaceCounting("the last rupiah reserved by 2, 3 or 4 at once") as counting:
        for number in range(rounds):
            results = race(runners, *[reserve] * (2 + number % 3))
            winners = [result for result in results if isinstance(result, dict)]
            losers = [result for result in results if isinstance(result, OverdrawnError)]
            assert (len(winners), len(losers)) == (1, len(results) - 1), results
            release()
            counting.added()
    assert money_of(engine, "csr-1") == (0, 0, 0, rounds)


@rounds_of(10_000, short=15)
def test_allocators_and_the_last_rupiah(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    """Two to four whole runs at once for three workers and money for one."""
    ends: Counter[str] = Counter()
    with RaceCounting("whole runs by 2, 3 or 4 at once, money for one worker of three") as counting:
        for number in range(rounds):
            empty_database(engine)
            with engine.begin() as connection:
                for worker in range(3):
                    add_need(connection, worker)
            apply_fund(engine, pledge(amount_rupiah=LINE_RUPIAH))
            results = race(runners, *[lambda: allocate(engine).status] * (2 + number % 3))
            assert set(map(type, results)) == {str}, results
            ends.update(str(result) for result in results)
            # Whoever was overtaken has left a signal; the next run is as good as the last one.
            allocate(engine)
            assert money_of(engine, "csr-1") == (LINE_RUPIAH, 0, 0, LINE_RUPIAH)
            with engine.connect() as connection:
                live = connection.scalar(text("SELECT count(*) FROM proposal WHERE state = 'proposed'"))
            assert live == 1
            assert audit(engine) == []
            counting.added()
    assert set(ends) <= {"OPTIMAL", "FEASIBLE", "ABANDONED"}
    print(f"ends: {dict(ends)}")  # noqa: T201 - for docs/RELIABILITY.md


@rounds_of(5_000)
@pytest.mark.parametrize("other", ["approve", "reject", "return"])
def test_approve_against_another_decision(
    engine: Engine, runners: ThreadPoolExecutor, rounds: int, other: str
) -> None:
    name = f"approve / {'send back' if other == 'return' else other}"
    for duel in scenes(engine, name, rounds):
        results = race(
            runners,
            lambda duel=duel: decide(engine, duel.request("siti"), NOW),  # type: ignore[misc]
            lambda duel=duel: decide(engine, duel.request("budi", other), NOW),  # type: ignore[misc]
        )
        winners, losers = judge(results)
        assert (len(winners), losers) == (1, ["batch_changed"])
        approved = other == "approve" or isinstance(results[0], DecisionAnswer)
        assert money_of(engine, duel.fund)[:2] == ((0, LINE_RUPIAH) if approved else (0, 0))


@rounds_of(5_000)
def test_the_same_request_at_once(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    """A double click: one decision, and the same answer for both."""
    for duel in scenes(engine, "the same request twice at once", rounds):
        asked = duel.request("siti")
        one, two = race(runners, *[lambda asked=asked: decide(engine, asked, NOW)] * 2)
        assert isinstance(one, DecisionAnswer), one
        assert one == two
        assert money_of(engine, duel.fund)[:2] == (0, LINE_RUPIAH)


@rounds_of(5_000)
def test_claim_against_claim(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    now = dt.datetime.now(dt.UTC)
    for duel in scenes(engine, "claim / claim", rounds):
        results = race(
            runners,
            lambda duel=duel: claim_batch(engine, duel.batch, "siti", now),  # type: ignore[misc]
            lambda duel=duel: claim_batch(engine, duel.batch, "budi", now),  # type: ignore[misc]
        )
        refused = [result.reason for result in results if isinstance(result, ReviewRefusedError)]
        assert refused == ["claimed_by_other"], results


@rounds_of(5_000)
def test_approve_against_expiry(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    """The window of every fund ends while officers approve one batch after the other."""
    end = dt.datetime(2028, 1, 1, tzinfo=dt.UTC)
    won: Counter[str] = Counter()
    with RaceCounting("approve / expire") as counting:
        for first in range(0, rounds, SCENE):
            duels = set_scene(engine)
            # Expiry goes through the funds in their order, the officer meets it coming the other way.
            requests = [duel.request("siti") for duel in reversed(duels)]

            def approve_all(requests: Sequence[DecisionRequest] = requests) -> list[object]:
                answers: list[object] = []
                for asked in requests:
                    try:
                        answers.append(decide(engine, asked, NOW))
                    except ReviewRefusedError as refusal:
                        answers.append(refusal)
                return answers

            answers, expired = race(runners, approve_all, lambda: expire_funds(engine, end))
            assert isinstance(answers, list), answers
            assert isinstance(expired, list), expired
            for duel, answer in zip(reversed(duels), answers, strict=True):
                if isinstance(answer, DecisionAnswer):
                    won["approved"] += 1
                    assert money_of(engine, duel.fund) == (0, LINE_RUPIAH, 80_000 - LINE_RUPIAH, 80_000)
                else:
                    won["expired"] += 1
                    assert isinstance(answer, ReviewRefusedError) and answer.reason == "batch_changed"
                    assert money_of(engine, duel.fund) == (0, 0, 80_000, 80_000)
            assert audit(engine) == []
            assert first + SCENE == won.total()
            counting.added(SCENE)
    print(f"won: {dict(won)}")  # noqa: T201 - for docs/RELIABILITY.md


@rounds_of(5_000)
def test_approve_against_reduction(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    for duel in scenes(engine, "approve / reduce to nothing", rounds):
        cut = pledge(duel.fund, amount_rupiah=0, revision=2, rules={"regions": [duel.batch.district_code]})
        kind = "funding.pledge-changed.v1"
        event = envelope(
            cut.model_dump_json(exclude_none=True).encode(),
            event_id=str(uuid.uuid4()),
            event_type=kind,
            topic=kind,
        )

        def reduce(event: Any = event) -> object:
            while True:  # as the stream does when the database sends it back
                try:
                    return list(change_funds(engine, CONTEXT, [event]).outcomes)
                except Unavailable:
                    continue

        answer, outcome = race(
            runners,
            lambda duel=duel: decide(engine, duel.request("siti"), NOW),  # type: ignore[misc]
            reduce,
        )
        if isinstance(answer, DecisionAnswer):
            assert outcome == ["refused"]
            assert money_of(engine, duel.fund) == (0, LINE_RUPIAH, 0, 80_000)
        else:
            assert isinstance(answer, ReviewRefusedError) and answer.reason == "batch_changed", answer
            assert outcome == ["changed"]
            assert money_of(engine, duel.fund) == (0, 0, 0, 0)


@rounds_of(5_000)
def test_confirm_against_undo(engine: Engine, runners: ThreadPoolExecutor, rounds: int) -> None:
    for duel in scenes(engine, "confirm / undo", rounds, four_eyes_above_rupiah=0):
        waiting = decide(engine, duel.request("siti"), NOW)
        assert waiting.state == "awaiting_second"
        results = race(
            runners,
            lambda key=waiting.decision_id: confirm(engine, key, "budi", NOW),  # type: ignore[misc]
            lambda key=waiting.decision_id: undo(engine, key, "siti", NOW),  # type: ignore[misc]
        )
        winners, losers = judge(results)
        assert (len(winners), losers) == (1, ["not_awaiting"])
        confirmed = winners[0].state == "done"
        assert money_of(engine, duel.fund)[:2] == ((0, LINE_RUPIAH) if confirmed else (LINE_RUPIAH, 0))
