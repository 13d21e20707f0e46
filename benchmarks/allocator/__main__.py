"""Run the allocator beside its rivals: ``python -m benchmarks.allocator [--sizes 1k ...]``.

Every method runs in a fresh process on the same seeded instance. The table goes
between markers in docs/BENCHMARKS.md; ``--dry`` prints it only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.allocator.instances import SHAPES, make_instance
from benchmarks.section import write_section

SIZES = {
    "1k": (1_000, 55),
    "10k": (10_000, 205),
    "100k": (100_000, 205),
    "1M": (1_000_000, 205),
    "1M-1k": (1_000_000, 1_005),
    "5M": (5_000_000, 2_005),
}
#: Seconds per method and size; rivals get as much as the largest aim, or more.
LIMITS = {"1k": 30.0, "10k": 60.0, "100k": 120.0, "1M": 120.0, "1M-1k": 120.0, "5M": 300.0}


def main() -> int:
    """Read the command line, run, write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocator", description=__doc__)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=[*SIZES])
    parser.add_argument("--methods", nargs="+", help="default: all that are worth running at a size")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="skewed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="print the table, leave the page alone")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(run_one(options.one, options.sizes[0], options.shape, options.seed)))
        return 0
    rows = []
    for size in options.sizes:
        floor = run_child("floor", size, options.shape, options.seed)["total"]
        found = {
            name: run_child(name, size, options.shape, options.seed)
            for name in options.methods or methods_for(size)
        }
        bounds = [float(str(row["bound"])) for row in found.values() if row.get("bound") is not None]
        best_bound = min(bounds) if bounds else None
        for name, row in found.items():
            rows.append(table_row(size, name, row, best_bound, floor))
            print(rows[-1], flush=True)
    table = "\n".join([*header(options), *rows])
    print(table)
    if not options.dry:
        write_section("allocator", table)
    return 0


def methods_for(size: str) -> list[str]:
    """Rivals are left out where an earlier size has shown that they cannot finish building."""
    every = ["gotong", "greedy", "worker x fund CP-SAT", "class CP-SAT", "class LP HiGHS"]
    if size in ("1M", "1M-1k"):
        return ["gotong", "greedy", "class LP HiGHS"]
    return ["gotong", "greedy"] if size == "5M" else every


def run_child(method: str, size: str, shape: str, seed: int) -> dict[str, object]:
    """One method in its own process; a crash or an overrun is a row that says so."""
    command = [sys.executable, "-m", "benchmarks.allocator", "--one", method, "--sizes", size]
    command += ["--shape", shape, "--seed", str(seed)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMITS[size] + 120, check=True)
    except subprocess.TimeoutExpired:
        return {"note": "stopped: two minutes over its limit"}
    except subprocess.CalledProcessError as failed:
        return {"note": f"ended with code {failed.returncode}"}
    answer: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def run_one(method: str, size: str, shape: str, seed: int) -> dict[str, object]:
    """The child's side: draw the instance, run the method, measure."""
    from benchmarks.allocator.methods import METHODS

    problem = make_instance(*SIZES[size], seed, SHAPES[shape])
    before = peak_bytes()
    begin = time.perf_counter()
    if method == "floor":
        return {"total": floor_seconds(problem)}
    outcome = METHODS[method](problem, LIMITS[size])
    return {
        "total": time.perf_counter() - begin,
        "seconds": {name: round(value, 3) for name, value in outcome.seconds.items()},
        "score": outcome.score,
        "bound": outcome.bound,
        "peak": peak_bytes(),
        "instance_peak": before,
    }


def floor_seconds(problem) -> float:  # type: ignore[no-untyped-def]
    """Read N rows, group and sort them, write N allocation rows: nobody can do less."""
    workers = problem.workers
    columns = {
        name: getattr(workers, name) for name in ("village", "occupation", "bundle", "months", "priority")
    }
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npy"
        np.savez(source, **columns)
        begin = time.perf_counter()
        with np.load(source) as read:
            village, occupation, bundle, months, priority = (read[name] for name in columns)
        key = ((village.astype(np.int64) * 64 + occupation) * 64 + bundle) * 16 + months
        np.unique(key, return_inverse=True)
        order = np.argsort(key * 128 - priority, kind="stable")
        np.save(target, np.column_stack([order, order, months.astype(np.int64), priority.astype(np.int64)]))
        return time.perf_counter() - begin


def peak_bytes() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table_row(size: str, name: str, row: dict[str, object], bound: object, floor: object) -> str:
    """One line of the table; gaps of rivals are taken against the best bound any method proved."""
    workers, funds = SIZES[size]
    if "note" in row:
        return f"| {workers:,} x {funds:,} | {name} | | | | | | {row['note']} |"
    score, own = row["score"], row["bound"]
    total, floor_value = float(str(row["total"])), float(str(floor))
    proven = "-"
    if isinstance(score, int | float) and isinstance(bound, int | float):
        proven = f"{100 * (bound - score) / bound:.4f} %"
    spent: dict[str, float] = dict(row["seconds"])  # type: ignore[call-overload]
    phases = ", ".join(f"{phase} {value:.2f}" for phase, value in spent.items())
    shown = f"{score:,.0f}" if isinstance(score, int | float) else "none"
    limit = f"{own:,.0f}" if isinstance(own, int | float) else "none"
    memory = f"{float(str(row['peak'])) / 1e6:,.0f} MB"
    return (
        f"| {workers:,} x {funds:,} | {name} | {total:.2f} | {shown} | {limit} | {proven} | {memory} "
        f"| {total / floor_value:.0f}x | {phases} |"
    )


def header(options: argparse.Namespace) -> list[str]:
    """What was run, where, and the column names."""
    load = os.getloadavg()[0]
    return [
        f"Made by `python -m benchmarks.allocator --sizes {' '.join(options.sizes)} --shape {options.shape} "
        f"--seed {options.seed}` on {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}; load at the end {load:.1f}. Single runs. The gap is taken against the",
        "best bound that any method proved on the instance. The floor is reading, grouping, sorting and",
        "writing the same rows with NumPy. Peak memory includes the instance.",
        "",
        "| workers x funds | method | seconds | score | own bound | gap | peak | x floor | phases (s) |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]


if __name__ == "__main__":
    sys.exit(main())
