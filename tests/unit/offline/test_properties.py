"""What holds for every input: the written plan obeys every rule, and rows have no order."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.offline.conftest import Offline, Outcome, recheck
from workflow.explain_match import Language, explain_worker, say, tell_worker
from workflow.match_reasons import REASONS, find_reasons
from workflow.match_run import read_run

VILLAGES = ("64.02.05.2001", "64.02.05.2002", "64.02.06.1003", "64.01.01.2009")
OCCUPATIONS = ("fisher", "farmer", "driver")
BUNDLES = ("JKK+JKM", "JKM+JKK+JHT", "JKN")


def cells(*values: object) -> str:
    return ",".join("" if value is None else str(value) for value in values)


@st.composite
def worker_rows(draw: st.DrawFn) -> list[str]:
    return [
        cells(
            f"w{i}",
            draw(st.sampled_from(VILLAGES)),
            draw(st.sampled_from(OCCUPATIONS)),
            draw(st.sampled_from(("L", "P", ""))),
            draw(st.sampled_from((None, 1970, 2001))),
            draw(st.sampled_from(BUNDLES)),
            draw(st.integers(1, 12)),
            draw(st.integers(1, 100)),
        )
        for i in range(draw(st.integers(0, 9)))
    ]


@st.composite
def fund_rows(draw: st.DrawFn) -> list[str]:
    def rarely(values: st.SearchStrategy[object]) -> object:
        return draw(st.one_of(st.none(), st.none(), values))

    def some(words: tuple[str, ...]) -> st.SearchStrategy[object]:
        return st.lists(st.sampled_from(words), min_size=1, unique=True).map(";".join)

    return [
        cells(
            f"f{i}",
            draw(st.sampled_from(("csr", "csr", "apbd"))),
            draw(st.one_of(st.integers(1, 2_000_000), st.just(2**53))),
            rarely(some(("64.02", "64.02.05", "64.02.06.1003", "64.01"))),
            rarely(some(OCCUPATIONS)),
            rarely(some(("JKK", "JKM", "JHT", "JKN"))),
            rarely(st.integers(0, 12)),
            rarely(st.integers(0, 4)),
            rarely(st.integers(0, 3)),
            rarely(st.integers(0, 4)),
            rarely(st.sampled_from(("2026-12-31", "2027-06-30"))),
            rarely(st.sampled_from(("0", "0.5", "0.333", "1"))),
        )
        for i in range(draw(st.integers(0, 4)))
    ]


def match(workers: list[str], funds: list[str]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        outcome = Offline(Path(folder)).allocate(workers, funds)
        assert outcome.code == 0, outcome.stderr
        recheck(outcome)
        # The folder goes away: keep what is compared.
        outcome.stdout = str(outcome.report["tiers"][0]["value"])
        outcome.stderr = outcome.report["status"]
        return outcome


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worker_rows(), fund_rows())
def test_every_written_plan_obeys_every_rule(workers: list[str], funds: list[str]) -> None:
    match(workers, funds)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worker_rows(), fund_rows(), st.integers(0, 2**32))
def test_the_order_of_rows_does_not_change_a_proven_objective(
    workers: list[str], funds: list[str], seed: int
) -> None:
    as_given = match(workers, funds)
    shuffle = random.Random(seed)
    mixed_workers, mixed_funds = workers[:], funds[:]
    shuffle.shuffle(mixed_workers)
    shuffle.shuffle(mixed_funds)
    mixed = match(mixed_workers, mixed_funds)
    if as_given.stderr == mixed.stderr == "OPTIMAL":
        assert as_given.stdout == mixed.stdout


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worker_rows(), fund_rows())
def test_one_worker_and_all_workers_are_explained_alike(workers: list[str], funds: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        outcome = Offline(Path(folder)).allocate(workers, funds)
        assert outcome.code == 0, outcome.stderr
        run = read_run(outcome.out)
        told = {row["worker_id"]: row for row in outcome.table("unfunded.csv")}
    reasons = find_reasons(run.problem, run.given.policy, run.result)
    for index in range(len(workers)):
        story = explain_worker(run.problem, run.names, run.given.policy, run.result, index)
        assert story.reason == REASONS[reasons.reason[index]]
        languages: tuple[Language, ...] = ("en", "id")
        for language in languages:
            assert all("{" not in line for line in tell_worker(story, language))
        if story.fund_id is None:
            assert told[story.worker_id]["reason"] == story.reason
            if story.reason != "outbid":  # the table rounds points up
                assert told[story.worker_id]["detail"] == say(story.reason, "en", story.facts)
        other = int(reasons.alternative[index])
        expected = None if other < 0 else run.names.funds[other].fund_id
        if story.fund_id is not None:
            assert (story.alternative and story.alternative.fund_id) == expected
