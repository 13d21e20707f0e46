"""The largest tables to take away: seconds, bytes, and what they add to the portal's memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import httpx
import psutil

from benchmarks.portal.house import Portal
from benchmarks.portal.traffic import read_samples

EXPORTS: Final = (
    ("officer", "/review/batches.csv"),
    ("officer", "/review/batches.xlsx"),
    ("officer", "/review/{large}/lines.csv"),
    ("officer", "/review/{large}/lines.xlsx"),
    ("officer", "/funds/{fund}/journal.xlsx"),
    ("company", "/company/workers.csv"),
    ("company", "/company/workers.xlsx"),
    ("auditor", "/audit.csv"),
    ("auditor", "/audit.xlsx"),
)


@dataclass(frozen=True, slots=True)
class Export:
    """One export; ``grown_bytes`` is the portal's highest memory meanwhile, less that before."""

    path: str
    seconds: float
    first_byte_seconds: float
    size_bytes: int
    grown_bytes: int


def measure_exports(portal: Portal) -> Sequence[Export]:
    """Each export of ``EXPORTS`` once."""
    samples = {name: values[0] for name, values in read_samples(portal.engine).items()}
    return [_take(portal, role, path, path.format_map(samples)) for role, path in EXPORTS]


def _take(portal: Portal, role: str, path: str, address: str) -> Export:
    process = psutil.Process(portal.process_id)
    before = highest = process.memory_info().rss
    ended = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not ended.wait(0.01):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun, first, size = time.perf_counter(), 0.0, 0
    try:
        with httpx.stream(
            "GET", portal.url + address, headers=portal.people[role].headers(), timeout=120, trust_env=False
        ) as answer:
            if answer.status_code != 200:
                raise RuntimeError(f"{address} was answered {answer.status_code}")
            for piece in answer.iter_raw():
                first = first or time.perf_counter() - begun
                size += len(piece)
        seconds = time.perf_counter() - begun
    finally:
        ended.set()
        watcher.join()
    return Export(path, seconds, first, size, highest - before)
