"""Named places where a test may make this process die, fail or wait.

``GOTONG_FAILPOINT=after_commit:kill`` kills the process (SIGKILL) when it first reaches
``after_commit``; ``decode:kill@3`` at the third time; ``solve:sleep=5`` waits, ``poll:raise`` raises.
Several are joined by commas. ``@/a/file`` reads the plan from that file at every point, so that a running
process can be armed; passes count from then on. Unset, as in life, a point costs one look at the environment.
"""

from __future__ import annotations

import collections
import os
import signal
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, event

VARIABLE: Final = "GOTONG_FAILPOINT"
POINTS: Final = (
    "poll",
    "decode",
    "inbox",
    "solve",
    "reserve",
    "before_commit",
    "after_commit",
    "before_ack",
    "before_publish",
    "before_mark_published",
    "before_deliver",
)
#: Points inside a transaction, by the table whose first statement marks them.
_STATEMENT_POINTS: Final = {"inbox": "inbox_event", "reserve": "journal_entry"}

_reached: collections.Counter[str] = collections.Counter()


class FailpointError(RuntimeError):
    """Raised on purpose, by ``<point>:raise``."""


def reach(point: str) -> None:
    """Do what ``GOTONG_FAILPOINT`` says about this point; nothing when it says nothing.

    Raises ``FailpointError`` for ``raise``, ``ValueError`` for an unknown point or action.
    """
    plan = os.environ.get(VARIABLE)
    if plan and plan.startswith("@"):
        plan = Path(plan[1:]).read_text()
    if not plan:
        return
    _reached[point] += 1
    pass_number = _reached[point]  # others may pass while this one sleeps
    for item in plan.split(","):
        name, _, rest = item.strip().partition(":")
        action, _, count = rest.partition("@")
        if name not in POINTS:
            raise ValueError(f"{VARIABLE}: no such point {name!r}; known are {', '.join(POINTS)}")
        if name == point and (not count or int(count) == pass_number):
            _act(point, action)


def _act(point: str, action: str) -> None:
    verb, _, amount = action.partition("=")
    if verb == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif verb == "raise":
        raise FailpointError(point)
    elif verb == "sleep":
        time.sleep(float(amount))
    else:
        raise ValueError(f"{VARIABLE}: no such action {action!r}; known are kill, raise, sleep=SECONDS")


def watch_transactions(engine: Engine) -> None:
    """Let the points inside a transaction fire, without a word about them in the workflow."""
    if not os.environ.get(VARIABLE):
        return

    @event.listens_for(engine, "commit")
    def before_commit(_connection: Any) -> None:
        reach("before_commit")

    @event.listens_for(engine, "before_cursor_execute")
    def before_statement(
        _connection: Any, _cursor: Any, statement: str, _parameters: Any, _context: Any, _many: bool
    ) -> None:
        for point, table in _STATEMENT_POINTS.items():
            if table in statement:
                reach(point)
