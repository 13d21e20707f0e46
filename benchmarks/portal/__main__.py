"""The portal at a million workers and 200 funds; ``python -m benchmarks.portal`` writes docs/BENCHMARKS.md.

A real PostgreSQL with fsync on, ``gotong portal`` as its own process, and this one as everybody who asks.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import httpx

from benchmarks.portal.decisions import measure_decisions
from benchmarks.portal.exports import measure_exports
from benchmarks.portal.house import Portal, open_database, open_portal
from benchmarks.portal.live import measure_screen, measure_stream
from benchmarks.portal.pages import measure_pages
from benchmarks.portal.questions import measure_questions
from benchmarks.portal.report import Found, write_report
from benchmarks.portal.traffic import measure_traffic
from benchmarks.section import write_section
from workflow.audit import audit

_PARTS = ("traffic", "queue", "decisions", "live", "exports", "pages", "questions")


def main() -> int:
    """Measure what was asked for; without ``--report`` of everything into the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.portal", description=__doc__)
    parser.add_argument("--workers", type=int, default=1_000_000)
    parser.add_argument("--per-second", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", type=Path, help="keep the database here, and use the one that is here")
    parser.add_argument("--only", choices=_PARTS, nargs="+", default=_PARTS)
    parser.add_argument("--report", type=Path, default=Path("docs/BENCHMARKS.md"))
    options = parser.parse_args()
    found = Found(options.workers, options.per_second, options.seconds, os.getloadavg()[0])
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotong-")))
        folder.mkdir(parents=True, exist_ok=True)
        url, engine, found.seed_seconds = stack.enter_context(open_database(folder / "pg", options.workers))
        _say(f"seeded in {found.seed_seconds:.0f} s")
        portal = stack.enter_context(open_portal(url, engine, folder))
        for part in options.only:
            begun = time.monotonic()
            try:
                _MEASURE[part](portal, found)
            except Exception as error:  # noqa: BLE001 - the other parts' figures are worth having
                found.failures.append(f"{part}: {error}")
                _say(f"{part} failed: {error!r}")
            _say(f"{part}: {time.monotonic() - begun:.0f} s")
        found.findings = len(audit(engine))
        found.load_after = os.getloadavg()[0]
    section = write_report(found)
    print(section)
    if set(options.only) == set(_PARTS):
        write_section("portal", section, options.report)
    return 1 if found.findings or found.failures else 0


def _traffic(portal: Portal, found: Found) -> None:
    found.traffic = measure_traffic(portal, found.per_second, found.seconds)


def _queue(portal: Portal, found: Found) -> None:
    """First byte of the review queue, one officer after the other."""
    headers = portal.people["officer"].headers()
    with httpx.Client(trust_env=False, verify=False) as client:  # noqa: S501 - plain http on this machine
        for _ in range(100):
            begun = time.perf_counter()
            with client.stream("GET", f"{portal.url}/review", headers=headers) as answer:
                pieces = answer.iter_raw()
                next(pieces)
                found.queue_ms.append((time.perf_counter() - begun) * 1000)
                for _ in pieces:
                    pass
            time.sleep(0.02)
    _say(f"queue's first byte: median {statistics.median(found.queue_ms):.1f} ms")


def _decisions(portal: Portal, found: Found) -> None:
    found.decisions = measure_decisions(portal)


def _live(portal: Portal, found: Found) -> None:
    found.stream_seconds = measure_stream(portal, 15)
    found.screen_seconds = measure_screen(portal, 5)


def _exports(portal: Portal, found: Found) -> None:
    found.exports = measure_exports(portal)


def _pages(portal: Portal, found: Found) -> None:
    found.costs = measure_pages(portal)


def _questions(portal: Portal, found: Found) -> None:
    found.questions = measure_questions(portal)


_MEASURE = {
    "traffic": _traffic,
    "queue": _queue,
    "decisions": _decisions,
    "live": _live,
    "exports": _exports,
    "pages": _pages,
    "questions": _questions,
}


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
