"""Run what docs/RELIABILITY.md still misses of its aims, a piece at a time, for as long as there is time.

    python -m tests.faults.reach_aims --minutes 30             # whatever misses most, in turn
    python -m tests.faults.reach_aims --minutes 30 SIGKILL     # only rows whose name holds one of these words

Every piece adds its counts to docs/reliability/counts.jsonl, and the tables are written after each, so the
run may be ended at any moment. Ends with 1 at the first piece that fails.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping

from tests.faults import table
from tests.faults.rounds import VARIABLE

_FAULT_PIECE = 50
_RACE_PIECE = 1_000


def missing(words: list[str]) -> dict[table.Row, int]:
    """Rounds that each row lacks, the one that has reached least of its aim first."""
    lines = table.read_counts(table.COUNTS)
    reached = {
        row: sum(line["rounds"] for line in lines if row.name in (line.get("fault"), line.get("race")))
        for row in (*table.FAULTS, *table.RACES)
        if not words or any(word in row.name for word in words)
    }
    short = [row for row in reached if reached[row] < row.aim]
    return {
        row: row.aim - reached[row]
        for row in sorted(short, key=lambda row: (reached[row] / row.aim, row.name))
    }


def run_piece(row: table.Row, rounds: int, environment: Mapping[str, str]) -> int:
    """Exit code of pytest for so many rounds of this row."""
    chosen = [sys.executable, "-m", "pytest", "-q", "-m", "faults", "tests/faults", "-k", row.chosen_by]
    counted = {**environment, "GOTONG_FAULT_ROUNDS": str(rounds), VARIABLE: str(table.COUNTS)}
    return subprocess.run(chosen, cwd=table.ROOT, env=counted, check=False).returncode


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*")
    parser.add_argument("--minutes", type=float, default=30, help="begin no further piece after so long")
    options = parser.parse_args()
    deadline = time.monotonic() + options.minutes * 60
    while time.monotonic() < deadline and (left := missing(options.words)):
        row, rounds = next(iter(left.items()))
        rounds = min(rounds, _RACE_PIECE if row in table.RACES else _FAULT_PIECE)
        code = run_piece(row, rounds, os.environ)
        table.main()
        if code:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
