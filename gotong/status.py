"""Status: one regency's figures, the queue and the processes, for people and for programs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from sqlalchemy import Engine

from gotong.run_file import read_run_file
from gotong.settings import Settings


def read_status(engine: Engine, settings: Settings, regency: str) -> dict[str, Any]:
    """Everything ``gotong status`` tells, ready for JSON: amounts are whole rupiah, times ISO 8601."""
    from workflow.outbox import count_unsettled
    from workflow.pause_intake import read_pauses
    from workflow.report import read_overview

    figures = read_overview(engine, regency)
    with engine.connect() as connection:
        waiting, in_flight, _ = count_unsettled(connection)
    run = figures.last_run
    running = read_run_file(settings.data_dir)
    return {
        "regency": regency,
        "running": running is not None,
        "portal_url": running.portal_url if running else None,
        "events": {
            "received": figures.events_received,
            "registered": figures.registered,
            "rejected": figures.rejected,
            "outcomes": figures.outcomes,
            "waiting_in_outbox": waiting,
            "in_flight": in_flight,
        },
        "dead_letters": figures.dead_letters,
        "paused_intake": [
            {**asdict(pause.cause), "paused_at": pause.paused_at.isoformat()} for pause in read_pauses(engine)
        ],
        "needs": {"waiting": figures.waiting, "proposed": figures.proposed},
        "reserved_rupiah": figures.reserved_rupiah,
        "last_run": None if run is None else {**asdict(run), "finished_at": run.finished_at.isoformat()},
        "match_under_way": None
        if figures.under_way is None
        else {**asdict(figures.under_way), "started_at": figures.under_way.started_at.isoformat()},
        "funds": [
            {
                **asdict(fund),
                "window_to": fund.window_to.isoformat(),
                "available_rupiah": fund.available_rupiah,
            }
            for fund in figures.funds
        ],
        "districts": [{**asdict(district), "ratio": district.ratio} for district in figures.districts],
    }


def print_status(status: dict[str, Any]) -> None:
    """The same for a person."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from gotong.figures import say_gap, say_rupiah

    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    events = status["events"]
    console.print(f"[bold]Regency {status['regency']}[/bold]  {_say_running(status)}")
    console.print(
        f"Events     {events['received']:,} received, {events['registered']:,} needs registered,"
        f" {events['rejected']:,} rejected; {events['waiting_in_outbox'] + events['in_flight']:,} under way"
    )
    needs = status["needs"]
    console.print(
        f"Needs      {needs['proposed']:,} proposed, {needs['waiting']:,} waiting;"
        f" {say_rupiah(status['reserved_rupiah'])} reserved"
    )
    run = status["last_run"]
    if run:
        console.print(
            f"Last match {run['needs']:,} needs in {run['seconds']:.1f} s, {run['finished_at'][:19]} UTC:"
            f" {say_gap(run['gap'])}"
        )
    match = status["match_under_way"]
    if match:
        gap = "" if match["gap"] is None else f", {say_gap(match['gap'])}"
        console.print(f"Matching   {match['phase'] or 'starting'}, {match['seconds']:.0f} s so far{gap}")
    for pause in status["paused_intake"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(pause["reasons"].items()))
        console.print(
            f"[bold red]PAUSED[/bold red]     {pause['topic']} since {pause['paused_at'][:19]} UTC:"
            f" {pause['refused']:,} of {pause['events']:,} events refused ({reasons})"
        )
        console.print(f"           e.g. {pause['example']}", markup=False)
        console.print(
            f"           mend the cause, then: gotong intake resume {pause['topic']} --officer NAME"
        )
    for reason, count in sorted(status["dead_letters"].items()):
        console.print(f"Rejected   {count:,} {reason}")
    table = Table(
        "Fund", "Kind", "Pledged", "Reserved", "Available", "Workers", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns[2:]:
        column.justify = "right"
    for fund in sorted(status["funds"], key=lambda each: -each["pledged_rupiah"]):
        amounts = (fund[f"{bucket}_rupiah"] for bucket in ("pledged", "reserved", "available"))
        table.add_row(
            fund["code"], fund["kind"], *(f"{amount:,}" for amount in amounts), f"{fund['workers']:,}"
        )
    if status["funds"]:
        console.print(table)


def _say_running(status: dict[str, Any]) -> str:
    return f"running, portal {status['portal_url']}" if status["running"] else "nothing runs here now"
