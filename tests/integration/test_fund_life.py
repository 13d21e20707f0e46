"""A fund shrinks, is withdrawn or ends: its money goes where the journal says, never below zero."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import Engine, text

from tests.builders import KUKAR, NOW, apply_fund, budget, pledge
from tests.integration.test_allocate import add_needs, allocate, engine, lines
from tests.integration.test_review import LINE_RUPIAH, request, set_threshold
from workflow.audit import audit
from workflow.expire import expire_funds
from workflow.fund_change import FundChangeRefusedError
from workflow.halt import audit_and_halt, resume_regency
from workflow.report import FundFigures, read_overview
from workflow.review import Batch, ReviewRefusedError, confirm, decide, read_batch

__all__ = ["engine"]


@pytest.fixture
def batch(engine: Engine) -> Batch:
    """Three lines of one pledge; the first is committed, two are only proposed."""
    add_needs(engine, 1, 2, 3)
    apply_fund(engine, pledge(amount_rupiah=500_000))
    run_id = allocate(engine).run_id
    assert run_id is not None
    batch = Batch(run_id, "csr-1", "64.02.05")
    with engine.connect() as connection:
        first = read_batch(connection, batch).lines[0][0]
    decide(engine, request(engine, batch, lines=(first,)), NOW)
    return batch


def fund(engine: Engine) -> FundFigures:
    return read_overview(engine, KUKAR).funds[0]


def test_a_reduction_stops_at_what_is_committed(engine: Engine, batch: Batch) -> None:
    with pytest.raises(FundChangeRefusedError) as refusal:
        apply_fund(engine, pledge(amount_rupiah=LINE_RUPIAH - 1, revision=2))
    assert refusal.value.reason == "below_committed"
    assert len(lines(engine)) == 2, "a refused change releases nothing"
    assert apply_fund(engine, pledge(amount_rupiah=LINE_RUPIAH, revision=2)) == "changed"
    assert (fund(engine).available_rupiah, fund(engine).committed_rupiah) == (0, LINE_RUPIAH)
    assert audit(engine) == []


def test_a_withdrawn_pledge_keeps_only_what_is_committed(engine: Engine, batch: Batch) -> None:
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, withdrawn=True))
    assert (fund(engine).pledged_rupiah, fund(engine).committed_rupiah) == (LINE_RUPIAH, LINE_RUPIAH)
    assert lines(engine) == {}
    allocate(engine)
    assert lines(engine) == {}
    assert audit(engine) == []


def test_a_reduction_undoes_what_awaits_the_second_officer(engine: Engine, batch: Batch) -> None:
    set_threshold(engine, 0)
    waiting = decide(engine, request(engine, batch, idempotency_key="key-2"), NOW)
    assert waiting.state == "awaiting_second"
    apply_fund(engine, pledge(amount_rupiah=LINE_RUPIAH, revision=2))
    with pytest.raises(ReviewRefusedError) as refusal:
        confirm(engine, waiting.decision_id, "budi", NOW)
    assert refusal.value.reason == "not_awaiting"
    assert audit(engine) == []


def test_a_revision_in_midyear_gives_the_budget_line_more(engine: Engine) -> None:
    add_needs(engine, 1, 2, 3)
    apply_fund(engine, budget(ceiling_rupiah=LINE_RUPIAH))
    allocate(engine)
    apply_fund(engine, budget(ceiling_rupiah=3 * LINE_RUPIAH, revision=2))
    allocate(engine)
    assert len(lines(engine)) == 3
    assert audit(engine) == []


def test_a_narrower_window_moves_proposals_away(engine: Engine) -> None:
    add_needs(engine, 1)
    apply_fund(engine, pledge(amount_rupiah=500_000))
    allocate(engine)
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, window_to="2027-01"))
    allocate(engine)
    assert lines(engine) == {}, "three months from December reach beyond January"
    assert audit(engine) == []


def test_unspent_money_expires_when_the_window_ends_in_the_regency(engine: Engine, batch: Batch) -> None:
    last_moment = dt.datetime(2027, 12, 31, 15, 59, tzinfo=dt.UTC)  # 23:59 in Kukar
    assert expire_funds(engine, last_moment) == []
    assert expire_funds(engine, last_moment + dt.timedelta(minutes=1)) == ["csr-1"]
    assert fund(engine).expired_rupiah == 500_000 - LINE_RUPIAH
    assert (fund(engine).available_rupiah, fund(engine).committed_rupiah) == (0, LINE_RUPIAH)
    assert expire_funds(engine, last_moment + dt.timedelta(days=1)) == []
    assert lines(engine) == {}
    assert audit(engine) == []


def test_an_expired_fund_is_not_stretched(engine: Engine, batch: Batch) -> None:
    expire_funds(engine, dt.datetime(2028, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(FundChangeRefusedError) as refusal:
        apply_fund(engine, pledge(amount_rupiah=500_000, revision=2, window_to="2028-12"))
    assert refusal.value.reason == "fund_expired"


def test_a_breach_halts_the_regency_until_the_books_are_right(engine: Engine, batch: Batch) -> None:
    assert audit_and_halt(engine, NOW) == []
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET reserved_rupiah = reserved_rupiah + 1"))
    assert audit_and_halt(engine, NOW)
    assert allocate(engine).status == "HALTED"
    assert resume_regency(engine, KUKAR, "siti", NOW), "not while the breach stands"
    assert allocate(engine).status == "HALTED"
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET reserved_rupiah = reserved_rupiah - 1"))
    assert resume_regency(engine, KUKAR, "siti", NOW) == []
    assert allocate(engine).moved is not None
