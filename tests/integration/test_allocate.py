"""An allocation against a real PostgreSQL: proposals, money and the fences around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from models.tariff import default_table
from optimizer.policy import DEFAULT_POLICY, Policy
from optimizer.problem import AllocationProblem
from optimizer.progress import Progress
from optimizer.result import AllocationResult, Prices
from optimizer.solve import solve
from tests.builders import KUKAR, NOW, add_need, apply_fund, budget, pledge
from workflow.allocate import RunOutcome, allocate_regency
from workflow.audit import audit
from workflow.cancel_match import NothingRunsError, cancel_match
from workflow.load_regions import load_regions
from workflow.report import read_overview
from workflow.request import publish_due_requests, raise_signal
from workflow.solver import Solver


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


def solve_here(
    problem: AllocationProblem,
    policy: Policy,
    *,
    previous: Prices | None,
    time_limit_seconds: float,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> AllocationResult:
    return solve(
        problem,
        policy,
        previous=previous,
        time_limit_seconds=time_limit_seconds,
        on_progress=on_progress,
        cancelled=cancelled,
    )


def allocate(engine: Engine, solver: Solver = solve_here, **options: Any) -> RunOutcome:
    return allocate_regency(
        engine,
        KUKAR,
        solver=solver,
        policy=DEFAULT_POLICY,
        tariffs=default_table(),
        time_limit_seconds=10,
        **options,
    )


def add_needs(engine: Engine, *numbers: int, **changes: Any) -> list[int]:
    with engine.begin() as connection:
        return [add_need(connection, number, **changes) for number in numbers]


def lines(engine: Engine) -> dict[int, tuple[str, int]]:
    """Live line of each need: fund code and rupiah."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT p.need_id, f.code, p.amount_rupiah FROM proposal p JOIN fund f ON f.id = p.fund_id"
                " WHERE p.state = 'proposed'"
            )
        )
        return {row[0]: (row[1], row[2]) for row in rows}


def test_a_need_becomes_a_proposal_with_its_money_reserved(engine: Engine) -> None:
    (need,) = add_needs(engine, 1)
    apply_fund(engine, pledge(amount_rupiah=100_000))
    outcome = allocate(engine)
    assert outcome.status == "OPTIMAL"
    assert lines(engine) == {need: ("csr-1", 3 * 16_800)}
    overview = read_overview(engine, KUKAR)
    assert (overview.proposed, overview.waiting) == (1, 0)
    assert overview.funds[0].reserved_rupiah == 3 * 16_800
    assert overview.funds[0].available_rupiah == 100_000 - 3 * 16_800
    assert audit(engine) == []


def test_the_poorer_fit_moves_aside_for_a_later_need_of_higher_priority(engine: Engine) -> None:
    add_needs(engine, 1, priority=10)
    apply_fund(engine, pledge(amount_rupiah=50_400))
    allocate(engine)
    (urgent,) = add_needs(engine, 2, priority=90)
    allocate(engine)
    assert lines(engine) == {urgent: ("csr-1", 50_400)}
    assert audit(engine) == []
    with engine.connect() as connection:
        kinds = connection.scalars(text("SELECT kind FROM journal_entry ORDER BY number")).all()
        reason = connection.scalar(text("SELECT unfunded_reason FROM coverage_need WHERE state = 'waiting'"))
    assert kinds == ["pledge", "reserve", "release", "reserve"]
    assert reason


def test_a_second_run_without_news_moves_nothing(engine: Engine) -> None:
    add_needs(engine, *range(20))
    apply_fund(engine, pledge(amount_rupiah=400_000))
    apply_fund(engine, budget(ceiling_rupiah=300_000))
    allocate(engine)
    before = lines(engine)
    outcome = allocate(engine)
    assert outcome.moved is not None
    assert (outcome.moved.opened, outcome.moved.closed) == (0, 0)
    assert lines(engine) == before


def test_an_answered_request_is_not_run_again(engine: Engine) -> None:
    add_needs(engine, 1)
    with engine.begin() as connection:
        raise_signal(connection, KUKAR)
    due = {"settle_seconds": 0, "shortest_interval_seconds": 0, "longest_wait_seconds": 0}
    assert publish_due_requests(engine, **due) == 1
    with engine.begin() as connection:
        raise_signal(connection, KUKAR)
    assert publish_due_requests(engine, **due) == 0, "one request waits already"
    assert allocate(engine, request_number=1).status in {"OPTIMAL", "FEASIBLE"}
    assert allocate(engine, request_number=1).status == "ANSWERED"


def test_a_change_during_the_solve_leaves_its_signal_for_the_next_run(engine: Engine) -> None:
    add_needs(engine, 1)
    apply_fund(engine, pledge())

    def interrupted(problem: AllocationProblem, policy: Policy, **options: Any) -> AllocationResult:
        with engine.begin() as connection:
            add_need(connection, 2)
            raise_signal(connection, KUKAR)
        return solve_here(problem, policy, **options)

    allocate(engine, interrupted)
    assert len(lines(engine)) == 1
    assert (
        publish_due_requests(engine, settle_seconds=0, shortest_interval_seconds=0, longest_wait_seconds=0)
        == 1
    )


def test_after_a_match_its_regency_rests_for_as_long_as_that_took(engine: Engine) -> None:
    add_needs(engine, 1)
    allocate(engine)
    with engine.begin() as connection:
        raise_signal(connection, KUKAR)
        connection.execute(text("UPDATE allocation_run SET started_at = finished_at - interval '1 hour'"))
    due = {"settle_seconds": 0, "shortest_interval_seconds": 0, "longest_wait_seconds": 0}
    assert publish_due_requests(engine, **due, rest_share=1.0) == 0
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE allocation_run SET finished_at = finished_at - interval '31 minutes'")
        )
    assert publish_due_requests(engine, **due, rest_share=1.0) == 1, "29 minutes of work, 31 of rest"


def test_a_run_that_was_overtaken_writes_nothing(engine: Engine) -> None:
    add_needs(engine, 1)
    apply_fund(engine, pledge())

    def overtaken(problem: AllocationProblem, policy: Policy, **options: Any) -> AllocationResult:
        assert allocate(engine).moved is not None
        return solve_here(problem, policy, **options)

    assert allocate(engine, overtaken).status == "ABANDONED"
    assert len(lines(engine)) == 1
    assert audit(engine) == []


def test_a_fund_cut_during_the_solve_gives_the_plan_up(engine: Engine) -> None:
    add_needs(engine, 1, 2)
    apply_fund(engine, pledge(amount_rupiah=200_000))

    def cut(problem: AllocationProblem, policy: Policy, **options: Any) -> AllocationResult:
        apply_fund(engine, pledge(amount_rupiah=50_400, revision=2))
        return solve_here(problem, policy, **options)

    assert allocate(engine, cut).status == "ABANDONED"
    assert lines(engine) == {}
    assert allocate(engine).moved is not None
    assert len(lines(engine)) == 1
    assert audit(engine) == []


def test_a_need_that_changed_during_the_solve_keeps_its_old_line(engine: Engine) -> None:
    first, second = add_needs(engine, 1, 2)
    apply_fund(engine, pledge(amount_rupiah=200_000))

    def corrected(problem: AllocationProblem, policy: Policy, **options: Any) -> AllocationResult:
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE coverage_need SET months = 6, version = version + 1 WHERE id = :id"),
                {"id": first},
            )
        return solve_here(problem, policy, **options)

    outcome = allocate(engine, corrected)
    assert outcome.moved is not None and outcome.moved.skipped == 1
    assert set(lines(engine)) == {second}
    allocate(engine)
    assert lines(engine)[first] == ("csr-1", 6 * 16_800)
    assert audit(engine) == []


def test_reducing_a_pledge_below_its_proposals_releases_them(engine: Engine) -> None:
    add_needs(engine, 1, 2, 3)
    apply_fund(engine, pledge(amount_rupiah=200_000))
    allocate(engine)
    assert len(lines(engine)) == 3
    assert apply_fund(engine, pledge(amount_rupiah=60_000, revision=2)) == "changed"
    assert lines(engine) == {}
    assert audit(engine) == []
    allocate(engine)
    assert len(lines(engine)) == 1


def test_a_late_or_repeated_fund_event_adds_nothing(engine: Engine) -> None:
    assert apply_fund(engine, pledge(amount_rupiah=100_000, revision=2)) == "created"
    assert apply_fund(engine, pledge(amount_rupiah=100_000, revision=2)) == "stale"
    assert apply_fund(engine, pledge(amount_rupiah=900_000, revision=1)) == "stale"
    assert read_overview(engine, KUKAR).funds[0].pledged_rupiah == 100_000


def test_a_budget_line_spends_no_more_than_is_released(engine: Engine) -> None:
    apply_fund(engine, budget(ceiling_rupiah=500_000, released_rupiah=120_000))
    assert read_overview(engine, KUKAR).funds[0].available_rupiah == 120_000
    apply_fund(engine, budget(ceiling_rupiah=500_000, released_rupiah=400_000, revision=2))
    assert read_overview(engine, KUKAR).funds[0].available_rupiah == 400_000
    assert audit(engine) == []


def test_a_match_under_way_tells_its_phase_and_gap_and_is_silent_when_done(engine: Engine) -> None:
    add_needs(engine, 1, 2)
    apply_fund(engine, pledge(amount_rupiah=500_000))
    seen = []

    def solve_in_steps(problem: AllocationProblem, policy: Policy, **options: Any) -> AllocationResult:
        before = read_overview(engine, KUKAR).under_way
        options["on_progress"](Progress("rounding", 3.25, 90.0, 100.0, 0.1))
        seen.extend([before, read_overview(engine, KUKAR).under_way])
        return solve_here(problem, policy, **options)

    allocate(engine, solve_in_steps)
    before, after = seen
    assert before is not None and (before.phase, before.gap) == ("", None)
    assert after is not None
    assert (after.phase, after.seconds) == ("rounding", 3.2)
    assert (after.value, after.bound, after.gap) == (90.0, 100.0, 0.1)
    assert read_overview(engine, KUKAR).under_way is None


def test_a_match_that_an_officer_cancels_leaves_what_stands_proposed(engine: Engine) -> None:
    add_needs(engine, 1, 2)
    apply_fund(engine, pledge(amount_rupiah=60_000))
    with pytest.raises(NothingRunsError):
        cancel_match(engine, KUKAR, "siti", NOW)
    allocate(engine)
    before = lines(engine)
    apply_fund(engine, pledge(amount_rupiah=500_000, revision=2))

    def solve_and_be_cancelled(
        problem: AllocationProblem, policy: Policy, **options: Any
    ) -> AllocationResult:
        assert not options["cancelled"]()
        cancel_match(engine, KUKAR, "siti", NOW)
        cancel_match(engine, KUKAR, "budi", NOW)
        assert options["cancelled"]()
        return solve_here(problem, policy, **options)

    assert allocate(engine, solve_and_be_cancelled).status == "CANCELLED"
    assert lines(engine) == before
    overview = read_overview(engine, KUKAR)
    assert overview.under_way is None
    assert overview.last_run is not None and overview.last_run.status == "OPTIMAL", (
        "a dropped plan is no match"
    )
    with engine.connect() as connection:
        asked = connection.execute(
            text("SELECT actor, action FROM audit_record WHERE action = 'cancel_match'")
        )
        assert asked.all() == [("siti", "cancel_match")]
    assert allocate(engine).status == "OPTIMAL", "the next one is not stopped"
    assert len(lines(engine)) == 2
