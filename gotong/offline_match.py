"""What ``gotong allocate``, ``explain`` and ``what-if`` do; every function returns an exit code.

Loaded only when one of them runs, because the solver's libraries take a second to import.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import FrameType
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table

from gotong.attach import open_database
from gotong.settings import load_settings
from models.region import load_regions
from models.tariff import TariffError, TariffTable, default_table, override_table, parse_rows
from optimizer.progress import Progress
from optimizer.result import Prices, Status
from optimizer.verify import VerificationError
from workflow.carry_prices import carry_prices
from workflow.explain_match import explain_worker, tell_worker
from workflow.match_files import (
    FaultList,
    MatchFilesError,
    Refused,
    change_terms,
    read_funds,
    read_previous,
    read_workers,
)
from workflow.match_policy import PolicyFileError, read_policy
from workflow.match_problem import FundTerms, MatchNames
from workflow.match_reasons import find_reasons
from workflow.match_regions import RegionCodes, known_regions
from workflow.match_report import build_report, run_tables
from workflow.match_run import MatchInput, MatchRun, RunError, read_prices, read_run, write_run
from workflow.match_solve import peak_memory_bytes, solve_match
from workflow.standing_match import StandingMatch, read_standing_match
from workflow.what_if import (
    WhatIfAnswer,
    WhatIfError,
    add_funds,
    add_money,
    ask_what_if,
    change_fund,
    find_fund,
    remove_fund,
)

DONE, FAILED, WRONG_INPUT = 0, 1, 2

#: Where no terminal draws a bar, a line of progress at most this often.
_SECONDS_BETWEEN_LINES = 5.0


class _InputError(Exception):
    """Input is wrong; the lines say how."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("; ".join(lines[:3]))


def _stdout() -> Console:
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True)


def _stderr() -> Console:
    return Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)


def run_allocate(
    workers: Path,
    funds: Path,
    out: Path,
    previous: Path | None,
    policy: Path | None,
    tariffs: Path | None,
    start_month: int | None,
    time_limit_seconds: float,
) -> int:
    """Read, match, verify and write. Ctrl-C ends it without writing (exit code 1)."""
    begin = time.perf_counter()
    try:
        if out.exists() and not out.is_dir():
            raise _InputError([f"{out} is a file; expected a directory for the result"])
        given, warm = _read_input(workers, funds, previous, policy, tariffs, start_month)
        read_seconds = time.perf_counter() - begin
        with _watch(time_limit_seconds) as (on_progress, cancelled):
            run, seconds = solve_match(
                given,
                time_limit_seconds=time_limit_seconds,
                warm=warm,
                on_progress=on_progress,
                cancelled=cancelled,
            )
    except (_InputError, TariffError) as error:
        lines = error.lines if isinstance(error, _InputError) else error.problems
        return _refuse(lines)
    except VerificationError as error:
        _stderr().print(f"The plan broke a rule and was thrown away: {error}. Nothing was written.")
        return FAILED
    except (KeyboardInterrupt, MemoryError) as error:
        reason = "Cancelled" if isinstance(error, KeyboardInterrupt) else "Out of memory"
        _stderr().print(f"{reason}. Nothing was written.")
        return FAILED
    if run.result.status is Status.CANCELLED:
        _stderr().print(
            "Cancelled. Nothing was written; --time-limit S keeps the best plan found in S seconds."
        )
        return FAILED
    return _write(out, run, {"read": read_seconds, **seconds}, begin)


def _write(out: Path, run: MatchRun, seconds: dict[str, float], begin: float) -> int:
    started = time.perf_counter()
    reasons = find_reasons(run.problem, run.given.policy, run.result)
    seconds["explain"] = time.perf_counter() - started
    # Writing itself cannot be in the report it writes; "total" ends where it starts.
    seconds["total"] = time.perf_counter() - begin
    report = build_report(run, reasons, seconds, peak_memory_bytes())
    try:
        write_run(out, run, run_tables(run, reasons), report)
    except OSError as error:
        _stderr().print(f"{out} cannot be written: {error.strerror or error}.")
        return FAILED
    for note in run.given.notes:
        _stderr().print(f"Note: {note}")
    console = _stdout()
    first = run.result.tiers[0]
    console.print(
        f"{report['funded']:,} of {report['workers']:,} workers funded by {report['funds']:,} funds: "
        f"Rp {report['spent_rupiah']:,} of Rp {report['available_rupiah']:,}."
    )
    console.print(
        f"{run.result.status.value}: {first.name} {first.value:,.0f}, proven bound {first.bound:,.0f}, "
        f"gap {first.gap:.4%}, {time.perf_counter() - begin:.1f} s. Written to {out}."
    )
    return DONE


def _refuse(lines: Sequence[str]) -> int:
    console = _stderr()
    for line in lines:
        console.print(line)
    return WRONG_INPUT


def _read_input(
    workers: Path,
    funds: Path,
    previous: Path | None,
    policy: Path | None,
    tariffs: Path | None,
    start_month: int | None,
) -> tuple[MatchInput, Callable[[MatchNames], Prices] | None]:
    """Everything that goes in, checked; raises :class:`_InputError` with all that is wrong."""
    today = datetime.now(UTC).date()
    regions = known_regions()
    faults = FaultList()
    try:
        table = _read_tariffs(tariffs)
        wanted = read_policy(policy)
        rows, notes = read_workers(workers, regions, today, faults)
        terms, more = read_funds(funds, regions, faults)
        notes += more
        current = None
        if previous is not None and rows is not None:
            current, more = read_previous(previous, rows.worker_ids, [fund.fund_id for fund in terms], faults)
            notes += more
        faults.stop_if_any()
    except MatchFilesError as error:
        raise _InputError(_tell_faults(error)) from None
    except PolicyFileError as error:
        raise _InputError([str(error)]) from None
    except OSError as error:
        raise _InputError(
            [f"{error.filename or 'input'}: cannot be read: {error.strerror or error}"]
        ) from None
    assert rows is not None
    notes += _note_expired(terms, today, start_month)
    given = MatchInput(
        rows=rows,
        funds=terms,
        tariffs=table,
        policy=wanted,
        today=today,
        current_fund=current,
        start_month=start_month,
        notes=tuple(notes),
    )
    stored = None if previous is None else read_prices(previous.parent)
    if stored is None:
        return given, None
    prices, places = stored
    return given, lambda names: carry_prices(prices, places, names.places)


def _note_expired(terms: Sequence[FundTerms], today: date, start_month: int | None) -> list[str]:
    past = sum(fund.expires is not None and fund.expires < today for fund in terms)
    if not past or start_month is not None:
        return []
    return [f"{past} fund(s) expired before today; --start-month makes expiry binding"]


def _read_tariffs(path: Path | None) -> TariffTable:
    if path is None:
        return default_table()
    try:
        return override_table(default_table(), parse_rows(path.read_text(encoding="utf-8-sig")))
    except UnicodeDecodeError:
        raise _InputError([f"{path.name}: not UTF-8 text; expected CSV"]) from None
    except TariffError as error:
        raise _InputError([f"{path.name}: {problem}" for problem in error.problems[:100]]) from None


def _tell_faults(error: MatchFilesError) -> list[str]:
    rows = "1 wrong row" if error.rows == 1 else f"{error.rows:,} wrong rows"
    more = f" The first {error.named_rows}:" if error.rows > error.named_rows else ""
    return [f"{rows}; nothing was written.{more}", *(str(fault) for fault in error.faults)]


@contextmanager
def _watch(
    time_limit_seconds: float,
) -> Iterator[tuple[Callable[[Progress], None], Callable[[], bool]]]:
    """Show progress on stderr, and turn the first Ctrl-C into a polite request to stop.

    The solver winds up at its next step; a second Ctrl-C ends the process as usual.
    """
    asked = False

    def ask(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with _show_progress(time_limit_seconds) as on_progress:
            yield on_progress, lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _show_progress(time_limit_seconds: float) -> Iterator[Callable[[Progress], None]]:
    console = _stderr()
    if not console.is_terminal:
        yield _line_by_line(console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task: TaskID = bar.add_task("starting", total=time_limit_seconds, figures="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=progress.phase.replace("_", " "),
                completed=min(progress.seconds, time_limit_seconds),
                figures=_figures(progress),
            )

        yield show


def _line_by_line(console: Console) -> Callable[[Progress], None]:
    last_seconds = 0.0

    def show(progress: Progress) -> None:
        nonlocal last_seconds
        if progress.seconds - last_seconds >= _SECONDS_BETWEEN_LINES:
            last_seconds = progress.seconds
            console.print(f"{progress.seconds:6.1f} s  {progress.phase}  {_figures(progress)}")

    return show


def _figures(progress: Progress) -> str:
    parts = []
    if progress.value is not None:
        parts.append(f"score {progress.value:,.0f}")
    if progress.bound is not None:
        parts.append(f"bound {progress.bound:,.0f}")
    if progress.gap is not None:
        parts.append(f"gap {progress.gap:.3%}")
    return "  ".join(parts)


def _open_match(directory: Path | None, regency: str | None) -> StandingMatch:
    """The match of a run directory; without one, what stands in the database."""
    if directory is not None:
        run = read_run(directory)
        return StandingMatch(run.problem, run.names, run.given.policy, run.result, run.given.start_month)
    settings = load_settings()
    with open_database(settings) as engine:
        try:
            return read_standing_match(
                engine, regency or settings.regencies[0], default_table(), datetime.now(UTC)
            )
        except LookupError as error:
            raise RunError(str(error)) from None


def run_explain(
    worker_id: str, directory: Path | None, regency: str | None, language: Literal["en", "id"]
) -> int:
    """Tell one worker's story, from a run directory or from what stands in the database."""
    try:
        run = _open_match(directory, regency)
    except RunError as error:
        return _refuse([str(error)])
    index = run.names.worker_index(worker_id)
    if index is None:
        where = "the database knows no open need" if directory is None else f"{directory} knows no worker"
        known = "the number of a need that waits or is proposed" if directory is None else "a worker_id of it"
        return _refuse([f"{where} with this id; expected {known}"])
    story = explain_worker(run.problem, run.names, run.policy, run.result, index)
    village = str(story.facts["village"])
    name = next((region.name for region in load_regions() if region.code == village), None)
    if name is not None:
        story = replace(story, facts={**story.facts, "village": f"{name} ({village})"})
    for line in tell_worker(story, language):
        _stdout().print(line)
    return DONE


@dataclass(frozen=True, slots=True)
class Question:
    """What to change: money, rules or existence of ``fund``, further funds, the policy."""

    fund: str | None
    add_rupiah: int | None
    rules: tuple[str, ...]
    remove: bool
    new_funds: Path | None
    policy: Path | None


def run_what_if(
    directory: Path | None,
    regency: str | None,
    question: Question,
    time_limit_seconds: float,
    as_json: bool,
) -> int:
    """Solve a match again with something changed and tell the difference; nothing is stored."""
    try:
        run = _open_match(directory, regency)
        funds = _change_funds(run, question, known_regions())
        policy = run.policy if question.policy is None else read_policy(question.policy)
        with _watch(time_limit_seconds) as (on_progress, cancelled):
            answer = ask_what_if(
                run.problem,
                run.names,
                run.result,
                funds,
                policy,
                time_limit_seconds=time_limit_seconds,
                on_progress=on_progress,
                cancelled=cancelled,
            )
    except _InputError as error:
        return _refuse(error.lines)
    except MatchFilesError as error:
        return _refuse(_tell_faults(error))
    except (RunError, WhatIfError, Refused, PolicyFileError, TariffError) as error:
        return _refuse([str(error)])
    except OSError as error:
        return _refuse([f"{error.filename}: cannot be read: {error.strerror}"])
    except VerificationError as error:
        _stderr().print(f"The plan broke a rule and was thrown away: {error}.")
        return FAILED
    except KeyboardInterrupt:
        _stderr().print("Cancelled.")
        return FAILED
    if answer.after.status == Status.CANCELLED:
        _stderr().print("Cancelled.")
        return FAILED
    if as_json:
        _stdout().print(json.dumps(_answer_as_data(answer), indent=2))
    else:
        _tell_answer(answer, _stdout())
    return DONE


def _change_funds(run: StandingMatch, question: Question, regions: RegionCodes) -> tuple[FundTerms, ...]:
    funds = run.names.funds
    asks_about_fund = question.add_rupiah is not None or bool(question.rules) or question.remove
    if asks_about_fund and question.fund is None:
        raise _InputError(["--add-rupiah, --set and --remove need --fund"])
    if question.fund is not None and not asks_about_fund:
        raise _InputError(["--fund needs --add-rupiah, --set or --remove"])
    if not asks_about_fund and question.new_funds is None and question.policy is None:
        raise _InputError(["nothing to ask: give --fund with a change, --new-funds or --policy"])
    if question.fund is not None:
        for rule in question.rules:
            name, equals, value = rule.partition("=")
            if not equals:
                raise _InputError([f"--set {rule!r}: expected RULE=VALUE, such as max_months=6"])
            current = find_fund(funds, question.fund)
            funds = change_fund(funds, change_terms(current, name.strip(), value, regions))
        if question.add_rupiah is not None:
            funds = add_money(funds, question.fund, question.add_rupiah)
        if question.remove:
            funds = remove_fund(funds, question.fund)
    if question.new_funds is not None:
        faults = FaultList()
        added, _notes = read_funds(question.new_funds, regions, faults)
        faults.stop_if_any()
        funds = add_funds(funds, added)
    if run.start_month is not None:
        funds = tuple(fund.closing_in(fund.expires) if fund.expires else fund for fund in funds)
    return funds


def _answer_as_data(answer: WhatIfAnswer) -> dict[str, object]:
    return {
        **asdict(answer),
        "extra_rupiah": answer.extra_rupiah,
        "workers_per_million_rupiah": answer.per_million(answer.after.workers - answer.before.workers),
        "score_per_million_rupiah": answer.per_million(answer.after.score - answer.before.score),
    }


def _tell_answer(answer: WhatIfAnswer, console: Console) -> None:
    before, after = answer.before, answer.after
    totals = Table("", "now", "then", "change", title="What would change")
    for name, was, then in (
        ("workers funded", before.workers, after.workers),
        ("priority score", before.score, after.score),
        ("months of cover", before.worker_months, after.worker_months),
        ("rupiah available", before.available_rupiah, after.available_rupiah),
        ("rupiah spent", before.spent_rupiah, after.spent_rupiah),
        ("of it from APBD", before.apbd_rupiah, after.apbd_rupiah),
    ):
        totals.add_row(name, f"{was:,}", f"{then:,}", f"{then - was:+,}")
    totals.add_row("gap, proven", f"{before.gap:.4%}", f"{after.gap:.4%}", "")
    for column in totals.columns[1:]:
        column.justify = "right"
    console.print(totals)
    console.print(
        f"{answer.gained:,} workers gain cover, {answer.lost:,} lose it, "
        f"{answer.moved:,} are paid by another fund."
    )
    workers = answer.per_million(after.workers - before.workers)
    score = answer.per_million(after.score - before.score)
    if workers is not None and score is not None:
        word = "more" if answer.extra_rupiah > 0 else "less"
        console.print(f"Per Rp 1,000,000 {word}: {abs(workers):.2f} workers, {abs(score):.1f} score.")
    changed = [district for district in answer.districts if district.gained or district.lost]
    if changed:
        names = {region.code: region.name for region in load_regions()}
        table = Table("district", "needs", "funded now", "then", "gained", "lost")
        for district in sorted(changed, key=lambda item: (-(item.gained + item.lost), item.district)):
            table.add_row(
                f"{district.district} {names.get(district.district, '')}".rstrip(),
                f"{district.workers:,}",
                f"{district.before:,}",
                f"{district.now:,}",
                f"{district.gained:,}",
                f"{district.lost:,}",
            )
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)
    console.print("Nothing was stored. Differences smaller than the two gaps may come from the search.")
