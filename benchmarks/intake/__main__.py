"""Rows per second through the edge to committed rows, side by side: ``python -m benchmarks.intake``.

Everything reads the same topics of one Apache Kafka and writes to a fresh database of one PostgreSQL with
its durable settings, one contender after another, ``--rounds`` times in turn; the median counts. The
figures depend on the machine, the ratios much less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy
import psycopg
from sqlalchemy import text

from benchmarks.intake.events import BULK, SINGLE, fill_topics
from benchmarks.intake.latency import measure_latency
from benchmarks.intake.report import write_report
from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate
from tests.stack.kafka import NativeKafka, delete_topics
from tests.stack.postgres import DatabaseServer
from workflow.load_regions import load_regions

Samples = list[tuple[float, int]]

CONTENDERS = {
    "a": ("empty", SINGLE, 1, "an empty Faust agent, single events"),
    "b": ("bare", SINGLE, 1, "a bare aiokafka loop that decodes and inserts the same rows"),
    "c": ("gotong", SINGLE, 1, "Gotong, single events"),
    "d": ("gotong", BULK, 1, "Gotong, CloudEvents batches of 500"),
    "e": ("gotong", SINGLE, 2, "Gotong, single events, two processes"),
    "f": ("gotong", BULK, 2, "Gotong, CloudEvents batches, two processes"),
}


@contextmanager
def open_kafka() -> Iterator[str]:
    given = os.environ.get("GOTONG_TEST_KAFKA")
    if given:
        delete_topics(given)
        yield given
    else:
        with NativeKafka() as broker:
            yield broker.bootstrap_servers


def run_contender(name: str, brokers: str, server: DatabaseServer, template: str, events: int) -> float:
    """Events per second of one contender in a fresh database."""
    program, topic, processes, _ = CONTENDERS[name]
    url = server.create(template=template)
    group = f"bench-{uuid.uuid4().hex[:8]}"
    command = [sys.executable, "-m", "benchmarks.intake.contenders", program, brokers, url, topic]
    try:
        running = [
            subprocess.Popen(
                [*command, str(events), group],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=None if os.environ.get("GOTONG_BENCH_LOG") else subprocess.DEVNULL,
                text=True,
            )
            for _ in range(processes)
        ]
        if processes > 1:
            _wait_for_rows(url, events)
            for process in running:
                assert process.stdin is not None
                process.stdin.write("done\n")
                process.stdin.flush()
        answers = [json.loads(process.communicate(timeout=600)[0].splitlines()[-1]) for process in running]
    finally:
        with suppress(
            psycopg.Error
        ):  # an autovacuum worker in it cannot be sent away; the folder goes anyway
            server.drop(url)
    if sum(samples[-1][1] for samples in answers if samples) != events:
        raise RuntimeError(f"{name}: not every event was counted once: {answers}")
    if not all(answers):
        raise RuntimeError(f"{name}: a process got nothing to do; take more events")
    return rate_together(answers)


def rate_together(answers: Sequence[Samples]) -> float:
    """Events per second while all processes were at work, by each one's (moment, events so far)."""
    begin, end = max(samples[0][0] for samples in answers), min(samples[-1][0] for samples in answers)
    return sum(_events_at(samples, end) - _events_at(samples, begin) for samples in answers) / (end - begin)


def _events_at(samples: Samples, moment: float) -> float:
    moments, counts = zip(*samples, strict=True)
    return float(numpy.interp(moment, moments, counts))


def _wait_for_rows(url: str, events: int) -> None:
    engine = open_engine(url, pool_size=1)
    while True:
        with engine.connect() as connection:
            if (connection.scalar(text("SELECT count(*) FROM inbox_event")) or 0) >= events:
                break
        time.sleep(0.3)
    engine.dispose()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="".join(CONTENDERS), help="e.g. ac")
    parser.add_argument("--latency-seconds", type=float, default=60.0, help="0: leave out")
    parser.add_argument("--report", type=Path, help="write the Intake section of e.g. docs/BENCHMARKS.md")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in CONTENDERS if name in options.only}
    latency = None
    load_before = os.getloadavg()[1]
    with (
        tempfile.TemporaryDirectory(prefix="gotong-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "postgres") as postgres,
        open_kafka() as brokers,
    ):
        server = DatabaseServer(postgres.url())
        template_url = server.create()
        migrate(template_url)
        engine = open_engine(template_url)
        load_regions(engine, ["64.02"])
        engine.dispose()
        template = template_url.rpartition("/")[2].partition("?")[0]
        if rates:
            print(f"filling the topics with {options.events} events each", flush=True)
            fill_topics(brokers, options.events, options.events)
        for round_number in range(options.rounds):
            for name in rates:
                rate = run_contender(name, brokers, server, template, options.events)
                rates[name].append(rate)
                print(f"round {round_number + 1}  {name}  {rate:9.0f}/s  {CONTENDERS[name][3]}", flush=True)
        if options.latency_seconds:
            latency = measure_latency(brokers, server.create(template=template), options.latency_seconds)
            print(latency, flush=True)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    described = {name: CONTENDERS[name][3] for name in medians}
    report = write_report(medians, described, latency, options.events, options.rounds, load_before)
    print(report)
    if options.report is not None:
        from benchmarks.section import write_section

        write_section("intake", report, options.report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
