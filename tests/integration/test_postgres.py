"""The embedded PostgreSQL: one owner, no leftovers, any folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from gotong.postgres import (
    EmbeddedPostgres,
    PostgresError,
    PostgresInUseError,
    find_running_url,
    open_postgres,
)

_OWNER = """
import sys, time
from pathlib import Path
from gotong.postgres import EmbeddedPostgres
print(EmbeddedPostgres(Path(sys.argv[1])).start(), flush=True)
time.sleep(600)
"""


def _connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", "", 1))


def _query(url: str, statement: str) -> object:
    with _connect(url) as connection:
        row = connection.execute(statement.encode()).fetchone()  # bytes: a statement, not a template
    return row[0] if row else None


def _servers_of(folder: Path) -> list[psutil.Process]:
    """Every process that has to do with a server in `folder`, the watcher included."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(str(folder) in part for part in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def _await_no_servers(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while _servers_of(folder):
        assert time.monotonic() < deadline, f"left behind: {_servers_of(folder)}"
        time.sleep(0.05)


@contextmanager
def _owner_process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    owner = subprocess.Popen([sys.executable, "-c", _OWNER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert owner.stdout is not None
        yield owner, owner.stdout.readline().strip()
    finally:
        owner.kill()
        owner.wait()
        owner.communicate()


def test_data_survives_a_stop_and_nothing_runs_between(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server, _connect(server.url()) as connection:
        connection.execute("CREATE TABLE fund (name text)")
        connection.execute("INSERT INTO fund VALUES ('Pemkab Kutai Kartanegara')")
    assert _servers_of(tmp_path) == []
    assert find_running_url(tmp_path) is None
    with EmbeddedPostgres(tmp_path) as server:
        assert _query(server.url(), "SELECT name FROM fund") == "Pemkab Kutai Kartanegara"


def test_database_is_utf8_sorted_by_code_point_in_utc_and_durable(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        url = server.url()
        assert _query(url, "SHOW server_encoding") == "UTF8"
        assert _query(url, "SHOW timezone") == "UTC"
        assert _query(url, "SHOW fsync") == "on"
        assert _query(url, "SHOW synchronous_commit") == "on"
        assert _query(url, "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['é','Z','a']) x") == "Zaé"
        assert _query(url, "SELECT upper('é')") == "É"


def test_application_is_no_superuser(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server, pytest.raises(psycopg.errors.InsufficientPrivilege):
        _query(server.url(), "COPY pg_class TO PROGRAM 'cat'")


def test_nothing_listens_on_the_network(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        servers = [process for process in _servers_of(tmp_path) if process.name() == "postgres"]
        assert servers
        assert [each.net_connections("inet") for each in servers] == [[] for _ in servers]


def test_only_this_user_can_reach_the_socket(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path) as server:
        folder = Path(server.url().partition("host=")[2])
        assert folder.stat().st_mode & 0o077 == 0


def test_a_restarted_server_keeps_its_address_also_in_a_folder_with_a_long_path(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / ("x" * 120))
    addresses = []
    for _ in range(2):
        addresses.append(server.start())
        server.stop()
    assert addresses[0] == addresses[1]


@pytest.mark.parametrize(
    "name", ["with a blank", "ünïcödé", "deep/" + "x" * 120], ids=["blank", "unicode", "long"]
)
def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    with EmbeddedPostgres(folder) as server:
        socket_folder = Path(server.url().partition("host=")[2])
        assert _query(server.url(), "SELECT 1") == 1
        assert find_running_url(folder) == server.url()
    assert not socket_folder.exists()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_owner_that_dies_takes_the_server_along(tmp_path: Path, how: signal.Signals) -> None:
    with _owner_process(tmp_path) as (owner, url):
        assert _query(url, "SELECT 1") == 1
        owner.send_signal(how)
        owner.wait()
        _await_no_servers(tmp_path)
    with EmbeddedPostgres(tmp_path) as server:
        assert _query(server.url(), "SELECT 1") == 1


def test_server_whose_watcher_was_killed_too_is_replaced(tmp_path: Path) -> None:
    with _owner_process(tmp_path) as (owner, url):
        assert _query(url, "SELECT 1") == 1
        server_pid = int((tmp_path / "data" / "postmaster.pid").read_text().splitlines()[0])
        watcher = psutil.Process(server_pid).parent()
        assert watcher is not None
        watcher.kill()
        owner.kill()
        owner.wait()
    assert psutil.pid_exists(server_pid), (
        "the server must outlive its watcher here, or this test shows nothing"
    )
    with EmbeddedPostgres(tmp_path) as server:
        assert _query(server.url(), "SELECT 1") == 1
        assert not psutil.pid_exists(server_pid)


def test_stale_pid_file_whose_number_another_process_took(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pid_file = tmp_path / "data" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    owner = (tmp_path / "data").stat()
    # A process of the server's own user: PostgreSQL itself already ignores those of others.
    with subprocess.Popen(["sleep", "600"], user=owner.st_uid) as other:
        pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        os.chown(pid_file, owner.st_uid, owner.st_gid)
        with EmbeddedPostgres(tmp_path) as server:
            assert _query(server.url(), "SELECT 1") == 1
        assert other.poll() is None, "the other process is none of our business"
        other.kill()


def test_server_killed_in_mid_flight_recovers_what_was_committed(tmp_path: Path) -> None:
    with _owner_process(tmp_path) as (owner, url):
        with _connect(url) as connection:
            connection.execute("CREATE TABLE journal (amount_rupiah bigint)")
            connection.execute("INSERT INTO journal VALUES (16800)")
        for process in _servers_of(tmp_path):
            process.kill()
        owner.kill()
        owner.wait()
    with EmbeddedPostgres(tmp_path) as server:
        assert _query(server.url(), "SELECT sum(amount_rupiah)::bigint FROM journal") == 16800


def test_second_owner_is_refused_and_a_reader_attaches(tmp_path: Path) -> None:
    with _owner_process(tmp_path) as (owner, url):
        with pytest.raises(PostgresInUseError, match=f"in use by process {owner.pid}"):
            EmbeddedPostgres(tmp_path).start()
        with open_postgres(tmp_path) as attached:
            assert attached == url
            assert _query(attached, "SELECT 1") == 1
        assert _query(url, "SELECT 1") == 1, "a reader that leaves must not stop the owner's server"


def test_reader_alone_starts_the_server_for_itself(tmp_path: Path) -> None:
    with open_postgres(tmp_path) as url:
        assert _query(url, "SELECT 1") == 1
    assert _servers_of(tmp_path) == []


def test_forked_child_neither_keeps_the_folder_nor_stops_the_server(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path)
    server.start()
    child = os.fork()
    if child == 0:
        server.stop()
        time.sleep(60)
        os._exit(0)
    try:
        time.sleep(0.5)
        assert _query(server.url(), "SELECT 1") == 1
        server.stop()
        with EmbeddedPostgres(tmp_path) as again:
            assert _query(again.url(), "SELECT 1") == 1
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        server.stop()


def test_folder_of_another_version_is_named_not_touched(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path):
        pass
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(PostgresError, match="made by PostgreSQL 9"):
        EmbeddedPostgres(tmp_path).start()


def test_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(PostgresError, match="max_connections"):
        EmbeddedPostgres(tmp_path, settings={"max_connections": "many"}).start()
    assert _servers_of(tmp_path) == []
    with EmbeddedPostgres(tmp_path) as server:
        assert _query(server.url(), "SELECT 1") == 1


def test_half_made_cluster_is_made_again(tmp_path: Path) -> None:
    (tmp_path / "data.new").mkdir()
    (tmp_path / "data.new" / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path) as server:
        assert _query(server.url(), "SELECT 1") == 1
