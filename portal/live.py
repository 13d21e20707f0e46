"""Live pages: a stream of what kind of thing has changed, never of what it is.

The page asks again for what it shows, with the rights that the visitor then has. A stream ends after a
minute and the browser opens the next one, so that a disabled account stops listening too. It then names what
it has seen (Last-Event-ID), so that nothing is missed in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
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
async def stream_changes(
    request: Request, visitor: OwnAccount, last_event_id: Annotated[str, Header()] = ""
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events named after the marks, as these things change; each one's id says what was seen."""
    changes: ChangeWatch = request.app.state.portal.changes
    marks = _digest(await run_in_threadpool(changes.marks))
    seen = marks | _read(last_event_id, marks)
    yield ServerSentEvent(comment="listening", retry=_RETRY_MILLISECONDS, id=_write(seen))
    until = time.monotonic() + _STREAM_SECONDS
    while True:
        for name in marks:
            if marks[name] != seen.get(name):
                seen[name] = marks[name]
                yield ServerSentEvent(event=name, data="changed", id=_write(seen))
        if time.monotonic() >= until:
            return
        await asyncio.sleep(_LOOK_SECONDS)
        marks = _digest(await run_in_threadpool(changes.marks))


def _digest(marks: dict[str, object]) -> dict[str, str]:
    """Short, and telling nothing but that something is another thing now."""
    return {name: hashlib.sha256(str(mark).encode()).hexdigest()[:8] for name, mark in marks.items()}


def _write(seen: dict[str, str]) -> str:
    return ".".join(f"{name}-{digest}" for name, digest in seen.items())


def _read(written: str, known: dict[str, str]) -> dict[str, str]:
    """What an id says; nothing of what is no mark of ours."""
    pairs = re.findall(r"([a-z]+)-([0-9a-f]{8})", written[:500])
    return {name: digest for name, digest in pairs if name in known}
