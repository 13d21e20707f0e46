"""Commands for the people who use the portal: create, list, link, role, disable, enable."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from gotong.settings import Settings
    from models.role import Role
    from workflow.account import Invitation

_PANEL = "People"
#: What the audit record says of changes made here, where nobody has signed in.
_ACTOR = "command line"
_REASONS = {
    "email_invalid": "this is not an e-mail address",
    "email_taken": "this e-mail address has an account already",
    "name_missing": "a name is required",
    "scope_wrong": "an officer needs --regency, a company's people --npwp, a verifier --village, an auditor"
    " may have --regency, an administrator has none",
    "regency_unknown": "this regency does not run Gotong here",
    "village_unknown": "there is no village with this code",
    "npwp_invalid": "this is not a company's NPWP",
    "last_administrator": "this is the last administrator; name another one first",
    "wrong_state": "this account is disabled; first: gotong account enable",
}

Email = Annotated[str, typer.Argument(help="The person's e-mail address.")]
RoleName = Annotated[
    str,
    typer.Option("--role", help="officer, company_user, company_admin, verifier, auditor or administrator."),
]
Regency = Annotated[str | None, typer.Option(help="An officer's or auditor's regency, e.g. 64.02.")]
Npwp = Annotated[str | None, typer.Option(help="The company's NPWP.")]
Village = Annotated[str | None, typer.Option(help="A verifier's village, e.g. 64.02.05.2001.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    account = typer.Typer(help="Accounts of the portal.", no_args_is_help=True)
    account.command("create")(create)
    account.command("list")(list_all)
    account.command("link")(link)
    account.command("role")(role)
    account.command("disable")(disable)
    account.command("enable")(enable)
    account.command("forget-authenticator")(forget_authenticator)
    app.add_typer(account, name="account", rich_help_panel=_PANEL)


def create(
    email: Email,
    role: RoleName,
    name: Annotated[str, typer.Option(help="The person's name.")],
    regency: Regency = None,
    npwp: Npwp = None,
    village: Village = None,
) -> None:
    """Make an account and print the invitation, which works once within 7 days."""
    from workflow.account import Scope, create_account

    with _accounts() as (settings, engine):
        invitation = create_account(
            engine,
            _ACTOR,
            email=email,
            name=name,
            role=_known_role(role),
            scope=Scope(regency, npwp, village),
            now=_now(),
        )
    _say_link(settings, invitation)


def list_all() -> None:
    """List the accounts."""
    from workflow.account import list_accounts

    with _accounts() as (_, engine):
        accounts = list_accounts(engine)
    for account in accounts:
        scope = account.regency or account.funder or account.village or "-"
        typer.echo(f"{account.email}  {account.role}  {scope}  {account.state}")


def link(email: Email) -> None:
    """Print a new link: an invitation before the first sign-in, afterwards one for a new password."""
    from workflow.account import issue_link

    with _accounts() as (settings, engine):
        invitation = issue_link(engine, _ACTOR, _id_of(engine, email), _now())
    _say_link(settings, invitation)


def role(
    email: Email, role: RoleName, regency: Regency = None, npwp: Npwp = None, village: Village = None
) -> None:
    """Give another role; open sessions end."""
    from workflow.account import Scope, change_role

    with _accounts() as (_, engine):
        scope = Scope(regency, npwp, village)
        change_role(engine, _ACTOR, _id_of(engine, email), _known_role(role), scope, _now())
    typer.echo(f"{email} is {role} now")


def disable(email: Email) -> None:
    """Shut a person out at once."""
    from workflow.account import disable_account

    with _accounts() as (_, engine):
        disable_account(engine, _ACTOR, _id_of(engine, email), _now())
    typer.echo(f"{email} is disabled")


def enable(email: Email) -> None:
    """Let a disabled person in again."""
    from workflow.account import enable_account

    with _accounts() as (_, engine):
        enable_account(engine, _ACTOR, _id_of(engine, email), _now())
    typer.echo(f"{email} is enabled")


def forget_authenticator(email: Email) -> None:
    """Forget a lost authenticator; the next sign-in sets up a new one."""
    from workflow.account import reset_second_factor

    with _accounts() as (_, engine):
        reset_second_factor(engine, _ACTOR, _id_of(engine, email), _now())
    typer.echo(f"{email} sets up a new authenticator at the next sign-in")


def _known_role(name: str) -> Role:
    from models.role import ROLES

    if name not in ROLES:
        typer.echo(f"gotong: {name!r} is no role; known are {', '.join(ROLES)}", err=True)
        raise typer.Exit(2)
    return name


def _id_of(engine: Engine, email: str) -> uuid.UUID:
    from workflow.account import find_account

    return find_account(engine, email).id


def _say_link(settings: Settings, invitation: Invitation) -> None:
    typer.echo(f"{invitation.email}: give this link on a safe way; it works once and is not shown again")
    typer.echo(f"http://{settings.host}:{settings.port}/{invitation.purpose}/{invitation.token}")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


@contextmanager
def _accounts() -> Iterator[tuple[Settings, Engine]]:
    from gotong.attach import open_database
    from gotong.settings import load_settings
    from workflow.account import AccountRefusedError, AccountUnknownError

    settings = load_settings()
    with open_database(settings) as engine:
        try:
            yield settings, engine
        except AccountRefusedError as error:
            typer.echo(f"gotong: {_REASONS[error.reason]}", err=True)
            raise typer.Exit(2) from None
        except AccountUnknownError:
            typer.echo("gotong: there is no such account; see: gotong account list", err=True)
            raise typer.Exit(2) from None
