"""Explaining and what-if over what stands in the database: they answer, and they store nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from models.tariff import default_table
from tests.builders import KUKAR, apply_fund, pledge
from tests.integration.test_allocate import add_needs, allocate, engine
from workflow.explain_match import explain_worker
from workflow.standing_match import StandingMatch, read_standing_match
from workflow.what_if import add_money, ask_what_if

__all__ = ["engine"]

NOW = dt.datetime(2026, 11, 2, 1, 0, tzinfo=dt.UTC)


@pytest.fixture
def standing(engine: Engine) -> StandingMatch:
    """Money for one of two workers; the one of higher priority has it."""
    add_needs(engine, 1, priority=90)
    add_needs(engine, 2, priority=10)
    apply_fund(engine, pledge(amount_rupiah=60_000))
    allocate(engine)
    return read_standing_match(engine, KUKAR, default_table(), NOW)


def test_the_standing_proposal_and_the_loser_are_explained(standing: StandingMatch) -> None:
    stories = [
        explain_worker(standing.problem, standing.names, standing.policy, standing.result, number)
        for number in (0, 1)
    ]
    assert [story.fund_id for story in stories] == ["csr-1", None]
    assert stories[1].reason == "outbid"


def test_what_if_says_what_more_money_would_buy_and_stores_nothing(
    engine: Engine, standing: StandingMatch
) -> None:
    answer = ask_what_if(
        standing.problem,
        standing.names,
        standing.result,
        add_money(standing.names.funds, "csr-1", 60_000),
        standing.policy,
        time_limit_seconds=5,
    )
    assert (answer.gained, answer.lost) == (1, 0)
    with engine.connect() as connection:
        counts = connection.execute(
            text("SELECT (SELECT count(*) FROM proposal), (SELECT count(*) FROM allocation_run)")
        ).one()
    assert tuple(counts) == (1, 1)


def test_a_fund_that_is_not_served_here_is_refused(engine: Engine) -> None:
    with pytest.raises(LookupError):
        read_standing_match(engine, "64.03", default_table(), NOW)


def test_funds_and_needs_carry_the_names_people_use(standing: StandingMatch) -> None:
    assert [fund.fund_id for fund in standing.names.funds] == ["csr-1"]
    assert replace(standing.names.funds[0]).amount_rupiah == 60_000, "what is proposed may still move"
