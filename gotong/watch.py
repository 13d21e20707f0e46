"""Runs a command that must not outlive the process that wanted it.

Used as a script (`python gotong/watch.py OWNER_PID SIGNAL COMMAND…`) and standard library only, so that it
starts in milliseconds and costs little memory beside the server it watches.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

_POLL_SECONDS = 0.1


def watched(command: list[str], *, stop_signal: signal.Signals) -> list[str]:
    """The command line that runs `command` under watch for the calling process.

    The watcher sends `stop_signal` to the command when it is itself told to end (SIGTERM, SIGINT) or when the
    calling process is gone, however it ended, and exits with the command's exit code.
    """
    # Isolated and without site-packages: nothing in the environment can change or slow the watcher.
    script = [sys.executable, "-I", "-S", str(Path(__file__).resolve())]
    return [*script, str(os.getpid()), stop_signal.name, *command]


def _watch(owner_pid: int, stop_signal: signal.Signals, command: list[str]) -> int:
    stopping = False

    def stop(_signal: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})
    child = subprocess.Popen(command)
    told = False
    while (code := child.poll()) is None:
        # A process gets another parent when its own dies, also by SIGKILL. A pipe to the owner would not
        # tell: any forked child of the owner holds it open.
        if (stopping or os.getppid() != owner_pid) and not told:
            child.send_signal(stop_signal)
            told = True
        time.sleep(_POLL_SECONDS)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(_watch(int(sys.argv[1]), signal.Signals[sys.argv[2]], sys.argv[3:]))
