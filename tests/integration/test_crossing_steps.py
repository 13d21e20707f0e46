"""Steps that cross: what one person signs while another thing changes."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text, update
from sqlalchemy.exc import DBAPIError

import workflow.allocate
from models.event import PledgeChanged
from models.journal import Cause
from models.tables import Fund
from tests.builders import KUKAR, NOW, apply_fund, budget, pledge
from tests.event_builders import CONTEXT, envelope, worker_event
from tests.integration.test_allocate import add_needs, allocate, engine, lines, solve_here
from tests.integration.test_review import LINE_RUPIAH, batch, money, request, set_threshold
from workflow.audit import audit
from workflow.commit import commit_lines
from workflow.dead_letter import list_dead_letters
from workflow.expire import expire_funds
from workflow.fund_change import change_funds
from workflow.halt import halt_regencies
from workflow.propose import close_run
from workflow.register import register_workers
from workflow.review import (
    Batch,
    BatchChangedError,
    DecisionAnswer,
    ReviewRefusedError,
    claim_batch,
    confirm,
    decide,
    undo,
)

__all__ = ["batch", "engine"]


def fund_event(change: PledgeChanged, event_id: str) -> Any:
    kind = "funding.pledge-changed.v1"
    return envelope(
        change.model_dump_json(exclude_none=True).encode(), event_id=event_id, event_type=kind, topic=kind
    )


@contextmanager
def paused_commit(engine: Engine) -> Iterator[tuple[threading.Event, threading.Event]]:
    """The first commit from another thread stops just before it happens, until it is let go on."""
    reached, go_on = threading.Event(), threading.Event()
    here = threading.current_thread()

    def pause(connection: Connection) -> None:
        if threading.current_thread() is not here and not reached.is_set():
            reached.set()
            go_on.wait(20)

    event.listen(engine, "commit", pause)
    try:
        yield reached, go_on
    finally:
        go_on.set()
        event.remove(engine, "commit", pause)


def wait_for_lock(engine: Engine) -> None:
    """Until some session waits for a lock that another one holds."""
    for _ in range(400):
        with engine.connect() as connection:
            if connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
                return
        threading.Event().wait(0.02)
    raise AssertionError("nobody waited")


def in_thread(step: Callable[[], object], results: list[object]) -> threading.Thread:
    def run() -> None:
        try:
            results.append(step())
        except Exception as error:  # noqa: BLE001 - the test looks at whatever came
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_a_fund_event_again_is_a_repeat_and_with_other_content_a_conflict(engine: Engine) -> None:
    first = fund_event(pledge(amount_rupiah=100_000), "fund-event")
    assert change_funds(engine, CONTEXT, [first]).outcomes == ["created"]
    assert change_funds(engine, CONTEXT, [first]).outcomes == ["repeated"]
    other = fund_event(pledge(amount_rupiah=900_000, revision=2), "fund-event")
    assert change_funds(engine, CONTEXT, [other]).outcomes == ["refused"]
    assert [letter.reason for letter in list_dead_letters(engine)] == ["event_id_conflict"]
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT outcome FROM inbox_event")).all() == ["created"]
        assert connection.scalar(text("SELECT pledged_rupiah FROM fund")) == 100_000


def test_two_events_that_make_the_same_fund_at_once_are_both_accepted(engine: Engine) -> None:
    results: list[object] = []
    with paused_commit(engine) as (reached, go_on):
        one = fund_event(pledge(amount_rupiah=100_000), "one")
        first = in_thread(lambda: change_funds(engine, CONTEXT, [one]).outcomes, results)
        assert reached.wait(20)
        two = fund_event(pledge(amount_rupiah=300_000, revision=2), "two")
        second = in_thread(lambda: change_funds(engine, CONTEXT, [two]).outcomes, results)
        wait_for_lock(engine)
        go_on.set()
        first.join()
        second.join()
    assert results == [["created"], ["changed"]]
    assert list_dead_letters(engine) == []
    assert money(engine)[0] == 300_000


def test_reports_need_not_wait_for_a_run_that_is_being_stored(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_needs(engine, 1)
    apply_fund(engine, pledge(amount_rupiah=500_000))

    def close_while_a_report_comes(*arguments: Any) -> None:
        with engine.begin() as another:
            another.execute(text("SET LOCAL lock_timeout = '2s'"))
            another.execute(
                text("INSERT INTO allocation_signal (regency_code) VALUES (:code)"), {"code": KUKAR}
            )
        close_run(*arguments)

    monkeypatch.setattr(workflow.allocate, "close_run", close_while_a_report_comes)
    assert allocate(engine).status == "OPTIMAL"


def test_what_a_fund_no_longer_accepts_is_not_signed(engine: Engine, batch: Batch) -> None:
    seen = request(engine, batch)
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, window_to="2027-01"))
    with pytest.raises(BatchChangedError):
        decide(engine, seen, NOW)
    assert money(engine) == (500_000, 0, 0)
    assert audit(engine) == []


def test_what_a_fund_no_longer_accepts_is_not_confirmed(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, 0)
    first = decide(engine, request(engine, batch), NOW)
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, rules={"regions": ["64.02.06"]}))
    with pytest.raises(ReviewRefusedError) as refusal:
        confirm(engine, first.decision_id, "budi", NOW)
    assert refusal.value.reason == "not_awaiting"
    assert money(engine) == (500_000, 0, 0)


def test_a_report_that_changes_no_rule_leaves_the_proposals_alone(engine: Engine, batch: Batch) -> None:
    seen = request(engine, batch)
    apply_fund(engine, pledge(amount_rupiah=600_000, revision=2, name="Nama baru"))
    assert decide(engine, seen, NOW).lines == 3


def test_a_cap_below_what_is_committed_is_no_breach(engine: Engine, batch: Batch) -> None:
    decide(engine, request(engine, batch), NOW)
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, rules={"head_count_cap": 1}))
    assert audit(engine) == []
    add_needs(engine, 4)
    assert allocate(engine).moved is not None
    assert lines(engine) == {}, "no further worker at a fund that has too many already"


def test_workers_who_move_into_one_district_are_no_breach_and_are_looked_at_anew(engine: Engine) -> None:
    for number, village in enumerate(("64.02.05.2001", "64.02.06.2012")):
        register_workers(engine, CONTEXT, [worker_event(number, village=village)])
    apply_fund(engine, pledge(rules={"district_cap": 1}))
    allocate(engine)
    assert len(lines(engine)) == 2
    register_workers(engine, CONTEXT, [worker_event(1, days=1, village="64.02.05.2001")])
    assert audit(engine) == []
    allocate(engine)
    assert len(lines(engine)) == 1
    assert audit(engine) == []


def test_of_two_officers_who_open_a_batch_at_once_one_is_told_who_has_it(
    engine: Engine, batch: Batch
) -> None:
    had: list[object] = []
    told: list[object] = []
    now = dt.datetime.now(dt.UTC)
    with paused_commit(engine) as (reached, go_on):
        first = in_thread(lambda: claim_batch(engine, batch, "siti", now), had)
        assert reached.wait(20)
        second = in_thread(lambda: claim_batch(engine, batch, "budi", now), told)
        wait_for_lock(engine)
        go_on.set()
        first.join()
        second.join()
    # Each in a list of its own: who is told may be done before who has it.
    [refusal] = told
    assert not isinstance(had[0], Exception), had
    assert isinstance(refusal, ReviewRefusedError), refusal
    assert refusal.reason == "claimed_by_other"


def test_a_report_that_crosses_the_first_signature_stops_the_second(engine: Engine) -> None:
    register_workers(engine, CONTEXT, [worker_event(1)])
    apply_fund(engine, pledge(amount_rupiah=500_000))
    run_id = allocate(engine).run_id
    assert run_id is not None
    batch = Batch(run_id, "csr-1", "64.02.05")
    set_threshold(engine, 0)
    asked = request(engine, batch)
    results: list[object] = []
    with paused_commit(engine) as (reached, go_on):
        first = in_thread(lambda: decide(engine, asked, NOW), results)
        assert reached.wait(20)
        report = worker_event(1, days=1, months=6)
        second = in_thread(lambda: register_workers(engine, CONTEXT, [report]).outcomes, results)
        wait_for_lock(engine)
        go_on.set()
        first.join()
        second.join()
    answer, outcome = results
    assert isinstance(answer, DecisionAnswer)
    assert answer.state == "awaiting_second"
    if outcome == ["already_funded"]:
        return
    assert outcome == ["updated"]
    with pytest.raises(BatchChangedError) as refusal:
        confirm(engine, answer.decision_id, "budi", NOW)
    assert [state for _, state in refusal.value.changes] == ["need_changed"]
    assert undo(engine, answer.decision_id, "budi", NOW).state == "undone"
    allocate(engine)
    assert [line[1] for line in lines(engine).values()] == [2 * LINE_RUPIAH]
    assert audit(engine) == []


def test_a_window_stretched_while_funds_expire_keeps_its_money(engine: Engine) -> None:
    apply_fund(engine, pledge(amount_rupiah=500_000, window_to="2026-12"))
    results: list[object] = []
    with engine.begin() as connection:
        connection.execute(update(Fund).where(Fund.code == "csr-1").values(window_to=dt.date(2027, 6, 1)))
        expiry = in_thread(lambda: expire_funds(engine, dt.datetime(2027, 2, 1, tzinfo=dt.UTC)), results)
        wait_for_lock(engine)
    expiry.join()
    assert results == [[]]
    assert money(engine)[0] == 500_000


def test_a_regency_halted_during_the_solve_gets_no_proposals(engine: Engine) -> None:
    from workflow.audit import Finding

    add_needs(engine, 1)
    apply_fund(engine, pledge())

    def halted(problem: Any, policy: Any, **options: Any) -> Any:
        halt_regencies(engine, [Finding("balances_equal_journal", "csr-1", 1, "a test")], NOW)
        return solve_here(problem, policy, **options)

    assert allocate(engine, halted).status == "ABANDONED"
    assert lines(engine) == {}
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT code FROM regency WHERE halted_reason <> ''")) == KUKAR


def test_a_fund_ruled_anew_during_the_solve_gets_no_line_it_does_not_accept(engine: Engine) -> None:
    add_needs(engine, 1)
    apply_fund(engine, pledge(amount_rupiah=500_000))

    def ruled_anew(problem: Any, policy: Any, **options: Any) -> Any:
        apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, rules={"regions": ["64.02.06"]}))
        return solve_here(problem, policy, **options)

    assert allocate(engine, ruled_anew).status == "ABANDONED"
    assert lines(engine) == {}


def test_a_line_signed_during_the_solve_is_not_moved(engine: Engine) -> None:
    add_needs(engine, 1)
    apply_fund(engine, budget(ceiling_rupiah=500_000))
    run_id = allocate(engine).run_id
    assert run_id is not None
    set_threshold(engine, 0)
    seen = request(engine, Batch(run_id, "apbd-1", "64.02.05"))
    apply_fund(engine, pledge(amount_rupiah=500_000))  # a company would pay instead

    def signed(problem: Any, policy: Any, **options: Any) -> Any:
        result = solve_here(problem, policy, **options)
        decide(engine, seen, NOW)
        return result

    assert allocate(engine, signed).status == "ABANDONED"
    assert audit(engine) == []
    with engine.connect() as connection:
        states = connection.execute(
            text("SELECT code, state FROM proposal p JOIN fund f ON f.id = p.fund_id")
        ).all()
    assert [tuple(row) for row in states] == [("apbd-1", "confirming")]


def test_a_claim_during_the_solve_does_not_let_a_cap_be_exceeded(engine: Engine) -> None:
    add_needs(engine, 1)
    apply_fund(engine, pledge(amount_rupiah=500_000, rules={"head_count_cap": 1}))
    run_id = allocate(engine).run_id
    assert run_id is not None
    add_needs(engine, 2, priority=100)

    def claimed(problem: Any, policy: Any, **options: Any) -> Any:
        result = solve_here(problem, policy, **options)
        claim_batch(engine, Batch(run_id, "csr-1", "64.02.05"), "siti", dt.datetime.now(dt.UTC))
        return result

    assert allocate(engine, claimed).status == "ABANDONED"
    assert len(lines(engine)) == 1
    assert audit(engine) == []


def test_only_open_lines_are_committed(engine: Engine, batch: Batch) -> None:
    with engine.connect() as connection:
        fund_id, line = connection.execute(text("SELECT fund_id, min(id) FROM proposal GROUP BY 1")).one()
    decide(engine, request(engine, batch, action="return"), NOW)
    with pytest.raises(LookupError), engine.begin() as connection:
        commit_lines(connection, fund_id, [line], Cause("decision", uuid.uuid4()), NOW)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_record SET actor = 'nobody'", "DELETE FROM audit_record"]
)
def test_the_records_of_what_people_did_refuse_to_be_changed(
    engine: Engine, batch: Batch, statement: str
) -> None:
    decide(engine, request(engine, batch), NOW)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.execute(text(statement))
