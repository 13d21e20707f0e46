"""Re-plan with 100 new needs: ``python -m benchmarks.allocator.warm [--workers 100000 --funds 205]``.

Every round adds 100 needs to the plan of the round before and hands over its prices. Measured is
what a caller waits for: problem in memory to verified result. Prints one line per figure.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import fields, replace

import numpy as np

from benchmarks.allocator.instances import SHAPES, make_instance
from optimizer.policy import DEFAULT_POLICY
from optimizer.problem import NONE, AllocationProblem, Int32
from optimizer.solve import solve

NEW = 100


def main() -> int:
    """Read the command line, run the rounds, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocator.warm", description=__doc__)
    parser.add_argument("--workers", type=int, default=100_000)
    parser.add_argument("--funds", type=int, default=205)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="skewed")
    options = parser.parse_args()
    most = options.workers + NEW * options.rounds
    everybody = make_instance(most, options.funds, 1, SHAPES[options.shape])
    none = np.full(options.workers, NONE, dtype=np.int32)
    result = solve(first(everybody, none), DEFAULT_POLICY, time_limit_seconds=120)
    print(f"full solve: gap {100 * result.tiers[0].gap:.4f} %")
    seconds, busy, gaps, moved, full = [], [], [], [], 0
    for _ in range(options.rounds):
        current = np.append(result.fund_of_worker, np.full(NEW, NONE, dtype=np.int32))
        problem = first(everybody, current)
        begin, own = time.perf_counter(), time.process_time()
        result = solve(problem, DEFAULT_POLICY, previous=result.prices, time_limit_seconds=120)
        seconds.append(time.perf_counter() - begin)
        busy.append(time.process_time() - own)
        gaps.append(result.tiers[0].gap)
        moved.append(next(int(tier.value) for tier in result.tiers if tier.name == "stability"))
        full += "prices" in result.seconds
    held = int((result.fund_of_worker != NONE).sum())
    print(f"{options.rounds} times {NEW} needs more, {options.workers:,} x {options.funds}")
    print(f"seconds: median {np.median(seconds):.3f}, p95 {np.quantile(seconds, 0.95):.3f}")
    print(f"processor seconds: median {np.median(busy):.3f}, p95 {np.quantile(busy, 0.95):.3f}")
    print(f"gap: worst {100 * max(gaps):.4f} %; searched anew {full} times")
    print(f"proposals moved: median {np.median(moved):.0f}, most {max(moved)}, of {held:,}")
    return 0


def first(everybody: AllocationProblem, current: Int32) -> AllocationProblem:
    """The problem of the first needs only, as many as ``current`` names proposals for."""
    kept = {
        field.name: getattr(everybody.workers, field.name)[: len(current)]
        for field in fields(everybody.workers)
    }
    return replace(everybody, workers=replace(everybody.workers, **{**kept, "current_fund": current}))


if __name__ == "__main__":
    sys.exit(main())
