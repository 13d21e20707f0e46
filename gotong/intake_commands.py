"""Commands of whoever operates the house: let paused intake go on, back the database up and restore it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated

import typer

from gotong.data_commands import open_data

_PANEL = "Data"

Officer = Annotated[str, typer.Option(help="Who does this; it stands in the audit record.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    intake = typer.Typer(help="Intake that stands still.", no_args_is_help=True)
    intake.command("resume")(resume)
    app.add_typer(intake, name="intake", rich_help_panel=_PANEL)
    app.command("backup", rich_help_panel=_PANEL)(backup)
    app.command("restore", rich_help_panel=_PANEL)(restore)


def resume(
    topic: Annotated[str, typer.Argument(help="The paused topic, as gotong status names it.")],
    officer: Officer,
) -> None:
    """Let the intake of a paused topic go on; what was sent so far may then become dead letters.

    If more than the limit of what is sent from now on is refused, it pauses again.
    """
    from workflow.pause_intake import resume_intake

    with open_data() as (_, engine):
        try:
            resume_intake(engine, topic, officer, dt.datetime.now(dt.UTC))
        except LookupError as error:
            typer.echo(f"gotong: {error}", err=True)
            raise typer.Exit(2) from None
    typer.echo(f"intake of {topic} goes on")


def backup(
    file: Annotated[Path, typer.Argument(dir_okay=False, help="The file to write; it must not exist yet.")],
) -> None:
    """Write the whole database to FILE, as of one moment, while everything goes on.

    NIKs and names in it are encrypted; keep the master key elsewhere, without it they cannot be read.
    """
    from gotong.backup import BackupError, backup_database

    with open_data() as (_, engine):
        try:
            backup_database(engine, file)
        except BackupError as error:
            typer.echo(f"gotong: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo(f"{file}: {file.stat().st_size:,} bytes")


def restore(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, readable=True, help="As gotong backup wrote it.")
    ],
    officer: Officer,
) -> None:
    """Replace the database's contents by FILE, all of it or nothing. No process of Gotong may be running.

    Workers started afterwards read again what the broker has from that moment on. Decisions and answers of
    the time in between are not events: officers must take them again.
    """
    from gotong.backup import BackupError, restore_database

    with open_data(create=True) as (_, engine):
        try:
            restore_database(engine, file, officer, dt.datetime.now(dt.UTC))
        except BackupError as error:
            typer.echo(f"gotong: {error}", err=True)
            raise typer.Exit(1) from None
    typer.echo("restored; look with 'gotong audit', then start the house")
