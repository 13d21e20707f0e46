"""``gotong allocate``, ``explain`` and ``what-if``: the match without database or broker.

Exit codes: 0 done; 1 the job failed or was cancelled; 2 wrong usage or input, and then nothing is
written at all.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from models.tariff import parse_month


class SpokenLanguage(StrEnum):
    """The language of an explanation."""

    EN = "en"
    ID = "id"


def register(app: typer.Typer) -> None:
    """Add the three commands to the main application."""
    app.command("allocate")(allocate)
    app.command("explain")(explain)
    app.command("what-if")(what_if)


def _seconds(value: float) -> float:
    if not math.isfinite(value) or value <= 0:
        raise typer.BadParameter("expected a number of seconds above 0")
    return value


def _month(value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return parse_month(value)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Seconds = Annotated[
    float,
    typer.Option(
        "--time-limit",
        callback=_seconds,
        help="Seconds for the solver; the best plan found by then is verified and kept.",
    ),
]
RunDirectory = Annotated[
    Path | None,
    typer.Option(
        "--run",
        exists=True,
        file_okay=False,
        help="Directory of a finished run; without it, the match that stands in the database.",
    ),
]
Regency = Annotated[
    str | None, typer.Option(help="Without --run: regency code; the first served one if left out.")
]


def allocate(
    workers: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Needs: workers.csv.")],
    funds: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Pledges and budgets: funds.csv.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Directory for the result.")],
    previous: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="An earlier allocations.csv to stay close to."),
    ] = None,
    policy: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Aims and their order: a TOML file."),
    ] = None,
    tariffs: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Prices that replace the built-in ones: a CSV file."),
    ] = None,
    start_month: Annotated[
        str | None,
        typer.Option(
            help="First month of all needs, such as 2027-01. Then a fund pays no month after the one it "
            "expires in; without it, expiry only ranks funds."
        ),
    ] = None,
    time_limit: Seconds = 60.0,
) -> None:
    """Match workers to funds from CSV files and write who is paid by whom, and why.

    Needs no database and no broker. Exit code 0: done; 1: failed or cancelled; 2: wrong input,
    nothing written.
    """
    # The solver's libraries take a second to load; the other commands need not wait for them.
    from gotong.offline_match import run_allocate

    raise typer.Exit(
        run_allocate(workers, funds, out, previous, policy, tariffs, _month(start_month), time_limit)
    )


def explain(
    worker: Annotated[str, typer.Argument(help="A worker_id of the run; without --run a need's number.")],
    run: RunDirectory = None,
    regency: Regency = None,
    language: Annotated[SpokenLanguage, typer.Option(help="Language of the answer.")] = SpokenLanguage.EN,
) -> None:
    """Say why a worker is paid by this fund, or by none."""
    from gotong.offline_match import run_explain

    raise typer.Exit(run_explain(worker, run, regency, language.value))


def what_if(
    run: RunDirectory = None,
    regency: Regency = None,
    fund: Annotated[str | None, typer.Option(help="The fund that the question is about.")] = None,
    add_rupiah: Annotated[
        int | None, typer.Option(help="Rupiah more (or, negative, less) for --fund.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="RULE=VALUE",
            help="Another rule for --fund, as funds.csv would say it: regions=64.02.05, max_months=6. "
            "May be repeated.",
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="What if --fund were gone.")] = False,
    new_funds: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Further funds: a file like funds.csv."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Another policy: a TOML file.")
    ] = None,
    time_limit: Seconds = 60.0,
    as_json: Annotated[bool, typer.Option("--json", help="Write the answer as JSON.")] = False,
) -> None:
    """Ask what other money, other rules, another fund or another policy would change.

    The match is solved again in memory; nothing is stored.
    """
    from gotong.offline_match import Question, run_what_if

    question = Question(fund, add_rupiah, tuple(change or ()), remove, new_funds, policy)
    raise typer.Exit(run_what_if(run, regency, question, time_limit, as_json))
