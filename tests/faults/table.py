"""Write the tables of docs/RELIABILITY.md from the counts that the fault tests left behind.

    GOTONG_FAULT_COUNTS=docs/reliability/counts.jsonl make test-faults ARGS="-k again_and_again"
    python -m tests.faults.table

Every line of the file is a piece of a run; pieces add up, whatever came of them. With n rounds and no
failure, the probability of one is below 3/n with 95 % confidence.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.rounds import percentile

ROOT: Final = Path(__file__).parents[2]
COUNTS: Final = ROOT / "docs" / "reliability" / "counts.jsonl"
#: Load average of the two cores up to which a recovery's time says something about Gotong.
_QUIET_LOAD: Final = 12.0
REPORT: Final = ROOT / "docs" / "RELIABILITY.md"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: what was run, how often it should be, and pytest's ``-k`` for it."""

    name: str
    aim: int
    chosen_by: str


_KILL_POINTS: Final = (
    *("poll", "decode", "inbox", "solve", "reserve"),
    *("before_commit", "after_commit", "before_ack", "before_publish", "before_mark_published"),
)
FAULTS: Final = (
    *(Row(f"SIGKILL at {point}", 100, f"again_and_again and {point}") for point in _KILL_POINTS),
    Row("broker killed", 50, "broker_is_killed"),
    Row("PostgreSQL backend terminated", 200, "backends"),
    Row("PostgreSQL postmaster killed", 50, "postmaster"),
    Row("answer to COMMIT lost", 300, "lost_commit"),
    Row("1 worker, 3 workers, 1 worker", 100, "one_worker_and_three"),
    Row("SIGSTOP beyond the session, then SIGCONT", 50, "stood_still"),
    Row("20 % twice, 20 % out of order, up to 90 days late", 5, "disorder"),
)
RACES: Final = (
    Row("the last rupiah reserved by 2, 3 or 4 at once", 10_000, "reservations"),
    Row("whole runs by 2, 3 or 4 at once, money for one worker of three", 10_000, "allocators"),
    Row("approve / approve", 5_000, "another_decision and approve"),
    Row("approve / reject", 5_000, "another_decision and reject"),
    Row("approve / send back", 5_000, "another_decision and return"),
    Row("the same request twice at once", 5_000, "same_request"),
    Row("claim / claim", 5_000, "claim_against"),
    Row("approve / expire", 5_000, "expiry"),
    Row("approve / reduce to nothing", 5_000, "reduction"),
    Row("confirm / undo", 5_000, "confirm_against"),
)


def read_counts(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of counts."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def describe_faults(lines: Iterable[dict[str, Any]]) -> str:
    """The table of faults; a fault without any line gets a row that says so."""
    given = list(lines)
    rows = [
        "| fault | rounds | aim | lost | doubled | audit findings | bound 3/n"
        " | recovery p50 / p99 / max (s) | load | rounds at load ≤ 12: recovery (s) | last run | `-k` |",
        "|---|---:|---:|---:|---:|---:|---:|---|---|---|---|---|",
    ]
    for row in FAULTS:
        own = [line for line in given if line.get("fault") == row.name]
        rounds = sum(line["rounds"] for line in own)
        if not rounds:
            rows.append(f"| {row.name} | 0 | {row.aim} | | | | | | | | not yet run | `{row.chosen_by}` |")
            continue
        lost, doubled, findings = (
            sum(line.get(name, 0) for line in own) for name in ("lost", "doubled", "findings")
        )
        failed = sum("failed" in line for line in own)
        refused = sum(line.get("refused", 0) for line in own)
        clean = not (lost or doubled or findings or failed or refused)
        bound = f"{300 / rounds:.1f} %" if clean and rounds > 3 else "none"
        seconds = [each for line in own for each in line.get("recovery_seconds", ())]
        rows.append(
            f"| {row.name} | {rounds:,} | {row.aim} | {lost} | {doubled} | {findings}"
            f"{f'; {failed} not settled' if failed else ''}{f'; {refused} refused' if refused else ''}"
            f" | {bound} | {_describe_seconds(seconds)} | {_describe_load(own)} | {_describe_quiet(own)}"
            f" | {max(line['at'] for line in own)[:10]} | `{row.chosen_by}` |"
        )
    return "\n".join(rows)


def describe_races(lines: Iterable[dict[str, Any]]) -> str:
    """The table of races. A race that failed leaves no line: the test that ran it is red."""
    given = list(lines)
    rows = ["| race | rounds run | aim | bound 3/n | last run | `-k` |", "|---|---:|---:|---:|---|---|"]
    for row in RACES:
        own = [line for line in given if line.get("race") == row.name]
        rounds = sum(line["rounds"] for line in own)
        bound = f"{300 / rounds:.2g} %" if rounds else "none"
        last = max((line["at"] for line in own), default="not yet run")[:10]
        rows.append(f"| {row.name} | {rounds:,} | {row.aim:,} | {bound} | {last} | `{row.chosen_by}` |")
    return "\n".join(rows)


def describe_histories(lines: Iterable[dict[str, Any]]) -> str:
    """One sentence on the state machine's long histories."""
    own = [line for line in lines if "histories" in line]
    total = sum(line["histories"] for line in own)
    seeds = ", ".join(str(line["seed"]) for line in own)
    return f"{total:,} of 20,000 histories of up to 25 steps, no difference (seeds {seeds or 'none yet'})."


def replace_between(content: str, name: str, text: str) -> str:
    """``content`` with ``text`` between the markers of ``name``. Raises ``ValueError`` without them."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    changed, found = pattern.subn(lambda _match: f"{begin}\n{text}\n{end}", content)
    if not found:
        raise ValueError(f"the report has no markers {name}")
    return changed


def _describe_seconds(seconds: Sequence[float]) -> str:
    if not seconds:
        return ""
    return f"{statistics.median(seconds):.1f} / {percentile(seconds, 0.99):.1f} / {max(seconds):.1f}"


def _describe_quiet(lines: Sequence[dict[str, Any]]) -> str:
    """What recovery took where the machine was not full of other work, which is most of it elsewhere."""
    quiet = [line for line in lines if line.get("load", _QUIET_LOAD + 1) <= _QUIET_LOAD]
    seconds = [each for line in quiet for each in line.get("recovery_seconds", ())]
    return f"{len(seconds)}: {_describe_seconds(seconds)}" if seconds else ""


def _describe_load(lines: Sequence[dict[str, Any]]) -> str:
    loads = [line["load"] for line in lines if "load" in line]
    if not loads:
        return ""
    return f"{min(loads):.0f}–{max(loads):.0f}"


def main() -> None:
    """The command line."""
    lines = read_counts(COUNTS)
    content = REPORT.read_text(encoding="utf-8")
    content = replace_between(content, "faults", describe_faults(lines))
    content = replace_between(content, "races", describe_races(lines))
    content = replace_between(content, "histories", describe_histories(lines))
    REPORT.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
