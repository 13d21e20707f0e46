"""Commands of the finance officer: enrolment, expiry, resuming after a halt."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from gotong.data_commands import open_data

_PANEL = "Officer"
_PROBLEMS_SHOWN = 100

Officer = Annotated[str, typer.Option(help="Who does this; it stands in the audit record.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    enrol = typer.Typer(
        help="Enrolment files for the social-security agency, and its answers.", no_args_is_help=True
    )
    enrol.command("export")(export)
    enrol.command("again")(write_again)
    enrol.command("import")(import_answer)
    app.add_typer(enrol, name="enrol", rich_help_panel=_PANEL)
    app.command("expire", rich_help_panel=_PANEL)(expire)
    app.command("resume", rich_help_panel=_PANEL)(resume)
    app.command("cancel-match", rich_help_panel=_PANEL)(cancel_match)


def export(
    fund: Annotated[str, typer.Argument(help="The fund whose approved workers are to be enrolled.")],
    officer: Officer,
    out: Annotated[Path, typer.Option(help="Folder for the files.", file_okay=False)] = Path(),
) -> None:
    """Write the fund's approved, unsent lines as CSV and XLSX with a control total.

    The files hold NIKs and names: keep them only as long as the agency needs them.
    """
    from gotong.attach import open_context
    from workflow.enrol import NothingToEnrolError, export_enrolment

    with open_data() as (settings, engine):
        try:
            files = export_enrolment(engine, open_context(settings).vault, fund, officer, out, _now())
        except NothingToEnrolError as error:
            _stop(str(error), 1)
        except LookupError as error:
            _stop(str(error), 2)
    typer.echo(f"{files.lines} lines, control total Rp {files.total_rupiah}")
    typer.echo(f"{files.csv_path}\n{files.xlsx_path}")


def write_again(
    fund: Annotated[str, typer.Argument(help="The fund whose last enrolment files are to be written again.")],
    officer: Officer,
    out: Annotated[Path, typer.Option(help="Folder for the files.", file_okay=False)] = Path(),
) -> None:
    """Write the files of the fund's last enrolment batch again, the same to the byte.

    For when the export stored its batch and died before its files were written.
    """
    from gotong.attach import open_context
    from workflow.enrol import repeat_export

    with open_data() as (settings, engine):
        try:
            files = repeat_export(engine, open_context(settings).vault, fund, officer, out, _now())
        except LookupError as error:
            _stop(str(error), 2)
    typer.echo(f"{files.lines} lines, control total Rp {files.total_rupiah}")
    typer.echo(f"{files.csv_path}\n{files.xlsx_path}")


def import_answer(
    answer: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The agency's .csv or .xlsx.")],
    officer: Officer,
) -> None:
    """Reconcile the agency's answer line by line. A wrong row stops the whole file; twice is harmless."""
    from workflow.import_files import FileUnreadableError, read_table
    from workflow.reconcile import AnswerUnreadableError, parse_answers, reconcile_answers

    try:
        lines = parse_answers(read_table(answer))
    except FileUnreadableError as error:
        _stop(f"{answer}: {error}", 2)
    except AnswerUnreadableError as error:
        for problem in error.problems[:_PROBLEMS_SHOWN]:
            typer.echo(f"gotong: {problem}", err=True)
        _stop(str(error), 2)
    with open_data() as (_, engine):
        outcome = reconcile_answers(engine, lines, officer, _now())
    for name, count in sorted(outcome.outcomes.items()):
        typer.echo(f"{count:>8} {name}")


def expire() -> None:
    """Expire what funds whose window has ended have not spent; the schedule does this every day."""
    from workflow.expire import expire_funds

    with open_data() as (_, engine):
        codes = expire_funds(engine, _now())
    typer.echo(f"{len(codes)} fund(s) expired{': ' if codes else ''}{', '.join(codes)}")


def cancel_match(
    regency: Annotated[str, typer.Argument(help="Code of the regency whose match is to be stopped.")],
    officer: Officer,
) -> None:
    """Stop the match that is under way; what stands proposed stays. The next change asks for another."""
    from workflow.cancel_match import NothingRunsError
    from workflow.cancel_match import cancel_match as cancel

    with open_data() as (_, engine):
        try:
            run_id = cancel(engine, regency, officer, _now())
        except NothingRunsError as error:
            _stop(str(error), 1)
    typer.echo(f"Match {run_id} stops within a second or two.")


def resume(
    regency: Annotated[str, typer.Argument(help="Code of a regency that an audit breach has halted.")],
    officer: Officer,
) -> None:
    """Let a halted regency allocate again, once the audit is clean."""
    from workflow.halt import resume_regency

    with open_data() as (_, engine):
        try:
            findings = resume_regency(engine, regency, officer, _now())
        except LookupError as error:
            _stop(str(error), 2)
    if findings:
        _stop(f"the audit still has {len(findings)} finding(s); see: gotong audit", 1)
    typer.echo(f"{regency} allocates again")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _stop(message: str, code: int) -> NoReturn:
    typer.echo(f"gotong: {message}", err=True)
    raise typer.Exit(code)
