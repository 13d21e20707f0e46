"""Commands that run the house or one of its parts: demo, up, portal, worker, migrate."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

_PANEL = "Running"
#: Longer than a browser or a proxy before us keeps an idle connection: who closes it first should be them.
_KEEP_ALIVE_SECONDS = 75
_SWITCH_SECONDS = 0.001

Port = Annotated[
    int | None,
    typer.Option(min=1, max=65535, help="Port of the portal; the next free one when it is taken."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("demo", rich_help_panel=_PANEL)(demo)
    app.command("up", rich_help_panel=_PANEL)(up)
    app.command("portal", rich_help_panel=_PANEL)(portal)
    app.command("worker", rich_help_panel=_PANEL)(worker)
    app.command("migrate", rich_help_panel=_PANEL)(migrate)


def demo(
    workers: Annotated[int, typer.Option(min=0, max=300_000, help="Synthetic workers to stream.")] = 10_000,
    port: Port = None,
    browser: Annotated[bool, typer.Option(help="Open the portal in a browser.")] = True,
    exit_: Annotated[bool, typer.Option("--exit", help="Stop after the summary, for scripts.")] = False,
    seed: Annotated[int, typer.Option(min=1, max=9999, help="Another seed gives other people.")] = 1,
) -> None:
    """Watch it work: stream synthetic workers of Kutai Kartanegara through Kafka into a match.

    Brings its own PostgreSQL and Kafka unless GOTONG_DATABASE_URL and GOTONG_KAFKA_BROKERS are set, loads
    real regions, four budget lines and sixty pledges, then streams the workers as events. Ends with a
    summary and keeps serving the portal until Ctrl-C. A second start continues with what is there.
    """
    from gotong.demo import run_demo
    from gotong.settings import load_settings

    settings = load_settings(port=port)
    raise typer.Exit(run_demo(settings, workers=workers, seed=seed, browser=browser, stop_after=exit_))


def up(port: Port = None) -> None:
    """Run the whole house: database, broker, stream workers and portal, until Ctrl-C.

    Embedded parts stand in for what no setting names. A crashed part is started again; logs are in the data
    folder under logs/.
    """
    from gotong.settings import load_settings
    from gotong.supervise import StopSignals
    from gotong.up import StopRequestedError, open_house

    settings = load_settings(port=port)
    with StopSignals() as stop, suppress(StopRequestedError):
        with open_house(settings, command="up", say=typer.echo, stop=stop) as house:
            typer.echo(f"Running. Portal: {house.portal_url}  Logs: {settings.logs_dir}  Stop with Ctrl-C.")
            while not stop.wait(1.0):
                pass
            typer.echo("Stopping")


def portal(port: Port = None) -> None:
    """Serve the portal alone, on the database of GOTONG_DATABASE_URL or of the house that runs here."""
    import uvicorn

    from gotong.attach import portal_settings
    from gotong.settings import load_settings
    from gotong.up import SOCKET_VARIABLE, adopt_socket, listen
    from portal.app import create_portal

    settings = load_settings(port=port)
    app = create_portal(portal_settings(settings))
    # Pages are made in threads that wait for each other: with Python's own 5 ms, a page that asks the
    # database six times beside one that is being written would lose 30. What stands now stays for good.
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(
        app,
        log_level=settings.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=3,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        lifespan="off",
    )
    inherited = os.environ.get(SOCKET_VARIABLE, "")
    if inherited:
        uvicorn.Server(config).run(sockets=[adopt_socket(int(inherited))])
    else:
        with listen(settings.host, settings.port, search=False) as listener:
            typer.echo(f"Portal: http://{settings.host}:{settings.port}  Stop with Ctrl-C.")
            uvicorn.Server(config).run(sockets=[listener])


def worker() -> None:
    """Run one stream worker on GOTONG_KAFKA_BROKERS and GOTONG_DATABASE_URL.

    Start as many as there is work; Kafka shares the partitions among them.
    """
    from gotong.attach import stream_settings
    from gotong.settings import load_settings
    from streams.worker import run_worker

    raise typer.Exit(run_worker(stream_settings(load_settings())))


def migrate() -> None:
    """Bring the database to the current schema and load the regions. Harmless when repeated."""
    from gotong.attach import migrate_database, open_database
    from gotong.settings import load_settings
    from gotong.up import say_first_administrator

    settings = load_settings()
    changed = migrate_database(settings)
    typer.echo(f"The schema is current; {changed} region rows changed.")
    with open_database(settings) as engine:
        say_first_administrator(engine, f"http://{settings.host}:{settings.port}", typer.echo)
