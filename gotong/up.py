"""Up: bring the whole house up, keep it running, and take it down in order.

PostgreSQL and the broker come first (embedded, or the configured ones), then the schema and the regions,
then the stream workers and the portal as supervised processes. The embedded broker lives in this very
process.
"""

from __future__ import annotations

import datetime as dt
import errno
import socket
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Engine, text

from gotong.run_file import describe_own_run, keep_run_file, read_run_file
from gotong.settings import LOCAL_KEY_FILE, SettingError, Settings, load_master_keys, make_folder
from gotong.supervise import ChildState, StopSignals, Supervisor, own_command

#: Set for the children only; see gotong/attach.py.
LOG_ID_VARIABLE: Final = "GOTONG_INTERNAL_LOG_ID"
SOCKET_VARIABLE: Final = "GOTONG_INTERNAL_SOCKET"
#: Tells the portal that it shows a demo: accounts to try, figures for everybody.
DEMO_VARIABLE: Final = "GOTONG_INTERNAL_DEMO"
_PORTS_TRIED: Final = 50
_READY_TIMEOUT_SECONDS: Final = 60.0


class StartError(RuntimeError):
    """The house cannot be brought up; the message is one line for a person."""


class StopRequestedError(Exception):
    """A person or the system asked to stop before the house was up."""


@dataclass(frozen=True, slots=True)
class House:
    """A running house: where its parts are, and its supervised processes."""

    engine: Engine
    database_url: str
    kafka_brokers: str
    portal_url: str
    supervisor: Supervisor
    master_keys: list[bytes]

    @property
    def processes(self) -> list[ChildState]:
        """Workers and portal as they are now."""
        return self.supervisor.states


@contextmanager
def open_house(
    settings: Settings,
    *,
    command: str,
    local_key_allowed: bool | None = None,
    say: Callable[[str], None],
    stop: StopSignals,
    check_database: Callable[[Engine], None] | None = None,
) -> Iterator[House]:
    """Bring everything up, yield when the portal answers, and take everything down on leaving.

    ``say`` gets each step in a few words. ``check_database`` may refuse the migrated database before
    anything is started on it. Raises ``StartError``, ``SettingError``, or ``StopRequestedError`` when
    ``stop`` came first.
    """
    from models.database import open_engine
    from models.migrate import migrate
    from workflow.load_regions import load_regions

    if settings.embedded_broker and settings.workers > 1:
        raise SettingError(
            f"GOTONG_WORKERS: {settings.workers} workers need a broker of your own (GOTONG_KAFKA_BROKERS);"
            " the embedded one serves one"
        )
    make_folder(settings.data_dir)
    running = read_run_file(settings.data_dir)
    if running is not None:
        raise StartError(
            f"Gotong is running here already (gotong {running.command}, process {running.pid},"
            f" {running.portal_url}); stop it first, or set GOTONG_DATA_DIR to another folder"
        )
    master_keys = load_master_keys(settings, local_key_allowed=local_key_allowed)

    def step(words: str) -> None:
        if stop.received:
            raise StopRequestedError
        say(words)

    with ExitStack() as stack:
        database_url = stack.enter_context(_open_database(settings, step))
        kafka_brokers, log_id = stack.enter_context(_open_broker(settings, step))
        step("Bringing the database to the current schema")
        migrate(database_url)
        engine = open_engine(database_url, application_name=f"gotong-{command}")
        stack.callback(engine.dispose)
        load_regions(engine, settings.regencies)
        check_master_keys(engine, master_keys)
        if check_database is not None:
            check_database(engine)
        listener = stack.enter_context(listen(settings.host, settings.port, search=True))
        port = listener.getsockname()[1]
        if port != settings.port:
            say(f"Port {settings.port} is taken; the portal uses {port}")
        portal_url = f"http://{_host_in_url(settings.host)}:{port}"
        environment = _child_environment(settings, database_url, kafka_brokers, log_id)
        if command == "demo":
            environment = {**environment, DEMO_VARIABLE: "1"}
        else:
            say_first_administrator(engine, portal_url, say)
        run = describe_own_run(
            command,
            embedded_database=settings.embedded_database,
            portal_url=portal_url,
        )
        stack.enter_context(keep_run_file(settings.data_dir, run))
        step(f"Starting {settings.workers} stream worker{'s' if settings.workers > 1 else ''} and the portal")
        supervisor = stack.enter_context(Supervisor())
        for number in range(1, settings.workers + 1):
            supervisor.add(
                f"worker-{number}",
                own_command("worker"),
                settings.logs_dir / f"worker-{number}.log",
                environment={**environment, **_metrics_port(settings, number)},
            )
        supervisor.add(
            "portal",
            own_command("portal"),
            settings.logs_dir / "portal.log",
            environment={**environment, SOCKET_VARIABLE: str(listener.fileno())},
            keep_open=(listener.fileno(),),
        )
        _wait_for_portal(portal_url, supervisor, stop)
        yield House(engine, database_url, kafka_brokers, portal_url, supervisor, master_keys)


def say_first_administrator(engine: Engine, portal_url: str, say: Callable[[str], None]) -> None:
    """Where nobody can sign in yet, print the first administrator's invitation, this once."""
    from workflow.account import ensure_first_administrator

    invitation = ensure_first_administrator(engine, dt.datetime.now(dt.UTC))
    if invitation is None:
        return
    say(f"Nobody can sign in yet. First administrator: {invitation.email}; choose a password at")
    say(f"{portal_url}/invitation/{invitation.token}")
    say("This link works once, for 7 days, and is not shown again (another: gotong account link EMAIL).")


@contextmanager
def _open_database(settings: Settings, say: Callable[[str], None]) -> Iterator[str]:
    if settings.database_url is not None:
        say("Using the PostgreSQL of GOTONG_DATABASE_URL")
        yield settings.database_url.get_secret_value()
        return
    from gotong.postgres import EmbeddedPostgres, PostgresError

    say("Starting the embedded PostgreSQL")
    server = EmbeddedPostgres(settings.data_dir / "postgres")
    try:
        url = server.start()
    except PostgresError as error:
        raise StartError(str(error)) from None
    try:
        yield url
    finally:
        server.stop()


@contextmanager
def _open_broker(settings: Settings, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Brokers and the name of this life of theirs, empty for a broker that keeps its log."""
    if settings.kafka_brokers is not None:
        say(f"Using the Kafka brokers {settings.kafka_brokers}")
        yield settings.kafka_brokers, ""
        return
    from gotong.broker import BrokerError, EmbeddedBroker

    say("Starting the embedded Kafka cluster")
    broker = EmbeddedBroker()
    try:
        brokers = broker.start()
    except BrokerError as error:
        raise StartError(str(error)) from None
    try:
        yield brokers, uuid.uuid4().hex[:12]
    finally:
        broker.stop()


def check_master_keys(engine: Engine, master_keys: list[bytes]) -> None:
    """Refuse keys that do not open what the database holds: new hashes would not match the old ones."""
    from models.vault import Vault

    known = [Vault(key).key_id for key in master_keys]
    with engine.connect() as connection:
        strange = connection.scalar(
            text("SELECT nik_key_id FROM worker WHERE nik_key_id <> ALL(CAST(:known AS text[])) LIMIT 1"),
            {"known": known},
        )
    if strange is not None:
        raise SettingError(
            f"GOTONG_MASTER_KEY: the database holds NIKs sealed with key {strange},"
            " which is not among these keys"
        )


@contextmanager
def listen(host: str, port: int, *, search: bool) -> Iterator[socket.socket]:
    """A listening socket on ``port``, or with ``search`` on the next free one above it.

    Held by the parent, so that a portal that starts again keeps its address and loses no visitor.
    """
    last = min(port + _PORTS_TRIED, 65536) if search else port + 1
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except OSError:
        raise SettingError(f"GOTONG_HOST: {host!r} is no address of this machine") from None
    for candidate in range(port, last):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Its connections inherit this. asyncio sets it only on sockets that name their protocol, and without
        # it a page's body waits for the answer to its headers: 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            listener.bind((host, candidate))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if isinstance(error, PermissionError):
                raise SettingError(f"GOTONG_PORT: {candidate} needs more rights than this user has") from None
            if error.errno != errno.EADDRINUSE:
                raise SettingError(f"GOTONG_HOST: cannot listen on {host}: {error.strerror}") from None
            continue
        with listener:
            yield listener
        return
    if not search:
        raise SettingError(f"GOTONG_PORT: {port} is taken")
    raise SettingError(f"GOTONG_PORT: every port from {port} to {last - 1} is taken")


def adopt_socket(descriptor: int) -> socket.socket:
    """The listening socket that the parent process handed over."""
    return socket.socket(fileno=descriptor)


def _child_environment(
    settings: Settings, database_url: str, kafka_brokers: str, log_id: str
) -> Mapping[str, str]:
    environment = {
        "GOTONG_DATABASE_URL": database_url,
        "GOTONG_KAFKA_BROKERS": kafka_brokers,
        "GOTONG_DATA_DIR": str(settings.data_dir),
        "GOTONG_REGENCIES": ",".join(settings.regencies),
        "GOTONG_LANGUAGE": settings.language,
        LOG_ID_VARIABLE: log_id,
    }
    if settings.master_key is None and settings.master_key_file is None:
        environment["GOTONG_MASTER_KEY_FILE"] = str(settings.data_dir / LOCAL_KEY_FILE)
    return environment


def _metrics_port(settings: Settings, number: int) -> Mapping[str, str]:
    """Each worker's own port, counted up from the first one's."""
    first = settings.worker_metrics_port
    return {} if first is None else {"GOTONG_WORKER_METRICS_PORT": str(first + number - 1)}


def _wait_for_portal(portal_url: str, supervisor: Supervisor, stop: StopSignals) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # our own machine: no proxy
    deadline = time.monotonic() + _READY_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        try:
            with opener.open(f"{portal_url}/healthz", timeout=2.0) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        portal = supervisor.states[-1]
        if portal.restarts >= 3:
            break
        if stop.wait(0.05):
            raise StopRequestedError
    raise StartError(f"the portal does not answer; see {supervisor.states[-1].log_file}")


def _host_in_url(host: str) -> str:
    if host in {"0.0.0.0", ""}:  # noqa: S104 - asked for by the person
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
