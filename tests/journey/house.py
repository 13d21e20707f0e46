"""A house of Gotong as a person runs it: the command line in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0


@dataclass
class House:
    """Runs commands in ``folder``; ``settings`` are its GOTONG_ variables."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        """A command in the background; its output goes to ``output()``."""
        with (self.folder / "output").open("w") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "gotong", *arguments],
                cwd=self.folder,
                env=self._environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
            )

    def run(self, *arguments: str, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """A command to its end; its exit code must be ``code``."""
        done = subprocess.run(
            [sys.executable, "-m", "gotong", *arguments],
            cwd=self.folder,
            env=self._environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == code, (
            f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        )
        return done

    def status(self) -> dict[str, Any]:
        """``gotong status --json``."""
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return status

    def database_url(self) -> str:
        """SQLAlchemy URL of the embedded PostgreSQL, for what an administrator does beside the portal."""
        socket = next(self.folder.rglob(".s.PGSQL.*[0-9]"))
        return f"postgresql+psycopg://gotong@/gotong?host={socket.parent}"

    def output(self) -> str:
        """What the command in the background has said."""
        return (self.folder / "output").read_text()

    def await_output(
        self, pattern: str, process: subprocess.Popen[str], seconds: float = START_SECONDS
    ) -> re.Match[str]:
        """The first match in the output of the command in the background."""
        wait_for(lambda: bool(re.search(pattern, self.output())) or process.poll() is not None, seconds)
        found = re.search(pattern, self.output())
        assert found, f"{pattern!r} was not said:\n{self.output()}\n{self.logs()}"
        return found

    def logs(self) -> str:
        """The end of every child's log, for a failure's message."""
        parts = [
            f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
            for path in sorted(self.folder.glob(".gotong/logs/*.log"))
        ]
        return "\n".join(parts)

    def processes(self) -> list[psutil.Process]:
        """Every live process that belongs to this house: it works in the folder or was started with it."""
        own = []
        for process in psutil.process_iter():
            try:
                if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                    continue
                told = [process.cwd(), *process.cmdline()]
            except psutil.Error:
                continue
            if any(str(self.folder) in word for word in told):
                own.append(process)
        return own

    def await_no_process(self, seconds: float = 30.0) -> None:
        """Nothing of this house may be left, neither children nor their children nor PostgreSQL."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, [" ".join(process.cmdline()) for process in left]
            time.sleep(0.1)

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("GOTONG_")}
        return outside | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | self.settings | settings


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Send the signal; return the exit code."""
    process.send_signal(number)
    return process.wait(60)


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
