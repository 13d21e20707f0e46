"""The command line: every command of Gotong, its help and its exit codes.
 0 - done; 1 - the check or job failed; 2 - wrong usage, settings or input. An error is one line on standard
error that says what to do; a traceback there is a defect.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    # Typer carries its own copy of Click, without public names for these two types.
    from typer._click.core import Command, Context

DONE: Final = 0
FAILED: Final = 1
WRONG_INPUT: Final = 2

#: Commands of gotong/allocate_commands.py. Their solver takes a second to import.
_MATCH_COMMANDS: Final = {
    "allocate": "Match workers and funds from CSV files, without database or broker.",
    "explain": "Say why a worker of a finished match was funded, or not.",
    "what-if": "Ask what a finished match would gain from other funds or rules.",
}


class LazyGroup(TyperGroup):
    """A group that imports the match commands only when one of them is called."""

    def list_commands(self, ctx: Context) -> list[str]:
        """Ours first, in the order of the journey."""
        return [*super().list_commands(ctx), *_MATCH_COMMANDS]

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        """A light stand-in for a match command, enough for the list of commands."""
        if cmd_name in _MATCH_COMMANDS:
            return TyperCommand(cmd_name, help=_MATCH_COMMANDS[cmd_name], rich_help_panel="The match alone")
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Context, args: list[str]) -> tuple[str | None, Command | None, list[str]]:
        """The command to run, imported now."""
        if args and args[0] in _MATCH_COMMANDS:
            return args[0], _load_match_command(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def _load_match_command(name: str) -> Any:
    from gotong.allocate_commands import register

    match_app = typer.Typer()
    register(match_app)
    group = typer.main.get_command(match_app)
    return group.commands[name]  # type: ignore[attr-defined]


def make_app() -> typer.Typer:
    """The command line with all its commands."""
    from gotong import account_commands, data_commands, intake_commands, officer_commands, process_commands

    app = typer.Typer(
        name="gotong",
        cls=LazyGroup,
        help="Gotong matches uncovered vulnerable workers with CSR pledges and APBD budget lines.",
        epilog="Settings are environment variables named GOTONG_…; none is required. See README.md.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_show_version)
    process_commands.register(app)
    data_commands.register(app)
    intake_commands.register(app)
    officer_commands.register(app)
    account_commands.register(app)
    return app


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"gotong {version('gotong')}")
        raise typer.Exit(DONE)


def _show_version(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Options of the command line itself."""


def main() -> None:
    """Run the command line and exit."""
    from gotong.supervise import follow_owner

    follow_owner()
    try:
        make_app()()
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except Exception as error:  # noqa: BLE001 - the last stop before a person
        _explain(error)


def _explain(error: Exception) -> None:
    from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

    from gotong.settings import SettingError
    from gotong.up import StartError

    if isinstance(error, SettingError):
        _fail(str(error), WRONG_INPUT)
    if isinstance(error, StartError):
        _fail(str(error), FAILED)
    if isinstance(error, OperationalError):
        reason = str(error.orig).strip().splitlines()[0] if error.orig else "no reason given"
        _fail(f"the database does not answer: {reason}", FAILED)
    if isinstance(error, ProgrammingError) and "does not exist" in str(error.orig):
        reason = str(error.orig).strip().splitlines()[0]
        _fail(f"the database's schema is not that of this version ({reason}); run: gotong migrate", FAILED)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        _fail("the connection to the database was lost", FAILED)
    raise error


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        typer.echo(f"gotong: {line}", err=True)
    sys.exit(code)
