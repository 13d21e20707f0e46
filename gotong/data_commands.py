"""Commands that read or feed the data: audit, status, dlq, events, import.

Each finds the running house's database, or starts the embedded one for as long as it works. What is sent
while nothing runs waits in the outbox for the next ``gotong up``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from sqlalchemy import Engine

    from gotong.settings import Settings
    from workflow.intake import SubmitOutcome

_PANEL = "Data"
_PROBLEMS_SHOWN = 20
#: One source for all files: the same row sent in another file is still the same event.
_FILE_SOURCE = "/gotong/files"


class ImportKind(StrEnum):
    """What a file holds."""

    workers = "workers"
    pledges = "pledges"
    budgets = "budgets"


InputFile = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="The file to read.")
]
Partial = Annotated[bool, typer.Option("--partial", help="Take the good rows although others are wrong.")]
Topic = Annotated[str | None, typer.Option(help="Only this topic.")]
Reason = Annotated[str | None, typer.Option(help="Only this reason code.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status", rich_help_panel=_PANEL)(status)
    app.command("audit", rich_help_panel=_PANEL)(audit)
    app.command("import", rich_help_panel=_PANEL)(import_file)
    events = typer.Typer(help="Send events.", no_args_is_help=True)
    events.command("send")(send_events)
    app.add_typer(events, name="events", rich_help_panel=_PANEL)
    dlq = typer.Typer(
        help="Dead letters: events that were refused, each with its reason.", no_args_is_help=True
    )
    dlq.command("list")(list_letters)
    dlq.command("show")(show_letter)
    dlq.command("replay")(replay_letters)
    app.add_typer(dlq, name="dlq", rich_help_panel=_PANEL)


def status(
    as_json: AsJson = False,
    regency: Annotated[
        str | None, typer.Option(help="Regency code; the first served one if left out.")
    ] = None,
) -> None:
    """Show what came in, what was refused and why, what is proposed, and the money by fund."""
    from gotong.status import print_status, read_status

    with open_data() as (settings, engine):
        figures = read_status(engine, settings, _served(settings, regency))
    if as_json:
        typer.echo(json.dumps(figures, ensure_ascii=False, indent=2))
    else:
        print_status(figures)


def audit(as_json: AsJson = False) -> None:
    """Recompute every balance from the journal and its lines; exit 1 and name each difference if any."""
    from workflow.audit import audit as run_audit

    with open_data() as (_, engine):
        findings = run_audit(engine)
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {
                        "check": finding.check,
                        "subject": finding.subject,
                        "difference_rupiah": finding.difference_rupiah,
                        "message": finding.message,
                    }
                    for finding in findings
                ],
                ensure_ascii=False,
                indent=2,
            )
        )
    elif not findings:
        typer.echo(
            "The books agree: every balance is what its journal says, and every line is carried by its fund."
        )
    else:
        for finding in findings:
            typer.echo(f"{finding.subject}: {finding.message} [{finding.check}]")
        typer.echo(f"{len(findings)} difference{'s' if len(findings) > 1 else ''} found", err=True)
    raise typer.Exit(1 if findings else 0)


def send_events(file: InputFile, partial: Partial = False) -> None:
    """Send JSON lines: complete CloudEvents, or workers with a plain nik (sealed before anything is stored).

    Sending the same file again changes nothing: a line gets its event id from its content.
    """
    from gotong.attach import open_context
    from workflow.intake import submit_event_lines

    with open_data(create=True) as (settings, engine), file.open("rb") as lines:
        outcome = submit_event_lines(
            engine, open_context(settings), lines, source=_FILE_SOURCE, partial=partial
        )
    _report_submission(outcome)


def import_file(
    kind: Annotated[
        ImportKind, typer.Argument(metavar="KIND", help="What the rows are: workers, pledges or budgets.")
    ],
    file: InputFile,
    partial: Partial = False,
) -> None:
    """Import a table (.csv or .xlsx) of workers, pledges or budget lines as events.

    Every row is checked first; one wrong row stops the file unless --partial is given.
    """
    from gotong.attach import open_context
    from workflow.import_files import FileUnreadableError, read_table
    from workflow.intake import submit_fund_events, submit_worker_events

    try:
        with open_data(create=True) as (settings, engine):
            context = open_context(settings)
            if kind is ImportKind.workers:
                outcome = submit_worker_events(
                    engine, context, read_table(file), source=_FILE_SOURCE, first_row=2, partial=partial
                )
            else:
                funds: Literal["pledges", "budgets"] = "pledges" if kind is ImportKind.pledges else "budgets"
                outcome = submit_fund_events(
                    engine,
                    context,
                    funds,
                    read_table(file),
                    source=_FILE_SOURCE,
                    first_row=2,
                    partial=partial,
                )
    except FileUnreadableError as error:
        typer.echo(f"gotong: {file}: {error}", err=True)
        raise typer.Exit(2) from None
    _report_submission(outcome)


def list_letters(
    topic: Topic = None,
    reason: Reason = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that were sent again.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most this many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, newest first, without their contents."""
    from rich.markup import escape

    from workflow.dead_letter import list_dead_letters

    with open_data() as (_, engine):
        letters = list_dead_letters(engine, topic=topic, reason=reason, waiting_only=not every, limit=limit)
    if as_json:
        fields = ("id", "topic", "partition", "offset", "position", "reason", "detail", "attempt")
        rows = [
            {name: getattr(letter, name) for name in fields}
            | {
                "received_at": letter.received_at.isoformat(),
                "replayed_at": letter.replayed_at and letter.replayed_at.isoformat(),
            }
            for letter in letters
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    if not letters:
        typer.echo("No dead letters.")
        return
    table = _table("Id", "Received (UTC)", "Topic", "Reason", "Detail", "Attempt")
    for letter in letters:
        when = f"{letter.received_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(
            str(letter.id), when, letter.topic, letter.reason, escape(letter.detail), str(letter.attempt)
        )
    _print(table)


def show_letter(
    letter_id: Annotated[int, typer.Argument(metavar="ID", help="As gotong dlq list shows it.")],
) -> None:
    """Show one dead letter: why it was refused and what it held, names and numbers of people masked."""
    from gotong.attach import open_context
    from models.reason import REASONS
    from workflow.dead_letter import show_dead_letter

    with open_data() as (settings, engine):
        view = show_dead_letter(engine, open_context(settings).vault, letter_id)
    if view is None:
        typer.echo(f"gotong: there is no dead letter {letter_id}", err=True)
        raise typer.Exit(1)
    letter = view.summary
    typer.echo(
        f"Dead letter {letter.id}, attempt {letter.attempt},"
        f" received {letter.received_at:%Y-%m-%d %H:%M:%S} UTC"
    )
    typer.echo(
        f"From   {letter.topic}, partition {letter.partition}, offset {letter.offset},"
        f" event {letter.position}"
    )
    typer.echo(f"Reason {letter.reason}: {REASONS.get(letter.reason, '')}")
    typer.echo(f"Detail {letter.detail}")
    if letter.replayed_at:
        typer.echo(f"Sent again {letter.replayed_at:%Y-%m-%d %H:%M:%S} UTC")
    typer.echo("Headers")
    for name, value in sorted(view.headers.items()):
        typer.echo(f"  {name}: {value}")
    typer.echo(f"Payload, {view.payload_bytes} bytes")
    typer.echo(view.payload)


def replay_letters(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Which ones.")] = None,
    topic: Topic = None,
    reason: Reason = None,
    every: Annotated[bool, typer.Option("--all", help="All that wait.")] = False,
) -> None:
    """Send dead letters again, with their original bytes, after the cause was mended."""
    from gotong.attach import open_context
    from workflow.dead_letter import replay_dead_letters

    if not (ids or topic or reason or every):
        raise typer.BadParameter("name ids, --topic or --reason, or say --all")
    if ids and (topic or reason or every):
        raise typer.BadParameter("name ids or a filter, not both")
    with open_data() as (settings, engine):
        outcome = replay_dead_letters(
            engine, open_context(settings).vault, ids or None, topic=topic, reason=reason
        )
    typer.echo(f"{len(outcome.replayed)} sent again.")
    for letter_id, why in sorted(outcome.skipped.items()):
        typer.echo(f"gotong: {letter_id} not sent: {why}", err=True)
    raise typer.Exit(1 if outcome.skipped else 0)


@contextmanager
def open_data(*, create: bool = False) -> Iterator[tuple[Settings, Engine]]:
    """Settings and database of this house, for one command; see ``gotong.attach.open_database``."""
    from gotong.attach import open_database
    from gotong.settings import load_settings

    settings = load_settings()
    with open_database(settings, create=create) as engine:
        yield settings, engine


def _served(settings: Settings, regency: str | None) -> str:
    if regency is not None and regency not in settings.regencies:
        raise typer.BadParameter(
            f"{regency} is not served here; GOTONG_REGENCIES has {', '.join(settings.regencies)}",
            param_hint="--regency",
        )
    return regency or settings.regencies[0]


def _report_submission(outcome: SubmitOutcome) -> None:
    for warning in outcome.warnings[:_PROBLEMS_SHOWN]:
        typer.echo(f"gotong: {warning} (taken all the same)", err=True)
    for problem in outcome.problems[:_PROBLEMS_SHOWN]:
        typer.echo(f"gotong: {problem}", err=True)
    if len(outcome.problems) > _PROBLEMS_SHOWN:
        typer.echo(f"gotong: … and {len(outcome.problems) - _PROBLEMS_SHOWN} more problems", err=True)
    if outcome.problems and not outcome.events:
        typer.echo("gotong: nothing was taken; mend the rows, or take the good ones with --partial", err=True)
    else:
        plural = "" if outcome.events == 1 else "s"
        typer.echo(f"{outcome.events:,} event{plural} taken; the stream workers publish what waits.")
    raise typer.Exit(2 if outcome.problems else 0)


def _table(*columns: str) -> Table:
    from rich import box
    from rich.table import Table

    return Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)


def _print(content: Any) -> None:
    from rich.console import Console

    # A file or pipe gets whole lines: nothing is cut to a terminal's width.
    Console(width=None if sys.stdout.isatty() else 200).print(content)
