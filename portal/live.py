"""Live pages: a stream of what kind of thing has changed, never of what it is.

The page asks again for what it shows, with the rights that the visitor then has. A stream ends after a
minute and the browser opens the next one, so that a disabled account stops listening too.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from portal.access import OwnAccount

router = APIRouter()

_LOOK_SECONDS: Final = 0.4
_STREAM_SECONDS: Final = 60
_RETRY_MILLISECONDS: Final = 1000

#: Name of a change -> what moves with it. Each is one step down an index.
_MARKS: Final = {
    "money": "SELECT max(id) FROM journal_entry",
    "decision": "SELECT max(number) FROM audit_record",
    # Also moves when a claim lapses, which nobody writes down.
    "claim": "SELECT count(*) || ' ' || coalesce(sum(extract(epoch FROM lapses_at)), 0) FROM batch_claim"
    " WHERE lapses_at > now()",
    # Also moves as a match under way tells how far it is.
    "run": "SELECT concat_ws(' ', count(*) FILTER (WHERE finished_at IS NOT NULL),"
    " string_agg(concat_ws(' ', progress ->> 'seconds', cancel_asked_by), ' ')"
    " FILTER (WHERE status = 'RUNNING')) FROM allocation_run",
    "refused": "SELECT max(id) FROM dead_letter",
    "alert": "SELECT max(changed_at) FROM alert",
    "terms": "SELECT max(id) FROM terms_change",
}


class ChangeWatch:
    """What has changed lately. However many pages listen, the database is asked a few times a second."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._marks: dict[str, object] = {}
        columns = ", ".join(f'({query}) AS "{name}"' for name, query in _MARKS.items())
        self._query = text(f"SELECT {columns}")

    def marks(self) -> dict[str, object]:
        """Name -> a value that differs after each change; the last known ones while the database is away."""
        with self._lock:
            if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
                try:
                    with self._engine.connect() as connection:
                        self._marks = dict(connection.execute(self._query).one()._mapping)
                except SQLAlchemyError:
                    pass  # the page says by itself that the figures may be old
                self._looked_at = time.monotonic()
            return self._marks


@router.get("/live", response_class=EventSourceResponse)
async def stream_changes(request: Request, visitor: OwnAccount) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named after the marks, as these things change."""
    changes: ChangeWatch = request.app.state.portal.changes
    seen = await run_in_threadpool(changes.marks)
    yield ServerSentEvent(comment="listening", retry=_RETRY_MILLISECONDS)
    until = time.monotonic() + _STREAM_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        marks = await run_in_threadpool(changes.marks)
        for name in marks:
            if marks[name] != seen.get(name):
                yield ServerSentEvent(event=name, data="changed")
        seen = marks
