"""How soon a change is seen: by a stream's listener, and on an officer's screen."""

from __future__ import annotations

import datetime as dt
import queue
import re
import threading
import time
from collections.abc import Iterator

import httpx
from sqlalchemy import text

from benchmarks.portal.house import Portal
from benchmarks.portal.pages import open_browser, open_context
from workflow.review import Batch, DecisionRequest, decide, read_batch

_SMALL = text(
    """
    SELECT b.run_id, f.code, b.district_code FROM review_batch b JOIN fund f ON f.id = b.fund_id
    WHERE b.open_lines BETWEEN 2 AND 100 ORDER BY md5(b.id::text) LIMIT :many
    """
)


def measure_stream(portal: Portal, rounds: int) -> list[float]:
    """Seconds from a decision's commit to the event in the stream of somebody else's page."""
    listening = threading.Event()
    heard: queue.Queue[float] = queue.Queue()

    def listen() -> None:
        headers = portal.people["auditor"].headers()
        with httpx.stream(
            "GET", f"{portal.url}/live", headers=headers, timeout=90, trust_env=False
        ) as answer:
            for line in answer.iter_lines():
                listening.set()
                if line == "event: decision":
                    heard.put(time.monotonic())

    threading.Thread(target=listen, daemon=True).start()
    listening.wait(30)
    seconds = []
    for number, batch in enumerate(_batches(portal, rounds)):
        time.sleep(0.6 + number * 0.07 % 0.4)  # at any moment between two looks
        committed = _commit(portal, batch)
        try:
            seconds.append(heard.get(timeout=20) - committed)
        except queue.Empty:
            raise RuntimeError("the stream said nothing for twenty seconds") from None
    return seconds


def measure_screen(portal: Portal, rounds: int) -> list[float]:
    """Seconds from a decision's commit to the words on an open review queue, in a browser."""
    seconds = []
    with open_browser() as browser:
        for batch in _batches(portal, rounds):
            with open_context(browser, portal, "second") as page:
                with page.expect_response(re.compile(r"/live")):
                    page.goto(f"{portal.url}/review")
                time.sleep(1.2)
                committed = _commit(portal, batch)
                page.locator(".fresh .notice").first.wait_for(timeout=30_000)
                seconds.append(time.monotonic() - committed)
    return seconds


def _batches(portal: Portal, many: int) -> Iterator[Batch]:
    with portal.engine.connect() as connection:
        rows = connection.execute(_SMALL, {"many": many}).all()
    return (Batch(row.run_id, row.code, row.district_code) for row in rows)


def _commit(portal: Portal, batch: Batch) -> float:
    """An officer elsewhere returns one line of the batch; the moment when that was committed."""
    with portal.engine.connect() as connection:
        view = read_batch(connection, batch)
    now = dt.datetime.now(dt.UTC)
    request = DecisionRequest(
        f"benchmark:{time.monotonic_ns()}", "lain@contoh.id", "return", batch, view.token, (view.lines[0][0],)
    )
    decide(portal.engine, request, now)
    return time.monotonic()
