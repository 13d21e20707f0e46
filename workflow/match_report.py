"""What a match says about itself: the tables and the report of a run directory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.programme import write_bundle
from models.tariff import write_month
from optimizer.problem import NONE, AllocationProblem, FundKind, Int32, Int64
from workflow.explain_match import NARROW_POINTS, NOT_REACHED, OUTBID, say
from workflow.match_columns import blank_where, column_of, text_column
from workflow.match_problem import MatchNames
from workflow.match_reasons import BINDING, REASONS, MatchReasons
from workflow.match_run import MatchRun, pick, write_table

_CODE = {name: code for code, name in enumerate(REASONS)}
_LIMITS = ("head_count_cap", "district_cap", "amount_left", "min_workers")


def run_tables(run: MatchRun, reasons: MatchReasons) -> dict[str, Callable[[Path], None]]:
    """The further tables of a run directory by file name, each with the function that writes it."""
    return {
        "unfunded.csv": lambda path: _write_unfunded(path, run, reasons),
        "funds.csv": lambda path: _write_funds(path, run, reasons),
        "alternatives.csv": lambda path: _write_alternatives(path, run, reasons),
    }


def _write_unfunded(path: Path, run: MatchRun, reasons: MatchReasons) -> None:
    lost = np.flatnonzero(run.result.fund_of_worker == NONE)
    details, detail_of = _tell_reasons(run.problem, run.names, reasons, lost)
    write_table(
        path,
        {
            "worker_id": run.names.worker_ids.take(column_of(lost)),
            "reason": pick(REASONS, reasons.reason[lost]),
            "detail": pick(details, detail_of),
        },
    )


def _tell_reasons(
    problem: AllocationProblem, names: MatchNames, reasons: MatchReasons, lost: Int64
) -> tuple[list[str], Int32]:
    """The distinct sentences for some unfunded needs, and which of them each need has.

    A sentence is built once per distinct set of facts it mentions, not once per need.
    """
    workers, code = problem.workers, reasons.reason[lost].astype(np.int64)
    fund = reasons.fund[lost].astype(np.int64)
    # Whole points are enough for a reader, and keep the distinct sentences few.
    points = np.where(reasons.points[lost] < NARROW_POINTS, 0, np.ceil(reasons.points[lost])).astype(np.int64)
    zero = np.zeros(len(lost), dtype=np.int64)

    def read_by(column: npt.NDArray[np.integer[Any]], *rules: str) -> Int64:
        """The column where the need's sentence mentions it, else 0."""
        return np.where(np.isin(code, [_CODE[rule] for rule in rules]), column[lost], zero)

    cost_class = read_by(workers.cost_class, "amount_left")
    columns = [
        code,
        np.where(np.isin(code, [_CODE[name] for name in (*_LIMITS, OUTBID, NOT_REACHED)]), fund, NONE),
        np.where(code == _CODE[OUTBID], points, 0),
        read_by(workers.village, "region_accepted", "occupation_accepted"),
        read_by(workers.occupation, "occupation_accepted"),
        read_by(workers.bundle, "programmes_accepted"),
        read_by(workers.months, "months_within_limit", "window_covers_months"),
        read_by(workers.start_month, "window_covers_months"),
        cost_class,
    ]
    distinct, detail_of = _distinct_rows(columns)
    funds = problem.funds
    details = []
    for row in distinct:
        reason, payer, lacking, village, occupation, bundle, months, start, paid = (
            int(value) for value in row
        )
        facts: dict[str, str | int | float] = {
            "points": float(lacking),
            "village": names.villages[village],
            "occupation": names.occupations[occupation],
            "bundle": write_bundle(names.bundles[bundle]),
            "months": months,
            "start": write_month(start),
            "end": write_month(start + months - 1),
        }
        if payer != NONE:
            facts |= {
                "fund": names.funds[payer].fund_id,
                "total": int(funds.amount_rupiah[payer]),
                "minimum": int(funds.min_workers[payer]),
                "cost": int(problem.cost_rupiah[paid, funds.cost_class[payer]]),
            }
        details.append(say(REASONS[reason], "en", facts))
    return details, detail_of


def _distinct_rows(columns: list[Int64]) -> tuple[npt.NDArray[np.int64], Int32]:
    """The distinct rows of some columns, and the number of each row among them."""
    number = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        if not len(column):
            break
        low, high = int(column.min()), int(column.max())
        if low == high:
            continue
        key = number * (high - low + 1) + (column - low)
        _, number = np.unique(key, return_inverse=True)
    first = np.zeros(int(number.max(initial=-1)) + 1, dtype=np.int64)
    first[number] = np.arange(len(number))
    return np.stack([column[first] for column in columns], axis=1), number.astype(np.int32)


def _write_funds(path: Path, run: MatchRun, reasons: MatchReasons) -> None:
    funds, occupancy = run.names.funds, reasons.occupancy
    amounts = run.problem.funds.amount_rupiah
    write_table(
        path,
        {
            "fund_id": text_column([fund.fund_id for fund in funds]),
            "kind": text_column([fund.payer.value for fund in funds]),
            "amount_rupiah": column_of(amounts),
            "spent_rupiah": column_of(amounts - occupancy.left_rupiah),
            "left_rupiah": column_of(occupancy.left_rupiah),
            "workers": column_of(occupancy.heads),
            "marginal_score_per_million_rupiah": column_of(np.round(reasons.score_per_million_rupiah, 6)),
            "marginal_workers_per_million_rupiah": column_of(np.round(reasons.workers_per_million_rupiah, 6)),
            "binds": pick(BINDING, reasons.binds),
        },
    )


def _write_alternatives(path: Path, run: MatchRun, reasons: MatchReasons) -> None:
    """For every proposal the best other fund that accepts it, and both prices in points."""
    funded = np.flatnonzero(run.result.fund_of_worker != NONE)
    ids = [fund.fund_id for fund in run.names.funds]
    other = reasons.alternative[funded]
    asks = np.where(other == NONE, 0.0, reasons.alternative_asks[funded])
    write_table(
        path,
        {
            "worker_id": run.names.worker_ids.take(column_of(funded)),
            "fund_id": pick(ids, run.result.fund_of_worker[funded]),
            "asks_points": column_of(np.round(reasons.asks[funded], 3)),
            "alternative_fund_id": pick(ids, other),
            "alternative_asks_points": blank_where(column_of(np.round(asks, 3)), other == NONE),
        },
    )


def build_report(
    run: MatchRun, reasons: MatchReasons, seconds: Mapping[str, float], peak_memory_bytes: int
) -> dict[str, Any]:
    """``report.json`` as plain data (DESIGN: tiers, status, seconds, memory, workers, funded, and more).

    ``seconds`` are the phases outside the solver; the solver's own stand beside them.
    """
    problem, result, names = run.problem, run.result, run.names
    workers = problem.workers
    funded = result.fund_of_worker != NONE
    district = problem.district_of_village[workers.village]
    current = workers.current_fund
    planned = current != NONE

    def add(values: npt.NDArray[np.integer[Any]], which: npt.NDArray[np.bool_]) -> int:
        return int(values[which].sum(dtype=np.int64))

    def by_district(which: npt.NDArray[np.bool_], weights: Int32 | None = None) -> list[int]:
        weight = None if weights is None else weights[which]
        return [int(value) for value in np.bincount(district[which], weight, problem.districts)]

    everyone = np.ones(len(workers), dtype=np.bool_)
    districts = [
        {
            "district": code,
            "workers": total,
            "funded": covered,
            "coverage": _round(covered / total if total else None),
            "worker_months": months,
        }
        for code, total, covered, months in sorted(
            zip(
                names.districts,
                by_district(everyone),
                by_district(funded),
                by_district(funded, workers.months),
                strict=True,
            )
        )
    ]
    spent = problem.funds.amount_rupiah - reasons.occupancy.left_rupiah
    by_apbd = problem.funds.kind == FundKind.APBD
    return {
        "status": result.status.value,
        "workers": len(workers),
        "funded": int(funded.sum()),
        "funds": len(problem.funds),
        # Python integers: a thousand funds of 2^53 rupiah do not fit into 64 bits.
        "available_rupiah": sum(problem.funds.amount_rupiah.tolist()),
        "spent_rupiah": int(spent.sum()),
        "spent_apbd_rupiah": int(spent[by_apbd].sum()),
        "tiers": [
            {
                "name": tier.name,
                "value": _round(tier.value),
                "bound": _round(tier.bound),
                "gap": _round(tier.gap),
                "seconds": _round(tier.seconds),
                "proven": tier.proven,
            }
            for tier in result.tiers
        ],
        # The plain score favours short, cheap cover, so the months stand beside it.
        "coverage": {
            "counts": run.given.policy.coverage_counts,
            "score": add(workers.priority, funded),
            "score_of_all": add(workers.priority, everyone),
            "worker_months": add(workers.months, funded),
            "worker_months_of_all": add(workers.months, everyone),
            "score_worker_months": add(workers.priority.astype(np.int64) * workers.months, funded),
            "score_worker_months_of_all": add(workers.priority.astype(np.int64) * workers.months, everyone),
        },
        "districts": districts,
        "reasons": {
            name: int(count)
            for name, count in zip(
                REASONS, np.bincount(reasons.reason[~funded], minlength=len(REASONS)), strict=True
            )
            if count
        },
        "previous": {
            "proposals": int(planned.sum()),
            "kept": int((planned & (current == result.fund_of_worker)).sum()),
            "moved": int((planned & funded & (current != result.fund_of_worker)).sum()),
            "dropped": int((planned & ~funded).sum()),
        },
        "policy": run.given.policy.to_mapping(),
        "seconds": {name: _round(value) for name, value in {**seconds, **result.seconds}.items()},
        "peak_memory_bytes": peak_memory_bytes,
        "notes": list(run.given.notes),
    }


def _round(value: float | None) -> float | None:
    """A figure that JSON can hold: infinities and NaN become null."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else round(value, 9)
