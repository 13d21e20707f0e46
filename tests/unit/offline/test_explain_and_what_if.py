"""Explaining one worker and asking what-if, from the last run."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from optimizer.rules import PAIR_RULES, PLAN_RULES
from tests.unit.offline.conftest import Offline, Outcome, recheck
from tests.unit.offline.test_wrong_input import fund_with, worker_with
from workflow.explain_match import BINDS, FUND_REMARKS, SENTENCES, explain_worker, say, tell_worker
from workflow.match_reasons import BINDING, REASONS, find_reasons
from workflow.match_run import read_run

NEEDS = [
    worker_with(worker_id="first", priority="90"),
    worker_with(worker_id="second", priority="60"),
    worker_with(worker_id="third", priority="30"),
    worker_with(worker_id="driver", occupation="driver", priority="99"),
    worker_with(worker_id="elsewhere", village="64.01.01.2009", priority="99"),
    worker_with(worker_id="health", programmes="JKN", priority="99"),
]
FUNDS = [
    fund_with(
        fund_id="fishers",
        amount_rupiah=str(2 * 201_600 + 7),
        regions="64.02",
        occupations="fisher",
        programmes="JKK;JKM",
    ),
    fund_with(fund_id="late", amount_rupiah="5", regions="64.02", occupations="fisher"),
]


@pytest.fixture
def run(offline: Offline) -> Outcome:
    outcome = offline.allocate(NEEDS, FUNDS)
    assert outcome.code == 0
    recheck(outcome)
    return outcome


def test_every_need_has_its_reason(run: Outcome) -> None:
    assert run.paid == {"first": "fishers", "second": "fishers"}
    assert run.reasons == {
        "third": "outbid",
        "driver": "occupation_accepted",
        "elsewhere": "region_accepted",
        "health": "amount_left",
    }
    details = {row["worker_id"]: row["detail"] for row in run.table("unfunded.csv")}
    assert "fishers" in details["third"]
    assert "driver" in details["driver"]
    assert "64.01.01.2009" in details["elsewhere"]
    assert details["health"].startswith("The cover costs Rp 420,000; late")


def test_every_fund_says_what_binds_it(run: Outcome) -> None:
    assert {row["fund_id"]: row["binds"] for row in run.table("funds.csv")} == {
        "fishers": "amount_left",
        "late": "amount_left",
    }


@pytest.mark.parametrize(
    ("cells", "binds"),
    [
        ({"head_count_cap": "1"}, "head_count_cap"),
        ({"district_cap": "1"}, "district_cap"),
        ({"min_workers": "50"}, "min_workers"),
        ({"amount_rupiah": "201700"}, "amount_left"),
        ({}, "eligibility"),
    ],
)
def test_each_limit_can_be_what_binds(offline: Offline, cells: dict[str, str], binds: str) -> None:
    rows = [worker_with(worker_id=f"w{i}") for i in range(3)]
    outcome = offline.allocate(rows, [fund_with(**cells)])
    assert [row["binds"] for row in outcome.table("funds.csv")] == [binds]


def test_explain_tells_the_reason_in_both_languages(run: Outcome, offline: Offline) -> None:
    def ask(worker: str, *more: str) -> str:
        told = offline.call("explain", worker, "--run", str(run.out), *more)
        assert told.code == 0
        return told.stdout

    assert "fishers pays JKK+JKM for 12 months: Rp 201,600." in ask("first")
    assert "fishers membayar JKK+JKM selama 12 bulan: Rp 201.600." in ask("first", "--language", "id")
    assert "Best alternative: late" in ask("first")
    assert "Outbid: fishers" in ask("third")
    assert "Kalah prioritas: fishers" in ask("third", "--language", "id")
    assert "late: Rp 5 left, cost Rp 201,600" in ask("third")
    # Villages that Gotong carries are named.
    assert "No fund that serves village Saliki (64.02.05.2001) accepts the occupation driver." in ask(
        "driver"
    )


def test_explain_knows_only_workers_of_the_run(run: Outcome, offline: Offline) -> None:
    told = offline.call("explain", "6402051708900001", "--run", str(run.out))
    assert told.code == 2
    assert "6402051708900001" not in told.stderr


def test_one_worker_and_all_workers_are_explained_alike(run: Outcome) -> None:
    stored = read_run(run.out)
    reasons = find_reasons(stored.problem, stored.given.policy, stored.result)
    for index in range(len(NEEDS)):
        story = explain_worker(stored.problem, stored.names, stored.given.policy, stored.result, index)
        assert story.reason == REASONS[reasons.reason[index]]
        other = int(reasons.alternative[index])
        if story.fund_id is not None:
            assert story.alternative is not None
            assert stored.names.funds[other].fund_id == story.alternative.fund_id


def test_every_rule_has_a_sentence_in_both_languages() -> None:
    rules = {rule.__name__ for rule in (*PAIR_RULES, *PLAN_RULES)}
    assert rules <= set(SENTENCES) and rules <= set(FUND_REMARKS)
    assert set(REASONS) <= set(SENTENCES) and set(BINDING) <= set(BINDS)
    for sentences in (SENTENCES, FUND_REMARKS, BINDS):
        for texts in sentences.values():
            assert set(texts) == {"en", "id"}
            names = [set(re.findall(r"{(\w+)}", text)) for text in texts.values()]
            assert names[0] == names[1], "both languages tell the same facts"


def test_an_unknown_reason_is_said_by_its_name() -> None:
    assert say("something_new", "id", {}) == "something_new"


def test_a_story_lists_no_more_funds_than_asked(offline: Offline) -> None:
    outcome = offline.allocate([NEEDS[0]], [fund_with(fund_id=f"f{i}") for i in range(20)])
    stored = read_run(outcome.out)
    story = explain_worker(stored.problem, stored.names, stored.given.policy, stored.result, 0)
    lines = tell_worker(story, "en", most_funds=3)
    assert sum(line.startswith("  f") for line in lines) == 3
    assert lines[-1] == "  … and 16 more"


# ---------------------------------------------------------------- what-if


def what_if(offline: Offline, *arguments: str) -> dict[str, Any]:
    told = offline.call("what-if", "--run", str(offline.out), "--json", *arguments)
    assert told.code == 0, told.stderr
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


def test_more_money_gains_workers_and_stores_nothing(run: Outcome, offline: Offline) -> None:
    before = {path.name: path.read_bytes() for path in run.out.iterdir()}
    answer = what_if(offline, "--fund", "fishers", "--add-rupiah", "201600")
    assert (answer["gained"], answer["lost"]) == (1, 0)
    assert answer["after"]["score"] - answer["before"]["score"] == 30
    assert answer["extra_rupiah"] == 201_600
    assert answer["workers_per_million_rupiah"] == pytest.approx(1 / 0.2016)
    changed = [district for district in answer["districts"] if district["gained"]]
    assert changed == [{"district": "64.02.05", "workers": 5, "before": 2, "now": 3, "gained": 1, "lost": 0}]
    assert {path.name: path.read_bytes() for path in run.out.iterdir()} == before


def test_less_money_loses_workers(run: Outcome, offline: Offline) -> None:
    answer = what_if(offline, "--fund", "fishers", "--add-rupiah", "-201600")
    assert (answer["gained"], answer["lost"]) == (0, 1)
    assert what_if(offline, "--fund", "fishers", "--add-rupiah", "-403207")["after"]["workers"] == 0


def test_other_rules(run: Outcome, offline: Offline) -> None:
    answer = what_if(offline, "--fund", "fishers", "--set", "occupations=", "--set", "regions=64")
    # The driver (99) and the one elsewhere (99) now outbid the fishers.
    assert answer["after"]["score"] == 198 and answer["after"]["workers"] == 2
    assert what_if(offline, "--fund", "fishers", "--set", "max_months=11")["after"]["workers"] == 0
    assert what_if(offline, "--fund", "fishers", "--set", "jkk_jkm_discount=0.5")["after"]["workers"] == 3


def test_a_new_fund_a_fund_gone_and_another_policy(run: Outcome, offline: Offline) -> None:
    from tests.unit.offline.conftest import FUNDS_HEADER

    extra = offline.write("new.csv", f"{FUNDS_HEADER}\n{fund_with(fund_id='new', amount_rupiah='420000')}\n")
    answer = what_if(offline, "--new-funds", str(extra))
    assert answer["after"]["workers"] == 4 and answer["lost"] == 0
    assert what_if(offline, "--fund", "fishers", "--remove")["after"]["workers"] == 0
    policy = offline.write("p.toml", 'tiers = ["coverage"]\n')
    answer = what_if(offline, "--policy", str(policy))
    assert answer["gained"] == answer["lost"] == 0 and answer["workers_per_million_rupiah"] is None


def test_the_marginal_value_of_a_fund_is_what_more_money_gains(offline: Offline) -> None:
    rows = [worker_with(worker_id=f"w{i}", priority=str(20 + i % 60)) for i in range(600)]
    offline.allocate(rows, [fund_with(amount_rupiah=str(300 * 201_600))])
    told = Outcome(0, "", "", offline.out).table("funds.csv")[0]
    answer = what_if(offline, "--fund", "f1", "--add-rupiah", str(10 * 201_600))
    assert float(told["marginal_score_per_million_rupiah"]) == pytest.approx(
        answer["score_per_million_rupiah"], rel=0.05
    )
    assert float(told["marginal_workers_per_million_rupiah"]) == pytest.approx(
        answer["workers_per_million_rupiah"], rel=0.05
    )


def test_the_answer_reads_as_text(run: Outcome, offline: Offline) -> None:
    told = offline.call("what-if", "--run", str(run.out), "--fund", "fishers", "--add-rupiah", "201600")
    assert "1 workers gain cover, 0 lose it" in told.stdout
    assert "Nothing was stored" in told.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to ask"),
        (("--fund", "fishers"), "--fund needs"),
        (("--add-rupiah", "5"), "need --fund"),
        (("--fund", "nobody", "--add-rupiah", "5"), "no fund nobody"),
        (("--fund", "nobody", "--set", "max_months=5"), "no fund nobody"),
        (("--fund", "nobody", "--remove"), "no fund nobody"),
        (("--fund", "fishers", "--add-rupiah", "-403208"), "cannot be cut"),
        (("--fund", "fishers", "--set", "max_months"), "expected RULE=VALUE"),
        (("--fund", "fishers", "--set", "colour=red"), "no rule 'colour'"),
        (("--fund", "fishers", "--set", "fund_id=x"), "no rule 'fund_id'"),
        (("--fund", "fishers", "--set", "regions=64.02.99"), "no district 64.02.99"),
        (("--fund", "fishers", "--set", "amount_rupiah=-1"), "amount_rupiah: '-1'"),
    ],
)
def test_a_question_that_cannot_be_asked(
    run: Outcome, offline: Offline, arguments: tuple[str, ...], words: str
) -> None:
    told = offline.call("what-if", "--run", str(run.out), *arguments)
    assert told.code == 2 and words in told.stderr


def test_a_new_fund_must_have_an_id_of_its_own_and_be_right(run: Outcome, offline: Offline) -> None:
    from tests.unit.offline.conftest import FUNDS_HEADER

    taken = offline.write("new.csv", f"{FUNDS_HEADER}\n{fund_with(fund_id='late')}\n")
    told = offline.call("what-if", "--run", str(run.out), "--new-funds", str(taken))
    assert told.code == 2 and "already a fund late" in told.stderr
    wrong = offline.write("new.csv", f"{FUNDS_HEADER}\n{fund_with(kind='gift')}\n")
    told = offline.call("what-if", "--run", str(run.out), "--new-funds", str(wrong))
    assert told.code == 2 and "new.csv row 2, kind" in told.stderr


def test_a_directory_without_a_run(offline: Offline) -> None:
    told = offline.call("what-if", "--run", str(offline.folder), "--fund", "f", "--add-rupiah", "1")
    assert told.code == 2 and "gotong allocate" in told.stderr
