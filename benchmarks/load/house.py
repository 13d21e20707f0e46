"""A whole house to put under load: Kafka, PostgreSQL and two workers of its own, and ways to hurt it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from benchmarks.intake.events import MASTER_KEY
from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.stack.kafka import NativeKafka
from workflow.load_regions import load_regions

#: Tells when a row was committed, not only when it was written.
_SERVER_SETTINGS = {"track_commit_timestamp": "on"}


class House:
    """Two workers: one is killed now and then, the other never, so that its memory can be watched."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.kafka = NativeKafka(folder / "kafka")
        self._postgres = EmbeddedPostgres(folder / "pg", settings=_SERVER_SETTINGS)
        self._group = f"load-{uuid.uuid4().hex[:8]}"
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self) -> None:
        """All of it, with the schema, the regions and the topics."""
        self.kafka.start()
        self._url = self._postgres.start()
        migrate(self._url)
        engine = self.open_engine()
        load_regions(engine, ["64.02"])
        engine.dispose()
        await ensure_topics(StreamSettings(self._url, self.kafka.bootstrap_servers, MASTER_KEY))
        for name in ("steady", "mortal"):
            self._start_worker(name)

    def stop(self) -> None:
        for worker in self._workers.values():
            worker.terminate()
        for worker in self._workers.values():
            with suppress(subprocess.TimeoutExpired):
                worker.wait(20)
            worker.kill()
        self.kafka.stop()
        self._postgres.stop()

    def open_engine(self) -> Engine:
        return open_engine(self._url, pool_size=2, application_name="gotong-load")

    def memory_bytes(self) -> dict[str, int]:
        """Resident memory of each worker, and of its solver's process; pages they share count by halves."""
        sizes = {}
        for name, worker in self._workers.items():
            with suppress(psutil.Error):
                process = psutil.Process(worker.pid)
                sizes[name] = process.memory_full_info().pss
                children = process.children(recursive=True)
                sizes[f"{name} solver"] = sum(child.memory_full_info().pss for child in children)
        return sizes

    def faults(self) -> dict[str, Callable[[], None]]:
        """What can befall the house, each bringing back what it took away."""
        return {
            "worker SIGKILL": self._kill_worker,
            "broker SIGKILL": self._kill_broker,
            "database connections ended": self._end_backends,
            "postmaster SIGKILL": self._kill_postmaster,
        }

    def _start_worker(self, name: str) -> None:
        settings = {
            "database_url": self._url,
            "kafka_brokers": self.kafka.bootstrap_servers,
            "group": self._group,
        }
        with (self._folder / f"{name}.log").open("ab") as log:
            self._workers[name] = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.intake.latency", json.dumps(settings)], stderr=log
            )

    def _kill_worker(self) -> None:
        self._workers["mortal"].kill()
        self._workers["mortal"].wait()
        self._start_worker("mortal")

    def _kill_broker(self) -> None:
        self.kafka.kill()
        self.kafka.restart()

    def _end_backends(self) -> None:
        engine = self.open_engine()
        statement = text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'gotong-worker' AND datname = current_database()"
        )
        with suppress(SQLAlchemyError), engine.begin() as connection:
            connection.execute(statement)
        engine.dispose()

    def _kill_postmaster(self) -> None:
        pid = int((self._postgres.data_folder / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        self._postgres.stop()
        self._postgres.start()
