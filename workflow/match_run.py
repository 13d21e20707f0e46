"""The run directory: what one offline match leaves behind, and how it is read again.

For people: ``allocations.csv``, ``unfunded.csv``, ``funds.csv``, ``alternatives.csv`` and
``report.json``. For later questions (explain, what-if): ``run-workers.arrow``, ``run-terms.json``
and ``run-prices.npz``, which hold the needs, the terms and the proof, so the answer does not
depend on input files that may have changed since.

All files are written beside their places first. Only when all are complete is the earlier
``report.json`` taken away, the others replaced, and the new ``report.json`` put last: a
directory without it is a run that did not finish.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from pyarrow import ipc

from models.programme import Programme, parse_bundle, write_bundle
from models.tariff import Payer, TariffRow, TariffTable, build_table
from optimizer.policy import Policy
from optimizer.problem import NONE, AllocationProblem, Int32
from optimizer.result import AllocationResult, Prices, Status, TierResult
from optimizer.rules import pair_cost_rupiah
from workflow.match_columns import as_numpy, column_of, text_column
from workflow.match_problem import FundTerms, MatchNames, WorkerRows, build_problem

REPORT = "report.json"
_WORKERS = "run-workers.arrow"
_TERMS = "run-terms.json"
_PRICES = "run-prices.npz"
_FORMAT = 1
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


class RunError(Exception):
    """A run directory cannot be read; the message says why and what would help."""


@dataclass(frozen=True, slots=True, eq=False)
class MatchInput:
    """Everything a match was made from. ``start_month`` None means that windows were not applied."""

    rows: WorkerRows
    funds: tuple[FundTerms, ...]
    tariffs: TariffTable
    policy: Policy
    today: date
    current_fund: Int32 | None = None
    start_month: int | None = None
    notes: tuple[str, ...] = field(default=())

    def build(self) -> tuple[AllocationProblem, MatchNames]:
        """The problem to solve and its dictionary."""
        return build_problem(
            self.rows,
            self.funds,
            self.tariffs,
            today=self.today,
            current_fund=self.current_fund,
            start_month=self.start_month,
        )


@dataclass(frozen=True, slots=True, eq=False)
class MatchRun:
    """A finished match: what went in and what came out."""

    given: MatchInput
    problem: AllocationProblem
    names: MatchNames
    result: AllocationResult


# ---------------------------------------------------------------- tables


def write_table(path: Path, columns: Mapping[str, Any]) -> None:
    """A CSV with a plain header; text is quoted only when some cell of the table needs it."""
    table = pa.table({name: column for name, column in columns.items()})
    with path.open("wb") as stream:
        stream.write((",".join(columns) + "\n").encode())
        for quoting in ("none", "needed"):
            position = stream.tell()
            try:
                pacsv.write_csv(
                    table,
                    stream,
                    pacsv.WriteOptions(include_header=False, quoting_style=quoting, batch_size=1 << 16),
                )
                return
            except pa.ArrowInvalid:  # some cell holds a comma, a quote or a line end
                stream.seek(position)
                stream.truncate()


def pick(words: Sequence[str], indices: Any) -> Any:
    """``words[i]`` for every index as an Arrow string column; ``NONE`` gives an empty cell."""
    known = text_column([*words, ""])
    wanted = np.where(np.asarray(indices) < 0, len(words), indices).astype(np.int64)
    return known.take(column_of(wanted))


def write_allocations(path: Path, run: MatchRun) -> None:
    """``worker_id, fund_id, months, amount_rupiah`` for every funded worker, in file order."""
    funded = np.flatnonzero(run.result.fund_of_worker >= 0)
    write_table(
        path,
        {
            "worker_id": run.names.worker_ids.take(column_of(funded)),
            "fund_id": pick([fund.fund_id for fund in run.names.funds], run.result.fund_of_worker[funded]),
            "months": column_of(run.problem.workers.months[funded]),
            "amount_rupiah": column_of(run.result.amount_rupiah[funded]),
        },
    )


# ---------------------------------------------------------------- state


def _write_workers(path: Path, run: MatchRun) -> None:
    rows = run.given.rows
    current = run.problem.workers.current_fund

    def coded(codes: Int32, words: Sequence[str]) -> Any:
        return pa.DictionaryArray.from_arrays(column_of(codes), text_column(words))

    table = pa.table(
        {
            "worker_id": rows.worker_ids,
            "village": coded(rows.village, rows.villages),
            "occupation": coded(rows.occupation, rows.occupations),
            "bundle": coded(rows.bundle, [write_bundle(bundle) for bundle in rows.bundles]),
            "months": column_of(rows.months),
            "priority": column_of(rows.priority),
            "sex": column_of(rows.sex),
            "birth_year": column_of(rows.birth_year),
            "current_fund": column_of(current),
            "fund": column_of(run.result.fund_of_worker),
        }
    )
    with ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def fund_to_mapping(fund: FundTerms) -> dict[str, Any]:
    """A fund's terms as plain JSON data."""
    return {
        "fund_id": fund.fund_id,
        "payer": fund.payer.value,
        "amount_rupiah": fund.amount_rupiah,
        "regions": list(fund.regions),
        "occupations": list(fund.occupations),
        "programmes": [programme.value for programme in fund.programmes],
        "sexes": list(fund.sexes),
        "age_from": fund.age_from,
        "age_to": fund.age_to,
        "max_months": fund.max_months,
        "head_count_cap": fund.head_count_cap,
        "district_cap": fund.district_cap,
        "min_workers": fund.min_workers,
        "window_from": fund.window_from,
        "window_to": fund.window_to,
        "expires": None if fund.expires is None else fund.expires.isoformat(),
        "discount": str(fund.discount),
        "switches": sorted(fund.switches),
    }


def fund_from_mapping(data: Mapping[str, Any]) -> FundTerms:
    """The terms that :func:`fund_to_mapping` wrote."""
    return FundTerms(
        **{
            **data,
            "payer": Payer(data["payer"]),
            "regions": tuple(data["regions"]),
            "occupations": tuple(data["occupations"]),
            "programmes": tuple(Programme(code) for code in data["programmes"]),
            "sexes": tuple(data["sexes"]),
            "expires": None if data["expires"] is None else date.fromisoformat(data["expires"]),
            "discount": Fraction(data["discount"]),
            "switches": frozenset(data["switches"]),
        }
    )


def _tariff_to_mapping(row: TariffRow) -> dict[str, Any]:
    return {
        "programme": row.programme.value,
        "payer": None if row.payer is None else row.payer.value,
        "sector": row.sector,
        "valid_from": row.valid_from,
        "valid_to": row.valid_to,
        "monthly_rupiah": row.monthly_rupiah,
        "percent_of_base": None if row.percent_of_base is None else str(row.percent_of_base),
        "lowest_rupiah": row.lowest_rupiah,
        "highest_rupiah": row.highest_rupiah,
        "discount": str(row.discount),
        "switch": row.switch,
        "law": row.law,
        "mark": row.mark,
        "row_number": row.row_number,
    }


def _tariff_from_mapping(data: Mapping[str, Any]) -> TariffRow:
    return TariffRow(
        **{
            **data,
            "programme": Programme(data["programme"]),
            "payer": None if data["payer"] is None else Payer(data["payer"]),
            "percent_of_base": None if data["percent_of_base"] is None else Fraction(data["percent_of_base"]),
            "discount": Fraction(data["discount"]),
        }
    )


def _terms(run: MatchRun, run_id: str) -> dict[str, Any]:
    given, result = run.given, run.result
    return {
        "format": _FORMAT,
        "run_id": run_id,
        "today": given.today.isoformat(),
        "start_month": given.start_month,
        "notes": list(given.notes),
        "policy": given.policy.to_mapping(),
        "funds": [fund_to_mapping(fund) for fund in given.funds],
        "districts": list(run.names.districts),
        "tariffs": [_tariff_to_mapping(row) for row in given.tariffs.rows],
        "status": result.status.value,
        "seconds": dict(result.seconds),
        "tiers": [asdict(tier) for tier in result.tiers],
    }


def _write_prices(path: Path, prices: Prices) -> None:
    where = np.flatnonzero(prices.district)
    np.savez(
        path,
        fund=prices.fund,
        head=prices.head,
        gap=np.float64(prices.gap),
        district_shape=np.array(prices.district.shape, dtype=np.int64),
        district_at=where,
        district=prices.district.ravel()[where],
    )


def _read_prices(path: Path) -> Prices:
    # Opened here, because NumPy leaves a file open that turns out to be no archive.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        district = np.zeros(tuple(stored["district_shape"]), dtype=np.float64)
        district.ravel()[stored["district_at"]] = stored["district"]
        return Prices(stored["fund"], stored["head"], district, gap=float(stored["gap"]))


# ---------------------------------------------------------------- the directory


def write_run(
    directory: Path, run: MatchRun, tables: Mapping[str, Callable[[Path], None]], report: Mapping[str, Any]
) -> None:
    """Put a whole run into ``directory``, replacing an earlier one; other files there stay.

    ``tables`` are further files by name, each written by its function. Raises OSError, after which
    the directory still holds the earlier run, or no ``report.json`` if the failure came while
    files were being replaced.
    """
    made = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    run_id = secrets.token_hex(8)
    beside = directory / f".writing-{run_id}"
    try:
        beside.mkdir()
        write_allocations(beside / "allocations.csv", run)
        for name, write in tables.items():
            write(beside / name)
        _write_workers(beside / _WORKERS, run)
        _write_prices(beside / _PRICES, run.result.prices)
        _write_json(beside / _TERMS, _terms(run, run_id))
        _write_json(beside / REPORT, {"run_id": run_id, **report})
        names = sorted(path.name for path in beside.iterdir())
        (directory / REPORT).unlink(missing_ok=True)
        for name in [*(name for name in names if name != REPORT), REPORT]:
            os.replace(beside / name, directory / name)
        beside.rmdir()
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        if made:
            shutil.rmtree(directory, ignore_errors=True)
        raise


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def read_run(directory: Path) -> MatchRun:
    """The run that ``directory`` holds. Raises :class:`RunError` when there is none to read."""
    if not (directory / REPORT).is_file():
        raise RunError(f"{directory} holds no finished run (no {REPORT}); make one with gotong allocate")
    try:
        terms = json.loads((directory / _TERMS).read_text(encoding="utf-8"))
        report = json.loads((directory / REPORT).read_text(encoding="utf-8"))
        if terms.get("format") != _FORMAT or terms.get("run_id") != report.get("run_id"):
            raise RunError(f"{directory}: {_TERMS} and {REPORT} are of different runs; allocate again")
        with ipc.open_file(str(directory / _WORKERS)) as reader:
            table = reader.read_all()
        prices = _read_prices(directory / _PRICES)
        given, fund_of_worker = _given_from(terms, table)
        problem, names = given.build()
        return MatchRun(given, problem, names, _result_from(terms, problem, fund_of_worker, prices))
    except (*_UNREADABLE, pa.ArrowException) as error:
        raise RunError(f"{directory}: the stored run cannot be read ({error}); allocate again") from error


def _given_from(terms: Mapping[str, Any], table: Any) -> tuple[MatchInput, Int32]:
    table = table.combine_chunks()

    def only_chunk(name: str) -> Any:
        chunks = table.column(name).chunks
        return chunks[0] if chunks else None  # no rows, no chunk

    def numbers(name: str, dtype: Any) -> Any:
        chunk = only_chunk(name)
        return np.zeros(0, dtype=dtype) if chunk is None else as_numpy(chunk, dtype)

    def coded(name: str) -> tuple[Int32, tuple[str, ...]]:
        chunk = only_chunk(name)
        if chunk is None:
            return np.zeros(0, dtype=np.int32), ()
        return as_numpy(chunk.indices, np.int32), tuple(chunk.dictionary.to_pylist())

    village, villages = coded("village")
    occupation, occupations = coded("occupation")
    bundle, bundles = coded("bundle")
    ids = only_chunk("worker_id")
    rows = WorkerRows(
        worker_ids=text_column(()) if ids is None else ids,
        village=village,
        villages=villages,
        occupation=occupation,
        occupations=occupations,
        bundle=bundle,
        bundles=tuple(parse_bundle(text) for text in bundles),
        months=numbers("months", np.int32),
        priority=numbers("priority", np.int32),
        sex=numbers("sex", np.int8),
        birth_year=numbers("birth_year", np.int16),
    )
    given = MatchInput(
        rows=rows,
        funds=tuple(fund_from_mapping(data) for data in terms["funds"]),
        tariffs=build_table(_tariff_from_mapping(data) for data in terms["tariffs"]),
        policy=Policy.from_mapping(terms["policy"]),
        today=date.fromisoformat(terms["today"]),
        current_fund=numbers("current_fund", np.int32),
        start_month=terms["start_month"],
        notes=tuple(terms["notes"]),
    )
    return given, numbers("fund", np.int32)


def _result_from(
    terms: Mapping[str, Any], problem: AllocationProblem, fund_of_worker: Int32, prices: Prices
) -> AllocationResult:
    funded = np.flatnonzero(fund_of_worker != NONE)
    amount = np.zeros(len(fund_of_worker), dtype=np.int64)
    amount[funded] = pair_cost_rupiah(problem, funded, fund_of_worker[funded])
    return AllocationResult(
        status=Status(terms["status"]),
        fund_of_worker=fund_of_worker,
        amount_rupiah=amount,
        tiers=tuple(TierResult(**tier) for tier in terms["tiers"]),
        prices=prices,
        seconds=terms["seconds"],
    )


def read_prices(directory: Path) -> tuple[Prices, tuple[tuple[str, ...], tuple[str, ...]]] | None:
    """The prices of the run in ``directory`` with their fund ids and districts; None without a run.

    For a warm start only, so a directory that cannot be read is no error.
    """
    try:
        terms = json.loads((directory / _TERMS).read_text(encoding="utf-8"))
        report = json.loads((directory / REPORT).read_text(encoding="utf-8"))
        if terms["format"] != _FORMAT or terms["run_id"] != report["run_id"]:
            return None
        funds = tuple(str(fund["fund_id"]) for fund in terms["funds"])
        return _read_prices(directory / _PRICES), (funds, tuple(terms["districts"]))
    except _UNREADABLE:
        return None
