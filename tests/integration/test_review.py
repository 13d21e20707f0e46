"""Officers decide: one winner, four eyes, nothing signed that nobody saw."""

from __future__ import annotations

import datetime as dt
import threading
import uuid
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from tests.builders import KUKAR, NOW, add_need, apply_fund, pledge
from tests.integration.test_allocate import add_needs, allocate, engine, lines
from workflow.audit import audit
from workflow.report import read_overview
from workflow.review import (
    Batch,
    BatchChangedError,
    DecisionAnswer,
    DecisionRequest,
    ReviewRefusedError,
    claim_batch,
    confirm,
    decide,
    read_batch,
    undo,
)

__all__ = ["engine"]

LINE_RUPIAH = 3 * 16_800
ALL_THREE_RUPIAH = 3 * LINE_RUPIAH


@pytest.fixture
def batch(engine: Engine) -> Batch:
    """Three workers of one district, proposed from one pledge."""
    add_needs(engine, 1, 2, 3)
    apply_fund(engine, pledge(amount_rupiah=500_000))
    run_id = allocate(engine).run_id
    assert run_id is not None
    return Batch(run_id, "csr-1", "64.02.05")


def token(engine: Engine, batch: Batch) -> str:
    with engine.connect() as connection:
        return read_batch(connection, batch).token


def request(engine: Engine, batch: Batch, **changes: Any) -> DecisionRequest:
    values: dict[str, Any] = {
        "idempotency_key": "key-1",
        "officer": "siti",
        "action": "approve",
        "batch": batch,
        "token": changes.pop("token", None) or token(engine, batch),
    }
    return DecisionRequest(**values | changes)


def set_threshold(engine: Engine, rupiah: int) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET four_eyes_above_rupiah = :rupiah"), {"rupiah": rupiah})


def money(engine: Engine) -> tuple[int, int, int]:
    fund = read_overview(engine, KUKAR).funds[0]
    return fund.available_rupiah, fund.reserved_rupiah, fund.committed_rupiah


def test_an_approved_batch_is_committed_money(engine: Engine, batch: Batch) -> None:
    answer = decide(engine, request(engine, batch), NOW)
    assert (answer.state, answer.lines, answer.amount_rupiah) == ("done", 3, ALL_THREE_RUPIAH)
    assert money(engine) == (500_000 - ALL_THREE_RUPIAH, 0, ALL_THREE_RUPIAH)
    assert audit(engine) == []
    allocate(engine)
    assert money(engine)[2] == ALL_THREE_RUPIAH, "a later run leaves approved lines alone"


def test_the_same_key_gives_the_same_answer_and_moves_nothing_twice(engine: Engine, batch: Batch) -> None:
    asked = request(engine, batch)
    assert decide(engine, asked, NOW) == decide(engine, asked, NOW)
    assert money(engine)[2] == ALL_THREE_RUPIAH


def test_the_same_key_with_other_content_is_refused(engine: Engine, batch: Batch) -> None:
    asked = request(engine, batch)
    decide(engine, asked, NOW)
    with pytest.raises(ReviewRefusedError) as refusal:
        decide(engine, request(engine, batch, token=asked.token, action="return"), NOW)
    assert refusal.value.reason == "key_reused"


def test_above_the_threshold_a_second_officer_signs(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, ALL_THREE_RUPIAH - 1)
    first = decide(engine, request(engine, batch), NOW)
    assert first.state == "awaiting_second"
    assert money(engine) == (500_000 - ALL_THREE_RUPIAH, ALL_THREE_RUPIAH, 0)
    with pytest.raises(ReviewRefusedError) as refusal:
        confirm(engine, first.decision_id, "siti", NOW)
    assert refusal.value.reason == "same_officer"
    assert confirm(engine, first.decision_id, "budi", NOW).state == "done"
    assert money(engine)[2] == ALL_THREE_RUPIAH
    assert audit(engine) == []


def test_at_the_threshold_one_officer_is_enough(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, ALL_THREE_RUPIAH)
    assert decide(engine, request(engine, batch), NOW).state == "done"


def test_signing_in_small_pieces_does_not_avoid_the_second_officer(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, 2 * LINE_RUPIAH)
    with engine.connect() as connection:
        ids = [line[0] for line in read_batch(connection, batch).lines]
    states = [
        decide(engine, request(engine, batch, idempotency_key=f"key-{line}", lines=(line,)), NOW).state
        for line in ids
    ]
    assert states == ["done", "done", "awaiting_second"]


def test_until_confirmed_an_approval_can_be_undone(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, 0)
    first = decide(engine, request(engine, batch), NOW)
    assert undo(engine, first.decision_id, "siti", NOW).state == "undone"
    assert len(lines(engine)) == 3
    with pytest.raises(ReviewRefusedError) as refusal:
        confirm(engine, first.decision_id, "budi", NOW)
    assert refusal.value.reason == "not_awaiting"
    assert audit(engine) == []


def test_a_run_leaves_lines_alone_that_await_the_second_officer(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, 0)
    decide(engine, request(engine, batch), NOW)
    add_needs(engine, *range(10, 30), priority=100)
    allocate(engine)
    with engine.connect() as connection:
        states = connection.scalars(text("SELECT state FROM proposal WHERE need_id <= 3")).all()
    assert states == ["confirming"] * 3
    assert audit(engine) == []


def test_a_rejected_need_is_not_proposed_from_that_fund_again(engine: Engine, batch: Batch) -> None:
    decide(engine, request(engine, batch, action="reject", reason="not_eligible"), NOW)
    assert money(engine) == (500_000, 0, 0)
    allocate(engine)
    assert lines(engine) == {}
    apply_fund(engine, pledge("csr-2", amount_rupiah=500_000))
    allocate(engine)
    assert {line[0] for line in lines(engine).values()} == {"csr-2"}
    assert audit(engine) == []


def test_a_changed_fund_may_propose_a_rejected_need_again(engine: Engine, batch: Batch) -> None:
    decide(engine, request(engine, batch, action="reject", reason="not_eligible"), NOW)
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2))
    allocate(engine)
    assert len(lines(engine)) == 3


def test_a_returned_line_may_be_proposed_again_at_once(engine: Engine, batch: Batch) -> None:
    decide(engine, request(engine, batch, action="return"), NOW)
    assert lines(engine) == {}
    allocate(engine)
    assert len(lines(engine)) == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": "reject"}, "reason_missing"),
        ({"action": "reject", "reason": "because"}, "reason_missing"),
        ({"action": "reject", "reason": "other", "remark": " "}, "remark_missing"),
        ({"lines": (999_999,)}, "lines_unknown"),
    ],
)
def test_a_decision_without_its_grounds_is_refused(
    engine: Engine, batch: Batch, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ReviewRefusedError) as refusal:
        decide(engine, request(engine, batch, **changes), NOW)
    assert refusal.value.reason == reason
    assert len(lines(engine)) == 3


def test_a_decision_on_a_batch_that_changed_says_what_changed(engine: Engine, batch: Batch) -> None:
    seen = token(engine, batch)
    with engine.connect() as connection:
        first = read_batch(connection, batch).lines[0][0]
    decide(engine, request(engine, batch, lines=(first,), action="reject", reason="moved_away"), NOW)
    with pytest.raises(BatchChangedError) as refusal:
        decide(engine, request(engine, batch, idempotency_key="key-2", token=seen), NOW)
    assert refusal.value.changes == ((first, "rejected"),)
    assert money(engine)[2] == 0


def test_a_line_whose_worker_changed_since_is_not_signed(engine: Engine, batch: Batch) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE coverage_need SET priority = 99, version = version + 1,"
                " changed_at = clock_timestamp() WHERE id = 2"
            )
        )
    with pytest.raises(BatchChangedError) as refusal:
        decide(engine, request(engine, batch), NOW)
    assert [change[1] for change in refusal.value.changes] == ["need_changed"]
    allocate(engine)
    assert len(lines(engine)) == 3
    assert decide(engine, request(engine, batch, idempotency_key="key-2"), NOW).lines == 2
    assert audit(engine) == []


def test_whoever_asked_for_the_run_does_not_decide_it(engine: Engine, batch: Batch) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE allocation_run SET requested_by = 'siti'"))
    with pytest.raises(ReviewRefusedError) as refusal:
        decide(engine, request(engine, batch), NOW)
    assert refusal.value.reason == "own_proposal"


def test_a_claimed_batch_is_not_moved_by_runs_nor_decided_by_others(engine: Engine, batch: Batch) -> None:
    view = claim_batch(engine, batch, "siti", dt.datetime.now(dt.UTC))
    add_needs(engine, *range(10, 30), priority=100)
    allocate(engine)
    assert token(engine, batch).partition("@")[0] == view.token.partition("@")[0]
    with pytest.raises(ReviewRefusedError) as refusal:
        decide(engine, request(engine, batch, officer="budi"), dt.datetime.now(dt.UTC))
    assert refusal.value.reason == "claimed_by_other"
    assert decide(engine, request(engine, batch, token=view.token), dt.datetime.now(dt.UTC)).state == "done"
    assert audit(engine) == []


def test_a_claim_made_during_the_solve_keeps_the_batch_from_moving(engine: Engine, batch: Batch) -> None:
    from tests.integration.test_allocate import solve_here

    add_needs(engine, *range(10, 30), priority=100)

    def claimed(problem: Any, policy: Any, **options: Any) -> Any:
        result = solve_here(problem, policy, **options)
        claim_batch(engine, batch, "siti", dt.datetime.now(dt.UTC))
        return result

    before = token(engine, batch).partition("@")[0]
    allocate(engine, claimed)
    assert token(engine, batch).partition("@")[0] == before
    assert audit(engine) == []


def test_of_two_decisions_at_once_one_wins_and_the_other_is_told_why(engine: Engine, batch: Batch) -> None:
    seen = token(engine, batch)
    answers: list[DecisionAnswer | ReviewRefusedError] = []

    def ask(number: int, action: str) -> None:
        try:
            asked = request(
                engine,
                batch,
                token=seen,
                idempotency_key=f"race-{number}",
                officer=f"officer-{number}",
                action=action,
                reason="not_eligible" if action == "reject" else None,
            )
            answers.append(decide(engine, asked, NOW))
        except ReviewRefusedError as refusal:
            answers.append(refusal)

    threads = [threading.Thread(target=ask, args=(n, a)) for n, a in enumerate(["approve", "reject"] * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [answer for answer in answers if isinstance(answer, DecisionAnswer)]
    losers = [answer.reason for answer in answers if isinstance(answer, ReviewRefusedError)]
    assert (len(winners), losers) == (1, ["batch_changed"] * 3)
    assert audit(engine) == []


def test_a_month_is_never_funded_twice(engine: Engine, batch: Batch) -> None:
    decide(engine, request(engine, batch), NOW)
    with engine.begin() as connection:
        # A second need of the same worker, as only a defect of registration could make it.
        worker_id = connection.scalar(text("SELECT worker_id FROM coverage_need WHERE id = 1"))
        connection.execute(
            text(
                "INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes,"
                " months, start_month, priority, reported_at) SELECT worker_id, regency_code, district_code,"
                " village_code, 1, 1, date '2027-02-01', 50, reported_at FROM coverage_need"
                " WHERE worker_id = :w"
            ),
            {"w": worker_id},
        )
    run_id = allocate(engine).run_id
    assert run_id is not None
    with pytest.raises(ReviewRefusedError) as refusal:
        decide(engine, request(engine, Batch(run_id, "csr-1", "64.02.05"), idempotency_key="key-2"), NOW)
    assert refusal.value.reason == "month_already_funded"
    assert money(engine)[2] == ALL_THREE_RUPIAH


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO funded_month (worker_id, programme, month, proposal_id)"
        " SELECT worker_id + 1, 1, date '2029-01-01', min(proposal_id) FROM funded_month GROUP BY worker_id",
        "UPDATE funded_month SET worker_id = worker_id + 100",
    ],
)
def test_a_month_is_paid_for_its_lines_own_worker(engine: Engine, batch: Batch, statement: str) -> None:
    decide(engine, request(engine, batch), NOW)
    with (
        pytest.raises(IntegrityError, match="of the worker whom its line is for"),
        engine.begin() as connection,
    ):
        connection.execute(text(statement))


def test_two_lines_of_one_batch_do_not_pay_the_same_month(engine: Engine, batch: Batch) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes,"
                " months, start_month, priority, reported_at) SELECT worker_id, regency_code, district_code,"
                " village_code, 1, 1, date '2027-02-01', 50, reported_at"
                " FROM coverage_need, generate_series(1, 2) WHERE id = 1"
            )
        )
    run_id = allocate(engine).run_id
    assert run_id is not None
    with pytest.raises(ReviewRefusedError, match="2 line") as refusal:
        decide(engine, request(engine, Batch(run_id, "csr-1", "64.02.05")), NOW)
    assert refusal.value.reason == "month_already_funded"


def test_the_database_itself_wants_two_officers(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, 0)
    decision = decide(engine, request(engine, batch), NOW)
    for statement, constraint in {
        "UPDATE decision SET second_officer = officer": "ck_decision_four_eyes",
        "UPDATE decision SET state = 'done'": "ck_decision_second_signed",
        "UPDATE decision SET action = 'reject'": "ck_decision_rejection_has_reason",
    }.items():
        with pytest.raises(IntegrityError, match=constraint), engine.begin() as connection:
            connection.execute(text(statement))
    assert isinstance(decision.decision_id, uuid.UUID)


def test_needs_added_later_form_a_batch_of_their_own(engine: Engine, batch: Batch) -> None:
    seen = token(engine, batch)
    with engine.begin() as connection:
        add_need(connection, 4)
    allocate(engine)
    assert decide(engine, request(engine, batch, token=seen), NOW).lines == 3
