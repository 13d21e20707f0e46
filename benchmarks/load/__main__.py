"""A steady load with a fault each minute, then a burst: ``python -m benchmarks.load --minutes 30``.

Apache Kafka, PostgreSQL with its durable settings and two workers, all on this machine. Events are sent at
a fixed rate whatever happens; at the end every event that the broker acknowledged must be in the database
once, and the books must agree. What is known so far is written to ``--partial`` after every fault.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import os
import platform
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from sqlalchemy import text

from benchmarks.intake.events import EVENT_TYPE, MASTER_KEY, event_data, headers_of
from benchmarks.load.figures import Fault, Moments, find_recoveries, outside, slope_percent_per_hour
from benchmarks.load.house import House
from benchmarks.section import write_section
from models.event import PledgeChanged
from models.vault import Vault
from workflow.audit import audit

_MEMORY_EVERY_SECONDS = 2.0
_DRAIN_SECONDS = 300.0


class Sender:
    """Sends reports of a fixed number of people at a fixed rate and remembers when."""

    def __init__(self, brokers: str, people: int, seed: int) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": brokers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.timeout.ms": 600_000,
                "log_level": 0,
            }
        )
        self._vault = Vault(MASTER_KEY)
        self._people = people
        self._random = random.Random(seed)
        self.sent: list[float] = []
        self.acknowledged = bytearray()

    def make(self) -> tuple[bytes, bytes]:
        """Key and value of a report: a person known or new, with a priority of the day."""
        number = self._random.randrange(self._people)
        data = event_data(number, self._vault, priority=self._random.randint(1, 100))
        return data["nik_hash"].encode(), json.dumps(data).encode()

    def send(self, key: bytes, value: bytes) -> None:
        number = len(self.sent)
        now = dt.datetime.now(dt.UTC).isoformat().encode()
        headers = [(name, now if name == "ce_time" else text) for name, text in headers_of(f"load-{number}")]
        self.sent.append(time.time())
        self.acknowledged.append(0)

        def note(error: object, _message: object) -> None:
            self.acknowledged[number] = error is None

        self._producer.produce(EVENT_TYPE, value, key, headers=[*headers], on_delivery=note)
        self._producer.poll(0)

    def send_pledge(self, amount_rupiah: int) -> None:
        pledge = PledgeChanged.model_validate(
            {
                "fund_id": "csr-load",
                "revision": 1,
                "regency": "64.02",
                "name": "Komitmen",
                "funder": "PT Contoh",
                "npwp": "013000666091000",
                "amount_rupiah": amount_rupiah,
                "window_from": "2020-01",
                "window_to": "2099-12",
            }
        )
        topic = "funding.pledge-changed.v1"
        headers = [
            (name, topic.encode() if name == "ce_type" else text) for name, text in headers_of("pledge")
        ]
        self._producer.produce(topic, pledge.model_dump_json().encode(), b"csr-load", headers=[*headers])

    def run(
        self, per_second: float, seconds: float, made: Sequence[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Send for so long; an event that is late by our own fault goes at once, the rate is kept."""
        begin = time.time()
        for number in range(int(per_second * seconds)):
            key, value = made[number] if made is not None else self.make()
            wait = begin + number / per_second - time.time()
            if wait > 0:
                time.sleep(wait)
            self.send(key, value)

    def flush(self) -> None:
        self._producer.flush(_DRAIN_SECONDS)


class Watch(threading.Thread):
    """Samples the workers' memory until told to stop."""

    def __init__(self, house: House) -> None:
        super().__init__(daemon=True)
        self._house = house
        self._stopped = threading.Event()
        self.samples: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def run(self) -> None:
        while not self._stopped.wait(_MEMORY_EVERY_SECONDS):
            for name, size in self._house.memory_bytes().items():
                self.samples[name].append((time.time(), size))

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def hurt(house: House, seconds: float, every: float, partial: Path) -> list[Fault]:
    """A fault every so often, in turn, while the load runs; leaves the last interval in peace."""
    begin = time.time()
    faults: list[Fault] = []
    for name, befall in cycle(house.faults().items()):
        due = begin + every * (len(faults) + 1)
        if due > begin + seconds - every / 2:
            return faults
        time.sleep(max(0.0, due - time.time()))
        fault_begin = time.time()
        error = _befall(befall)
        faults.append(Fault(name, fault_begin, time.time()))
        told = {"fault": name, "begin": fault_begin, "end": time.time(), "error": error}
        with partial.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
        back = f"back after {time.time() - fault_begin:.1f} s" if error is None else f"NOT BACK: {error}"
        print(f"{time.time() - begin:6.0f} s  {name}, {back}", flush=True)
        if error is not None:
            return faults  # the load goes on to its end, and what is lost is counted
    return faults


def _befall(fault: Callable[[], None]) -> str | None:
    """What kept a server from coming back, after a second attempt; half an hour is not thrown away for it."""
    for attempt in (1, 2):
        try:
            fault()
            return None
        except Exception as error:  # noqa: BLE001 - told in the report
            if attempt == 2:
                return f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return None


def read_commits(house: House, events: int) -> Moments:
    """Seconds at which each event was committed; NaN for what is not there."""
    committed = np.full(events, np.nan)
    engine = house.open_engine()
    statement = text(
        "SELECT substr(event_id, 6)::int, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8"
        " FROM inbox_event WHERE source = '/benchmark' AND event_id LIKE 'load-%'"
    )
    with engine.connect() as connection:
        for number, moment in connection.execute(statement):
            committed[number] = moment
    engine.dispose()
    return committed


def wait_drained(house: House, events: int) -> float:
    """Wait until so many events are in the database; returns the moment, or gives up after five minutes."""
    engine = house.open_engine()
    statement = text(
        "SELECT count(*) FROM inbox_event WHERE source = '/benchmark' AND event_id LIKE 'load-%'"
    )
    deadline = time.time() + _DRAIN_SECONDS
    try:
        while time.time() < deadline:
            with engine.connect() as connection:
                if (connection.scalar(statement) or 0) >= events:
                    return time.time()
            time.sleep(0.2)
        return float("nan")
    finally:
        engine.dispose()


def describe(values: Moments) -> str:
    if not values.size:
        return "none"
    p50, p99 = np.percentile(values, [50, 99])
    return f"p50 {p50 * 1000:,.0f} ms, p99 {p99 * 1000:,.0f} ms, longest {values.max():.2f} s"


async def measure(options: argparse.Namespace, folder: Path) -> tuple[str, bool]:
    """The whole run; returns the section for docs/BENCHMARKS.md and whether nothing was lost."""
    load_before = os.getloadavg()[0]
    house = House(folder)
    try:
        await house.start()
        section, whole = run(house, options, load_before)
        tell(section, options)  # before the house is stopped: that takes its time, and may be cut short
        return section, whole
    finally:
        house.stop()


def tell(section: str, options: argparse.Namespace) -> None:
    with options.partial.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"report": section}) + "\n")
    print(section, flush=True)
    if options.report:
        write_section("load", section, options.report)


def run(house: House, options: argparse.Namespace, load_before: float) -> tuple[str, bool]:
    sender = Sender(house.kafka.bootstrap_servers, options.people, options.seed)
    sender.send_pledge(options.people // 2 * 3 * 16_800)
    sender.run(options.rate, 20)  # both workers join, the first people are known
    sender.flush()
    wait_drained(house, len(sender.sent))  # however long their start takes here
    watch = Watch(house)
    watch.start()
    first, seconds = len(sender.sent), options.minutes * 60
    load = threading.Thread(target=sender.run, args=(options.rate, seconds))
    load.start()
    faults = hurt(house, seconds, options.fault_seconds, options.partial)
    load.join()
    load_after = os.getloadavg()[0]
    watch.stop()
    sender.flush()
    wait_drained(house, len(sender.sent))
    last = len(sender.sent)
    made = [sender.make() for _ in range(int(options.burst_rate * options.burst_seconds))]
    burst_begin = time.time()
    sender.run(options.burst_rate, options.burst_seconds, made)
    sender.flush()
    burst_end = sender.sent[-1]
    drained = wait_drained(house, len(sender.sent))

    committed = read_commits(house, len(sender.sent))
    acknowledged = np.frombuffer(bytes(sender.acknowledged), dtype=np.uint8) == 1
    lost = int((acknowledged & np.isnan(committed)).sum())
    engine = house.open_engine()
    findings = audit(engine)
    with engine.connect() as connection:
        letters = int(connection.scalar(text("SELECT count(*) FROM dead_letter")) or 0)
        runs = int(connection.scalar(text("SELECT count(*) FROM allocation_run")) or 0)
    engine.dispose()

    known = ~np.isnan(committed[first:last])
    sent, done = np.array(sender.sent[first:last])[known], committed[first:last][known]
    faults = find_recoveries(sent, done, faults)
    calm = outside(sent, faults)
    delays = (done - sent)[calm]
    third = np.minimum((sent[calm] - sent[0]) / seconds * 3, 2).astype(int)
    by_third = [
        np.percentile((delays[third == part]), 99) * 1000 for part in range(3) if (third == part).any()
    ]
    steady = watch.samples["steady"]
    sizes = [
        np.mean([size for moment, size in steady if part <= (moment - steady[0][0]) / seconds * 3 < part + 1])
        / 1e6
        for part in range(3)
    ]
    slope = slope_percent_per_hour(steady, min(300.0, seconds / 4))
    largest = {name: max(size for _, size in samples) for name, samples in watch.samples.items()}
    longest = {
        name: [fault.recovered - fault.begin for fault in faults if fault.name == name]
        for name in house.faults()
    }
    lines = [
        "## Load with faults",
        "",
        f"`python -m benchmarks.load --minutes {options.minutes:g}` on {os.cpu_count()} cores (Kafka,"
        " PostgreSQL, two workers and the sender share them),"
        f" Python {platform.python_version()}, {options.rate:g} events per second about"
        f" {options.people:,} people, {runs:,} matches made meanwhile. The machine's load average was"
        f" {load_before:.1f} before it began and {load_after:.1f} at the end of the steady load.",
        "",
        "| what | found | aim |",
        "|---|---|---|",
        f"| events acknowledged by the broker, of those sent"
        f" | {int(acknowledged.sum()):,} of {len(sender.sent):,} | |",
        f"| lost | {lost} | 0 |",
        f"| dead letters; findings of the audit | {letters}; {len(findings)} | 0; 0 |",
        f"| event → committed, outside faults ({calm.sum():,} events) | {describe(delays)} | p99 ≤ 250 ms |",
        f"| the same p99 by third of the time | {', '.join(f'{each:,.0f}' for each in by_third)} ms | |",
        f"| event → committed, all of them | {describe(done - sent)} | |",
        "| memory, largest: worker; its solver's process"
        f" | {largest['steady'] / 1e6:,.0f} MB; {largest['steady solver'] / 1e6:,.0f} MB | < 512 MB |",
        f"| the worker's by third of the time, mean | {', '.join(f'{each:,.0f}' for each in sizes)} MB | |",
        "| slope of the worker's after warm-up (the one that is not killed)"
        f" | {slope:+.1f} %/h over {seconds / 60:g} minutes | < 1 %/h |",
        f"| burst of {options.burst_rate:g}/s × {options.burst_seconds:g} s"
        f" ({(len(sender.sent) - last) / (burst_end - burst_begin):,.0f}/s sent)"
        f" | drained {drained - burst_end:.1f} s after its last event | drains |",
        "",
        "| fault | times | fault → nothing older than 0.5 s open: median, longest (s) |",
        "|---|---:|---|",
        *(
            f"| {name} | {len(values)} | {np.median(values):.1f}, {max(values):.1f} |"
            for name, values in longest.items()
            if values
        ),
    ]
    return "\n".join(lines), not (lost or letters or findings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--people", type=int, default=20_000)
    parser.add_argument("--fault-seconds", type=float, default=60)
    parser.add_argument("--burst-rate", type=float, default=2_000)
    parser.add_argument("--burst-seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--partial", type=Path, default=Path(tempfile.gettempdir()) / "gotong-load.jsonl")
    parser.add_argument("--report", type=Path, help="put the table into this file, e.g. docs/BENCHMARKS.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gotong-load-") as folder:
        _, whole = asyncio.run(measure(options, Path(folder)))
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
