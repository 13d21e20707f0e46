"""The run directory: complete or absent, rebuilt exactly, and never written by a failed job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gotong.offline_match
import optimizer.solve
from optimizer.problem import AllocationProblem
from optimizer.result import AllocationResult, Prices
from tests.unit.offline.conftest import Offline, recheck
from tests.unit.offline.test_wrong_input import fund_with, worker_with
from workflow.carry_prices import carry_prices
from workflow.match_run import RunError, read_prices, read_run

FILES = {
    "allocations.csv",
    "alternatives.csv",
    "funds.csv",
    "report.json",
    "run-prices.npz",
    "run-terms.json",
    "run-workers.arrow",
    "unfunded.csv",
}


def two_needs(offline: Offline, *more: str) -> Any:
    rows = [worker_with(worker_id="w1"), worker_with(worker_id="w2", priority="60", programmes="JKN")]
    return offline.allocate(
        rows, [fund_with(amount_rupiah="300000"), fund_with(fund_id="f2", kind="apbd")], *more
    )


def test_every_promised_file_and_figure_is_there(offline: Offline) -> None:
    outcome = two_needs(offline)
    recheck(outcome)
    assert {path.name for path in outcome.out.iterdir()} == FILES
    report = outcome.report
    assert {"tiers", "status", "seconds", "peak_memory_bytes", "workers", "funded"} <= set(report)
    for tier in report["tiers"]:
        assert {"name", "value", "bound", "gap", "seconds"} <= set(tier)
    assert report["peak_memory_bytes"] > 10_000_000
    assert {"read", "build", "total"} <= set(report["seconds"])
    assert report["districts"] == [
        {"district": "64.02.05", "workers": 2, "funded": 2, "coverage": 1, "worker_months": 24}
    ]
    assert [row["marginal_score_per_million_rupiah"] for row in outcome.table("funds.csv")]


def test_a_second_run_replaces_the_first_and_leaves_foreign_files(offline: Offline) -> None:
    two_needs(offline)
    (offline.out / "notes.txt").write_text("mine")
    outcome = offline.allocate([worker_with(worker_id="other")])
    assert outcome.paid == {"other": "f1"}
    assert {path.name for path in offline.out.iterdir()} == FILES | {"notes.txt"}


def test_the_output_directory_may_be_deep_and_new(offline: Offline) -> None:
    two_needs(offline)
    deep = offline.folder / "a" / "b" / "c"
    arguments = [str(offline.folder / name) for name in ("workers.csv", "funds.csv")]
    done = offline.call("allocate", "--workers", arguments[0], "--funds", arguments[1], "--out", str(deep))
    assert done.code == 0 and (deep / "report.json").exists()


def fail_at(name: str) -> Callable[[Path, Path], None]:
    def replace_or_fail(source: Path, target: Path) -> None:
        if target.name == name:
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    return replace_or_fail


def test_a_disk_that_fills_up_leaves_no_report_and_no_rubble(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_needs(offline)
    monkeypatch.setattr("workflow.match_run.os.replace", fail_at("run-terms.json"))
    outcome = two_needs(offline)
    assert outcome.code == 1 and "No space left" in outcome.stderr
    # A reader must never take half a run for a whole one.
    assert not (offline.out / "report.json").exists()
    assert {path.name for path in offline.out.iterdir()} == FILES - {"report.json"}
    assert offline.call("explain", "w1", "--run", str(offline.out)).code == 2


def test_a_new_directory_that_cannot_be_filled_is_taken_away(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workflow.match_run._write_workers", refuse)
    outcome = two_needs(offline)
    assert outcome.code == 1 and not offline.out.exists()


def test_a_plan_that_breaks_a_rule_is_never_written(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = optimizer.solve.solve

    def overspend(problem: AllocationProblem, *arguments: Any, **named: Any) -> AllocationResult:
        result = honest(problem, *arguments, **named)
        return replace(result, fund_of_worker=np.zeros_like(result.fund_of_worker))

    monkeypatch.setattr("workflow.match_solve.solve", overspend)
    outcome = two_needs(offline)
    assert outcome.code == 1 and "broke a rule" in outcome.stderr
    assert not offline.out.exists()


def test_a_run_is_read_back_as_it_was(offline: Offline) -> None:
    policy = offline.write("p.toml", 'name = "other"\ntiers = ["coverage", "equity"]\n')
    outcome = two_needs(offline, "--start-month", "2027-02", "--policy", str(policy))
    run = read_run(outcome.out)
    assert [str(worker) for worker in run.names.worker_ids] == ["w1", "w2"]
    plan = {
        str(worker): run.names.funds[fund].fund_id
        for worker, fund in zip(run.names.worker_ids, run.result.fund_of_worker, strict=True)
        if fund >= 0
    }
    assert plan == outcome.paid
    assert run.given.policy.name == "other" and len(run.result.tiers) == 2
    assert [int(amount) for amount in run.result.amount_rupiah] == [
        int(row["amount_rupiah"]) for row in outcome.table("allocations.csv")
    ]
    assert run.problem.workers.start_month[0] == 2027 * 12 + 1


def test_an_empty_run_is_read_back(offline: Offline) -> None:
    outcome = offline.allocate([], [])
    assert len(read_run(outcome.out).names.worker_ids) == 0


@pytest.mark.parametrize("name", ["report.json", "run-terms.json", "run-workers.arrow", "run-prices.npz"])
@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_damaged_run_is_refused_with_one_line(offline: Offline, name: str, damage: str) -> None:
    path = two_needs(offline).out / name
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    else:
        path.write_text("{}")
    with pytest.raises(RunError):
        read_run(offline.out)
    told = offline.call("explain", "w1", "--run", str(offline.out))
    assert told.code == 2 and len(told.stderr.strip().splitlines()) == 1


def test_files_of_two_runs_are_not_mixed(offline: Offline) -> None:
    terms = two_needs(offline).out / "run-terms.json"
    kept = terms.read_bytes()
    two_needs(offline)
    terms.write_bytes(kept)
    with pytest.raises(RunError, match="different runs"):
        read_run(offline.out)
    assert read_prices(offline.out) is None


def test_the_solvers_cancelled_plan_is_not_written(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    two_needs(offline)
    handler = signal.getsignal(signal.SIGINT)
    before = (offline.out / "report.json").read_bytes()
    honest = optimizer.solve.solve

    def press_ctrl_c(*arguments: Any, cancelled: Callable[[], bool], **named: Any) -> AllocationResult:
        os.kill(os.getpid(), signal.SIGINT)
        assert cancelled()
        return honest(*arguments, cancelled=cancelled, **named)

    monkeypatch.setattr("workflow.match_solve.solve", press_ctrl_c)
    outcome = two_needs(offline)
    assert outcome.code == 1 and "Cancelled. Nothing was written" in outcome.stderr
    assert (offline.out / "report.json").read_bytes() == before
    # The command gives the signal back to whoever had it.
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_second_ctrl_c_ends_at_once(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    def press_twice(*_arguments: Any, **_named: Any) -> AllocationResult:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal must end the solve")

    monkeypatch.setattr("workflow.match_solve.solve", press_twice)
    outcome = two_needs(offline)
    assert outcome.code == 1 and not offline.out.exists()


def test_the_commands_do_not_load_the_solver_before_they_run() -> None:
    probe = textwrap.dedent(
        """
        import sys
        import gotong.allocate_commands
        print([name for name in ("ortools", "scipy", "pyarrow", "optimizer") if name in sys.modules])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(gotong.offline_match.__file__).parents[1],
    )
    assert done.stdout.strip() == "[]"


def test_the_report_is_strict_json(offline: Offline) -> None:
    two_needs(offline)

    def refuse(token: str) -> None:
        raise AssertionError(f"{token} is no JSON")

    json.loads((offline.out / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_prices_are_carried_by_the_names_of_funds_and_districts() -> None:
    prices = Prices(
        fund=np.array([1.0, 2.0]), head=np.array([3.0, 4.0]), district=np.array([[5.0], [6.0]]), gap=0.01
    )
    carried = carry_prices(prices, (("a", "b"), ("d1",)), (("new", "b", "a"), ("d2", "d1")))
    assert carried.fund.tolist() == [0.0, 2.0, 1.0]
    assert carried.head.tolist() == [0.0, 4.0, 3.0]
    assert carried.district.tolist() == [[0.0, 0.0], [0.0, 6.0], [0.0, 5.0]]
    assert carried.gap == 0.01


def test_the_prices_of_a_run_are_kept(offline: Offline) -> None:
    outcome = two_needs(offline)
    stored = read_prices(outcome.out)
    assert stored is not None
    prices, places = stored
    run = read_run(outcome.out)
    assert places == (("f1", "f2"), ("64.02.05",)) == run.names.places
    for name in ("fund", "head", "district"):
        assert np.array_equal(getattr(prices, name), getattr(run.result.prices, name))
    assert prices.gap == run.result.prices.gap
