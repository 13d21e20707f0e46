"""The portal's section of docs/BENCHMARKS.md, between its own markers."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.portal.exports import Export
from benchmarks.portal.pages import Cost
from benchmarks.portal.traffic import Timings, slowest


@dataclass(slots=True)
class Found:
    """What one run has found; parts that were not asked for are empty."""

    workers: int
    per_second: float
    seconds: float
    load_before: float
    load_after: float = 0.0
    seed_seconds: float = 0.0
    findings: int = 0
    failures: list[str] = field(default_factory=list)
    traffic: Mapping[tuple[str, str], Timings] = field(default_factory=dict)
    queue_ms: list[float] = field(default_factory=list)
    decisions: Mapping[str, list[float]] = field(default_factory=dict)
    stream_seconds: list[float] = field(default_factory=list)
    screen_seconds: list[float] = field(default_factory=list)
    exports: Sequence[Export] = ()
    costs: Sequence[Cost] = ()
    questions: Mapping[str, list[float]] = field(default_factory=dict)


def write_report(found: Found) -> str:
    """Markdown with the figures and their aims."""
    lines = [
        "## Portal",
        "",
        f"`python -m benchmarks.portal` on {os.cpu_count()} cores that PostgreSQL (fsync on), the portal, the"
        f" senders and the browser share, Python {platform.python_version()}: {found.workers:,} workers,"
        f" 200 funds, seeded in {found.seed_seconds:.0f} s; the audit had {found.findings} findings"
        " afterwards. The machine's"
        f" load average was {found.load_before:.1f} before it began and {found.load_after:.1f} at its end.",
        "",
        *_aims(found),
        *(f"| not measured | {failure} | |" for failure in found.failures),
    ]
    if found.traffic:
        lines += ["", *_routes(found)]
    if found.exports:
        lines += ["", *_taken(found.exports)]
    if found.costs:
        lines += ["", *_budget(found.costs)]
    return "\n".join(lines)


def _aims(found: Found) -> Iterator[str]:
    yield "| what | found | aim |"
    yield "|---|---|---|"
    if found.traffic:
        every = [each for timings in found.traffic.values() for each in timings.milliseconds]
        asked, failed = len(every), sum(timings.failed for timings in found.traffic.values())
        p50, p95, p99 = np.percentile(every, [50, 95, 99])
        yield (
            f"| {found.per_second:g} requests a second for {found.seconds:g} s, due → last byte"
            f" | {asked:,} answers, {failed} of them not 200: p50 {p50:.0f} ms, p95 {p95:.0f} ms,"
            f" p99 {p99:.0f} ms"
            " | p95 ≤ 100 ms |"
        )
        late = [route for route in found.traffic if found.traffic[route].percentile(95) > 100]
        yield f"| routes whose own p95 is above 100 ms | {len(late)} of {len(found.traffic)} | 0 |"
    if found.queue_ms:
        middle = statistics.median(found.queue_ms)
        yield f"| review queue, first byte (100 times, nobody else) | median {middle:.0f} ms | ≤ 50 ms |"
    for name, seconds in found.decisions.items():
        aim = "≤ 2 s" if name.startswith(("approve", "confirm", "reject")) else ""
        yield (
            f"| batch of {'10,000 lines' if found.workers >= 1_000_000 else 'a trial'}: {name}"
            f" ({len(seconds)} times)"
            f" | median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s | {aim} |"
        )
    for name, seconds in (
        ("an event in the stream", found.stream_seconds),
        ("words on the open queue in Chromium", found.screen_seconds),
    ):
        if seconds:
            yield (
                f"| commit → {name} ({len(seconds)} times)"
                f" | median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s | ≤ 1 s |"
            )
    for name, (first, again) in found.questions.items():
        yield f"| answer of the desk: {name} | first {first:.1f} s, again {again:.2f} s | |"
    if found.costs:
        most = max(cost.code_bytes for cost in found.costs)
        yield f"| script and style of a first visit | at most {most / 1000:.0f} kB | < 300 kB |"


def _routes(found: Found) -> Iterator[str]:
    yield "Milliseconds from the moment a request was due to its answer's last byte:"
    yield ""
    yield "| who | route | requests | p50 | p95 | p99 |"
    yield "|---|---|---:|---:|---:|---:|"
    for role, path in slowest(found.traffic):
        timings = found.traffic[role, path]
        p50, p95, p99 = (timings.percentile(each) for each in (50, 95, 99))
        count = len(timings.milliseconds)
        yield f"| {role} | `{path}` | {count} | {p50:.0f} | {p95:.0f} | {p99:.0f} |"


def _taken(exports: Sequence[Export]) -> Iterator[str]:
    yield "Tables to take away; memory is the portal's highest meanwhile, less that before:"
    yield ""
    yield "| export | seconds | first byte (s) | size | memory |"
    yield "|---|---:|---:|---:|---:|"
    for each in exports:
        yield (
            f"| `{each.path}` | {each.seconds:.2f} | {each.first_byte_seconds:.2f}"
            f" | {each.size_bytes / 1e6:.1f} MB | {each.grown_bytes / 1e6:.0f} MB |"
        )


def _budget(costs: Sequence[Cost]) -> Iterator[str]:
    yield "First visit in headless Chromium with nothing in its cache, bytes on the wire:"
    yield ""
    yield "| who | page | requests | all bytes | script and style | largest paint |"
    yield "|---|---|---:|---:|---:|---:|"
    for cost in costs:
        yield (
            f"| {cost.role} | `{cost.path}` | {cost.requests} | {cost.total_bytes / 1000:.0f} kB"
            f" | {cost.code_bytes / 1000:.0f} kB | {cost.largest_paint_ms:.0f} ms |"
        )
    if foreign := sorted({url for cost in costs for url in cost.foreign}):
        yield ""
        yield f"Not from the portal: {', '.join(foreign)}"
