"""PostgreSQL with a regency in it, the portal as its own process, and people of every role signed in."""

from __future__ import annotations

import base64
import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import Engine

from benchmarks.intake.events import MASTER_KEY
from benchmarks.portal.seed import COMPANY, REGENCY, VILLAGE, seed
from gotong.postgres import EmbeddedPostgres
from gotong.up import listen
from models.database import open_engine
from models.migrate import migrate
from models.role import Role
from models.vault import Vault
from tests.integration.portal.site import Browser, add_person, sign_in_wholly
from workflow.account import Scope

#: What somebody sets who runs such a database on a machine of its own; fsync stays on.
SERVER_SETTINGS: Final = {
    "shared_buffers": "1GB",
    "effective_cache_size": "4GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "work_mem": "16MB",
    "wal_compression": "on",
}
_START_SECONDS: Final = 600
_PEOPLE: Final[dict[str, tuple[Role, Scope]]] = {
    "officer": ("officer", Scope(regency=REGENCY)),
    "second": ("officer", Scope(regency=REGENCY)),
    "auditor": ("auditor", Scope()),
    "company": ("company_user", Scope(funder=COMPANY)),
    "verifier": ("verifier", Scope(village=VILLAGE)),
    "administrator": ("administrator", Scope()),
}


@dataclass(frozen=True, slots=True)
class Portal:
    """Where it listens, who is signed in, its process, and the database behind it."""

    url: str
    people: dict[str, Browser]
    process_id: int
    engine: Engine


@contextmanager
def open_database(folder: Path, workers: int) -> Iterator[tuple[str, Engine, float]]:
    """URL and engine of a seeded database, and the seconds that took; one that stands is used again."""
    begun = time.monotonic()
    if not (folder / "data" / "PG_VERSION").exists():
        try:
            with _serve(folder) as (_, engine):
                seed(engine, Vault(MASTER_KEY), workers, dt.datetime.now(dt.UTC).replace(microsecond=0))
        except BaseException:
            shutil.rmtree(folder / "data", ignore_errors=True)
            raise
        os.sync()  # what was seeded is on disk before anything is measured
    seeded = time.monotonic() - begun
    with _serve(folder) as (url, engine):
        yield url, engine, seeded


@contextmanager
def _serve(folder: Path) -> Iterator[tuple[str, Engine]]:
    with EmbeddedPostgres(folder, settings=SERVER_SETTINGS) as server:
        url = server.url()
        migrate(url)
        engine = open_engine(url, pool_size=2, application_name="gotong-benchmark")
        try:
            yield url, engine
        finally:
            engine.dispose()


@contextmanager
def open_portal(url: str, engine: Engine, folder: Path) -> Iterator[Portal]:
    """``gotong portal`` on a free port, with everybody signed in."""
    with listen("127.0.0.1", 23_000, search=True) as listener:
        port = listener.getsockname()[1]
    environment = {
        **os.environ,
        "GOTONG_DATABASE_URL": url,
        "GOTONG_MASTER_KEY": base64.b64encode(MASTER_KEY).decode(),
        "GOTONG_DATA_DIR": str(folder / "house"),
    }
    with (folder / "portal.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gotong", "portal", "--port", str(port)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address, process, folder / "portal.log")
        yield Portal(address, _sign_in(address, engine), process.pid, engine)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{address}/healthz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the portal did not start:\n{log.read_text(errors='replace')[-2000:]}")


def _sign_in(address: str, engine: Engine) -> dict[str, Browser]:
    people = {}
    for number, (name, (role, scope)) in enumerate(_PEOPLE.items(), 1):
        email = f"{name}-{os.getpid()}@contoh.id"
        account = add_person(engine, email, role, scope)
        people[name] = Browser(address, f"10.9.9.{number}")
        sign_in_wholly(people[name], engine, email, account)
    return people
