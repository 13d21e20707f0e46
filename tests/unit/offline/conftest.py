"""Builders for the offline match: two small files, one call of the command, one honest re-check."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from gotong.allocate_commands import register

WORKERS_HEADER = "worker_id,village,occupation,sex,birth_year,programmes,months,priority"
FUNDS_HEADER = (
    "fund_id,kind,amount_rupiah,regions,occupations,programmes,max_months,head_count_cap,district_cap,"
    "min_workers,expires,jkk_jkm_discount"
)
WORKER = "w1,64.02.05.2001,fisher,L,1980,JKK+JKM,12,50"
FUND = "f1,csr,1000000,,,,,,,,,"


@dataclass
class Outcome:
    """What one call of the command did."""

    code: int
    stdout: str
    stderr: str
    out: Path

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.out / name).open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    @property
    def paid(self) -> dict[str, str]:
        return {row["worker_id"]: row["fund_id"] for row in self.table("allocations.csv")}

    @property
    def report(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.out / "report.json").read_text(encoding="utf-8"))
        return loaded

    @property
    def reasons(self) -> dict[str, str]:
        return {row["worker_id"]: row["reason"] for row in self.table("unfunded.csv")}


@dataclass
class Offline:
    """A scratch folder with the inputs of a match."""

    folder: Path
    runner: CliRunner = field(default_factory=CliRunner)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def call(self, *arguments: str) -> Outcome:
        app = typer.Typer()
        register(app)
        done = self.runner.invoke(app, list(arguments), env={"COLUMNS": "300"})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Outcome(done.exit_code, done.stdout, done.stderr, self.out)

    def allocate(
        self,
        workers: str | bytes | Sequence[str] = (WORKER,),
        funds: str | bytes | Sequence[str] = (FUND,),
        *more: str,
    ) -> Outcome:
        """Lists are rows under the right header; text and bytes are whole files."""
        for name, header, content in (
            ("workers.csv", WORKERS_HEADER, workers),
            ("funds.csv", FUNDS_HEADER, funds),
        ):
            if not isinstance(content, str | bytes):
                content = "\n".join([header, *content]) + "\n"
            self.write(name, content)
        return self.call(
            "allocate",
            "--workers",
            str(self.folder / "workers.csv"),
            "--funds",
            str(self.folder / "funds.csv"),
            "--out",
            str(self.out),
            *more,
        )


@pytest.fixture
def offline(tmp_path: Path) -> Offline:
    return Offline(tmp_path)


MONTHLY = {"JKK": 10_000, "JKM": 6_800, "JHT": 20_000}


def _cost(worker: dict[str, str], fund: dict[str, str]) -> int:
    total = 0
    for programme in worker["programmes"].split("+"):
        monthly = MONTHLY.get(programme, 35_000 if fund["kind"] == "csr" else 42_000)
        if programme in ("JKK", "JKM"):
            exact = monthly * (1 - Fraction(fund["jkk_jkm_discount"] or "0"))
            monthly = int(exact + Fraction(1, 2))
        total += monthly
    return total * int(worker["months"])


def _accepts(fund: dict[str, str], worker: dict[str, str]) -> bool:
    def listed(column: str) -> list[str]:
        return fund[column].split(";") if fund[column] else []

    village = worker["village"]
    return (
        (not listed("regions") or any((village + ".").startswith(r + ".") for r in listed("regions")))
        and (not listed("occupations") or worker["occupation"] in listed("occupations"))
        and (not listed("programmes") or set(worker["programmes"].split("+")) <= set(listed("programmes")))
        and (not fund["max_months"] or int(worker["months"]) <= int(fund["max_months"]))
    )


def recheck(outcome: Outcome) -> None:
    """Hold the written files against the contract, sharing no code with the product."""
    folder = outcome.out.parent

    def rows(path: Path) -> list[dict[str, str]]:
        with path.open(newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    workers = {row["worker_id"]: row for row in rows(folder / "workers.csv")}
    funds = {row["fund_id"]: row for row in rows(folder / "funds.csv")}
    lines = outcome.table("allocations.csv")
    unfunded = outcome.table("unfunded.csv")
    ids = [line["worker_id"] for line in lines] + [line["worker_id"] for line in unfunded]
    assert sorted(ids) == sorted(workers), "every worker is in exactly one of the two files"
    spent: Counter[str] = Counter()
    heads: Counter[str] = Counter()
    by_district: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        worker, fund = workers[line["worker_id"]], funds[line["fund_id"]]
        assert _accepts(fund, worker), (fund, worker)
        assert line["months"] == worker["months"]
        assert int(line["amount_rupiah"]) == _cost(worker, fund)
        spent[fund["fund_id"]] += int(line["amount_rupiah"])
        heads[fund["fund_id"]] += 1
        by_district[fund["fund_id"]][worker["village"][:8]] += 1
    summary = {row["fund_id"]: row for row in outcome.table("funds.csv")}
    assert list(summary) == list(funds)
    for fund_id, fund in funds.items():
        assert spent[fund_id] <= int(fund["amount_rupiah"])
        assert int(summary[fund_id]["spent_rupiah"]) == spent[fund_id]
        assert int(summary[fund_id]["left_rupiah"]) == int(fund["amount_rupiah"]) - spent[fund_id]
        assert int(summary[fund_id]["workers"]) == heads[fund_id]
        if fund["head_count_cap"]:
            assert heads[fund_id] <= int(fund["head_count_cap"])
        if fund["district_cap"]:
            assert max(by_district[fund_id].values(), default=0) <= int(fund["district_cap"])
        if fund["min_workers"] and heads[fund_id]:
            assert heads[fund_id] >= int(fund["min_workers"])
    report = outcome.report
    assert report["workers"] == len(workers) and report["funded"] == len(lines)
    coverage = next(tier for tier in report["tiers"] if tier["name"] == "coverage")
    assert coverage["value"] == sum(int(workers[line["worker_id"]]["priority"]) for line in lines)
    assert coverage["value"] <= coverage["bound"] + 1e-6


Recheck = Callable[[Outcome], None]
