"""What is unusual but right is matched: dialects, empty files, and extremes of every rule."""

from __future__ import annotations

import pytest

from tests.unit.offline.conftest import (
    FUND,
    FUNDS_HEADER,
    WORKER,
    WORKERS_HEADER,
    Offline,
    Outcome,
    recheck,
)
from tests.unit.offline.test_wrong_input import fund_with, worker_with


def matched(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.stderr
    recheck(outcome)
    return outcome


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("last", ["", "end", "blank"])
def test_every_dialect_of_csv(offline: Offline, delimiter: str, mark: str, line_end: str, last: str) -> None:
    def text(*lines: str) -> str:
        joined = line_end.join(line.replace(",", delimiter) for line in lines)
        return mark + joined + {"": "", "end": line_end, "blank": line_end * 3}[last]

    outcome = offline.allocate(text(WORKERS_HEADER, WORKER), text(FUNDS_HEADER, FUND))
    assert outcome.code == 0, outcome.stderr
    assert outcome.paid == {"w1": "f1"}
    assert outcome.table("allocations.csv")[0] == {
        "worker_id": "w1",
        "fund_id": "f1",
        "months": "12",
        "amount_rupiah": "201600",
    }


def test_quoted_cells_columns_in_any_order_and_further_columns(offline: Offline) -> None:
    workers = (
        '"priority","note",worker_id,village,occupation,sex,birth_year,programmes,months\n'
        '50,"likes, commas and ""quotes""\nand lines","w,1",64.02.05.2001,"fisher",L,1980,"JKM+JKK",12\n'
    )
    outcome = matched(offline.allocate(workers, [fund_with(fund_id='"f ""one"""')]))
    assert outcome.paid == {"w,1": 'f "one"'}
    assert "column(s) ignored: note" in outcome.stderr
    assert outcome.report["notes"] == ["workers.csv: column(s) ignored: note"]


def test_header_names_may_be_spaced_and_capitalised(offline: Offline) -> None:
    header = WORKERS_HEADER.replace("worker_id", " Worker_ID ")
    assert offline.allocate(f"{header}\n{WORKER}\n").paid == {"w1": "f1"}


def test_a_semicolon_file_quotes_its_lists_and_may_write_a_decimal_comma(offline: Offline) -> None:
    fund = 'f1;csr;100800;"64.01;64.02";"fisher;farmer";"JKK;JKM";;;;;;0,5'
    outcome = offline.allocate(funds=f"{FUNDS_HEADER.replace(',', ';')}\n{fund}\n")
    assert outcome.table("allocations.csv")[0]["amount_rupiah"] == "100800"


@pytest.mark.parametrize("line_end", ["", "\n", "\r\n"])
def test_files_with_a_header_and_no_rows(offline: Offline, line_end: str) -> None:
    nobody = matched(offline.allocate(WORKERS_HEADER + line_end))
    assert nobody.report["workers"] == nobody.report["funded"] == 0
    assert [row["fund_id"] for row in nobody.table("funds.csv")] == ["f1"]
    nothing = matched(offline.allocate(funds=FUNDS_HEADER + line_end))
    assert nothing.reasons == {"w1": "no_funds"}
    neither = matched(offline.allocate(WORKERS_HEADER + line_end, FUNDS_HEADER + line_end))
    assert neither.report["status"] == "OPTIMAL"
    assert neither.report["tiers"]


def test_empty_sex_and_birth_year(offline: Offline) -> None:
    outcome = matched(offline.allocate([worker_with(sex="", birth_year="")]))
    assert outcome.paid == {"w1": "f1"}


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"regions": "64.01"}, "region_accepted"),
        ({"regions": "11"}, "region_accepted"),
        ({"regions": "64.02.05.2002"}, "region_accepted"),
        ({"occupations": "astronaut"}, "occupation_accepted"),
        ({"programmes": "JKK"}, "programmes_accepted"),
        ({"programmes": "JHT;JKN"}, "programmes_accepted"),
        ({"max_months": "11"}, "months_within_limit"),
        ({"max_months": "0"}, "months_within_limit"),
        ({"head_count_cap": "0"}, "head_count_cap"),
        ({"district_cap": "0"}, "district_cap"),
        ({"min_workers": "2"}, "min_workers"),
        ({"min_workers": "1000000000"}, "min_workers"),
        ({"amount_rupiah": "1"}, "amount_left"),
        ({"amount_rupiah": "201599"}, "amount_left"),
    ],
)
def test_a_fund_that_can_take_nobody_says_which_rule(
    offline: Offline, cells: dict[str, str], reason: str
) -> None:
    outcome = matched(offline.allocate(funds=[fund_with(**cells)]))
    assert outcome.reasons == {"w1": reason}
    detail = outcome.table("unfunded.csv")[0]["detail"]
    assert detail.endswith(".") and len(detail) > 20 and "{" not in detail


@pytest.mark.parametrize(
    "cells",
    [
        {"regions": "64"},
        {"regions": "64.02"},
        {"regions": "64.01;64.02.05"},
        {"regions": "64.02.05.2001"},
        {"occupations": "farmer;fisher"},
        {"programmes": "JKN;JKM;JKK"},
        {"max_months": "12"},
        {"head_count_cap": "1"},
        {"district_cap": "1"},
        {"min_workers": "0"},
        {"min_workers": "1"},
        {"amount_rupiah": "201600"},
        {"amount_rupiah": str(2**53)},
        {"expires": "2099-12-31"},
        {"jkk_jkm_discount": "0.5"},
        {"kind": "apbd"},
    ],
)
def test_a_fund_whose_rules_just_admit_the_worker(offline: Offline, cells: dict[str, str]) -> None:
    assert matched(offline.allocate(funds=[fund_with(**cells)])).paid == {"w1": "f1"}


def test_a_region_is_a_prefix_of_whole_parts_only(offline: Offline) -> None:
    # 64.02.05.200 would be a textual prefix; parts of a code are not divisible.
    assert offline.allocate(funds=[fund_with(regions="64.02.05.200")]).code == 2


@pytest.mark.parametrize(
    ("programmes", "kind", "monthly_rupiah"),
    [
        ("JKK", "csr", 10_000),
        ("JKM", "apbd", 6_800),
        ("JKK+JKM", "csr", 16_800),
        ("JKK+JKM+JHT", "csr", 36_800),
        ("JKN", "csr", 35_000),
        ("JKN", "apbd", 42_000),
        ("JKK+JKM+JHT+JKN", "apbd", 78_800),
    ],
)
def test_monthly_costs_of_the_contract(
    offline: Offline, programmes: str, kind: str, monthly_rupiah: int
) -> None:
    outcome = matched(
        offline.allocate([worker_with(programmes=programmes, months="7")], [fund_with(kind=kind)])
    )
    assert int(outcome.table("allocations.csv")[0]["amount_rupiah"]) == 7 * monthly_rupiah


def test_other_provinces_are_taken_as_they_stand(offline: Offline) -> None:
    rows = [worker_with(village="31.71.01.1001"), worker_with(worker_id="w2", village="96.01.01.2001")]
    outcome = matched(offline.allocate(rows, [fund_with(regions="31.71")]))
    assert outcome.paid == {"w1": "f1"} and outcome.reasons == {"w2": "region_accepted"}


def test_very_many_identical_workers(offline: Offline) -> None:
    rows = [worker_with(worker_id=f"w{i}") for i in range(5_000)]
    outcome = matched(offline.allocate(rows, [fund_with(amount_rupiah=str(201_600 * 1_234 + 5))]))
    assert outcome.report["funded"] == 1_234
    assert set(outcome.reasons.values()) == {"outbid"}


def test_cover_that_costs_nothing_is_paid_within_every_other_rule(offline: Offline) -> None:
    rows = [worker_with(worker_id=f"w{i}", priority=str(i + 1)) for i in range(4)]
    rows.append(worker_with(worker_id="health", programmes="JKN", months="1", priority="100"))
    fund = fund_with(jkk_jkm_discount="1", amount_rupiah="35000", head_count_cap="3")
    outcome = matched(offline.allocate(rows, [fund]))
    assert outcome.paid == {"health": "f1", "w3": "f1", "w2": "f1"}
    assert {row["amount_rupiah"] for row in outcome.table("allocations.csv")} == {"0", "35000"}


def test_a_tariff_file_overrides_the_prices(offline: Offline) -> None:
    tariffs = offline.write("t.csv", "programme,payer,monthly_rupiah\nJKM,,7000\n")
    outcome = offline.allocate([WORKER], [FUND], "--tariffs", str(tariffs))
    assert outcome.table("allocations.csv")[0]["amount_rupiah"] == str(12 * 17_000)


def test_months_in_different_tariff_periods_are_priced_one_by_one(offline: Offline) -> None:
    tariffs = offline.write(
        "t.csv",
        "programme,valid_from,valid_to,monthly_rupiah\nJKM,,2027-03,6800\nJKM,2027-04,,10000\n",
    )
    outcome = offline.allocate(
        [worker_with(programmes="JKM", months="4")],
        [FUND],
        "--tariffs",
        str(tariffs),
        "--start-month",
        "2027-02",
    )
    assert outcome.table("allocations.csv")[0]["amount_rupiah"] == str(2 * 6_800 + 2 * 10_000)


@pytest.mark.parametrize(("expires", "paid"), [("2027-12-01", {"w1": "f1"}), ("2027-11-30", {})])
def test_with_a_start_month_a_fund_pays_no_month_after_it_expires(
    offline: Offline, expires: str, paid: dict[str, str]
) -> None:
    outcome = offline.allocate([WORKER], [fund_with(expires=expires)], "--start-month", "2027-01")
    assert outcome.code == 0 and outcome.paid == paid
    if not paid:
        assert outcome.reasons == {"w1": "window_covers_months"}


def test_without_a_start_month_expiry_only_ranks_funds(offline: Offline) -> None:
    outcome = matched(offline.allocate(funds=[fund_with(expires="2020-01-31")]))
    assert outcome.paid == {"w1": "f1"}
    assert "1 fund(s) expired before today" in outcome.stderr


def test_an_earlier_plan_is_kept_where_nothing_is_gained_by_moving(offline: Offline) -> None:
    workers = [worker_with(worker_id="w1"), worker_with(worker_id="w2")]
    funds = [fund_with(fund_id="a", amount_rupiah="300000"), fund_with(fund_id="b", amount_rupiah="300000")]
    for plan in ({"w1": "a", "w2": "b"}, {"w1": "b", "w2": "a"}):
        text = "worker_id,fund_id\n" + "".join(f"{worker},{fund}\n" for worker, fund in plan.items())
        previous = offline.write("previous.csv", text)
        outcome = matched(offline.allocate(workers, funds, "--previous", str(previous)))
        assert outcome.paid == plan
        assert outcome.report["previous"] == {"proposals": 2, "kept": 2, "moved": 0, "dropped": 0}


def test_an_earlier_plan_may_name_workers_and_funds_that_are_gone(offline: Offline) -> None:
    previous = offline.write("p.csv", "worker_id,fund_id,months,amount_rupiah\nw1,gone,1,1\nleft,f1,1,1\n")
    outcome = matched(offline.allocate([WORKER], [FUND], "--previous", str(previous)))
    assert "ignored 1 line(s) of workers and 1 line(s) of funds" in outcome.stderr
    assert outcome.report["previous"]["proposals"] == 0


def test_the_last_run_is_a_valid_earlier_plan(offline: Offline) -> None:
    rows = [worker_with(worker_id=f"w{i}", priority=str(i + 1)) for i in range(30)]
    funds = [fund_with(fund_id=f"f{i}", amount_rupiah="700000") for i in range(5)]
    first = matched(offline.allocate(rows, funds))
    allocations = first.out / "allocations.csv"
    second = matched(offline.allocate(rows, funds, "--previous", str(allocations)))
    assert second.report["previous"]["proposals"] == first.report["funded"]
    assert second.report["tiers"][0]["value"] >= first.report["tiers"][0]["value"]


def test_the_order_of_tiers_and_what_coverage_counts_come_from_the_policy(offline: Offline) -> None:
    policy = offline.write(
        "policy.toml",
        'name = "months first"\ncoverage_counts = "worker_months"\ntiers = ["coverage", "apbd_saving"]\n',
    )
    # One long need or three short ones: the plain score prefers the short, worker-months the long.
    rows = [worker_with(worker_id="long", months="12", priority="50")]
    rows += [worker_with(worker_id=f"s{i}", months="1", priority="20") for i in range(3)]
    funds = [fund_with(amount_rupiah=str(12 * 16_800))]
    plain = matched(offline.allocate(rows, funds))
    assert set(plain.paid) == {"s0", "s1", "s2"}
    assert plain.report["coverage"]["worker_months"] == 3
    outcome = offline.allocate(rows, funds, "--policy", str(policy))
    assert outcome.code == 0 and set(outcome.paid) == {"long"}
    report = outcome.report
    assert [tier["name"] for tier in report["tiers"]] == ["coverage", "apbd_saving"]
    assert report["policy"]["name"] == "months first"
    # Both views stand in every report, whatever the policy counts.
    assert report["coverage"]["score"] == 50 and report["coverage"]["score_worker_months"] == 600


def test_two_thousand_funds_of_the_largest_amount(offline: Offline) -> None:
    funds = [fund_with(fund_id=f"f{i}", amount_rupiah=str(2**53)) for i in range(2_000)]
    outcome = matched(offline.allocate([WORKER], funds))
    assert outcome.report["funded"] == 1
    assert outcome.report["available_rupiah"] == 2_000 * 2**53
    assert outcome.report["status"] == "OPTIMAL"
    assert [tier["gap"] for tier in outcome.report["tiers"]] == [0] * 5


def test_names_that_look_like_markup_are_written_as_they_are(offline: Offline) -> None:
    outcome = matched(offline.allocate([WORKER], [fund_with(fund_id="[bold]:warning:[/bold]")]))
    assert outcome.paid == {"w1": "[bold]:warning:[/bold]"}
    told = offline.call("explain", "w1", "--run", str(outcome.out))
    assert "[bold]:warning:[/bold] pays JKK+JKM" in told.stdout


def test_free_cover_keeps_an_honest_bound_when_64_bits_get_tight(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A small word stands in for millions of needs: three parts to the rupiah for five needs.
    monkeypatch.setattr("workflow.match_solve._HIGHEST_SCALED", 3 * 35_001)
    rows = [worker_with(worker_id=f"w{i}", priority=str(i + 1)) for i in range(4)]
    rows.append(worker_with(worker_id="health", programmes="JKN", months="1", priority="100"))
    outcome = matched(offline.allocate(rows, [fund_with(jkk_jkm_discount="1", amount_rupiah="35000")]))
    assert "health" in outcome.paid
    tier = outcome.report["tiers"][0]
    assert tier["bound"] >= 110 and not tier["proven"]
    assert outcome.report["status"] == "FEASIBLE"
