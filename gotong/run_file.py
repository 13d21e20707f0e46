"""The run file: how a short command finds the `gotong up` or `gotong demo` that runs here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

_FILE_NAME: Final = "run.json"


@dataclass(frozen=True, slots=True)
class RunFile:
    """A running house. No secret stands here: whoever brings a database of their own names it again."""

    pid: int
    process_started: float
    command: str
    embedded_database: bool
    portal_url: str


def describe_own_run(command: str, *, embedded_database: bool, portal_url: str) -> RunFile:
    """The run file of this process."""
    own = psutil.Process()
    return RunFile(own.pid, own.create_time(), command, embedded_database, portal_url)


@contextmanager
def keep_run_file(data_dir: Path, run: RunFile) -> Iterator[None]:
    """Have the file there for as long as the block runs."""
    path = data_dir / _FILE_NAME
    fresh = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(run), file)
    fresh.replace(path)
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()


def read_run_file(data_dir: Path) -> RunFile | None:
    """The running house of this data folder; ``None`` when there is none, or only what a killed one left."""
    try:
        run = RunFile(**json.loads((data_dir / _FILE_NAME).read_text(encoding="utf-8")))
        started = psutil.Process(run.pid).create_time()
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    return run if abs(started - run.process_started) < 1.0 else None
