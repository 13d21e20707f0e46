"""The Intake section of docs/BENCHMARKS.md, between its own markers."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.intake.latency import Latency

_RATIOS = (
    ("c / a", "c", "a", "at least 0.7"),
    ("d / b", "d", "b", "at least 0.5"),
    ("e / c", "e", "c", "near 2"),
    ("f / d", "f", "d", "near 2"),
)


def write_report(
    rates: Mapping[str, float],
    described: Mapping[str, str],
    latency: Latency | None,
    events: int,
    rounds: int,
    load_before: float,
) -> str:
    """Markdown with the figures and ratios of one run."""
    lines = [
        "## Intake",
        "",
        f"`python -m benchmarks.intake --events {events} --rounds {rounds}` on {os.cpu_count()} cores"
        f" (broker, database and workers share them), Python {platform.python_version()}."
        " Median of the rounds."
        f" Before it began the machine's load average was {load_before:.1f} from other work.",
        "",
        "| | what | events per second |",
        "|---|---|---:|",
        *(f"| {name} | {described[name]} | {rate:,.0f} |" for name, rate in rates.items()),
        "",
        "| ratio | found | aim |",
        "|---|---:|---|",
        *(
            f"| {name} | {rates[over] / rates[under]:.2f} | {aim} |"
            for name, over, under, aim in _RATIOS
            if over in rates and under in rates
        ),
    ]
    if latency is not None:
        lines += [
            "",
            "Event produced → proposal committed, 200 events per second with 10,000 needs waiting,"
            f" {latency.events} events, {latency.runs} runs: p50 {latency.p50_seconds:.2f} s,"
            f" p99 {latency.p99_seconds:.2f} s, longest {latency.longest_seconds:.2f} s."
            " Aim: p99 at most 2 s.",
        ]
    return "\n".join(lines)
