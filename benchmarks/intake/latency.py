"""Event produced → proposal committed, at a steady rate with many needs waiting, through a whole worker."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass

from confluent_kafka import Producer
from sqlalchemy import Engine, text

from benchmarks.intake.events import EVENT_TYPE, MASTER_KEY, event_data, headers_of
from models.database import open_engine
from models.event import PledgeChanged
from models.vault import Vault
from streams.settings import StreamSettings
from streams.worker import run_worker

WAITING_NEEDS = 10_000
EVENTS_PER_SECOND = 200
_WARM_UP_SECONDS = 5.0
_MONTHLY_RUPIAH = 16_800


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from producing an event to the commit of its proposal."""

    events: int
    p50_seconds: float
    p99_seconds: float
    longest_seconds: float
    runs: int


def measure_latency(brokers: str, database_url: str, seconds: float) -> Latency:
    """Send at ``EVENTS_PER_SECOND`` for ``seconds`` to a worker whose regency has 10,000 waiting needs.

    The fund has money for about half of the waiting needs (12 months each, lower priority); every run
    matches all of them anew. The measured events (3 months, highest priority) take its money from them,
    so each is funded by the run that sees it.
    """
    settings = {
        "database_url": database_url,
        "kafka_brokers": brokers,
        "group": f"bench-{uuid.uuid4().hex[:8]}",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.intake.latency", json.dumps(settings)],
        stderr=None if os.environ.get("GOTONG_BENCH_LOG") else subprocess.DEVNULL,
    )
    engine = open_engine(database_url, pool_size=2)
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 0, "log_level": 0})
    vault = Vault(MASTER_KEY)
    try:
        total = int(seconds * EVENTS_PER_SECOND)
        _send_pledge(producer, total)
        for number in range(WAITING_NEEDS):
            data = event_data(number, vault, priority=1 + number % 50, months=12)
            producer.produce(
                EVENT_TYPE,
                json.dumps(data).encode(),
                data["nik_hash"].encode(),
                headers=[*headers_of(f"waiting-{number}")],
            )
            producer.poll(0)
        producer.flush(60)
        _wait(engine, "SELECT count(*) FROM coverage_need", WAITING_NEEDS)
        _wait(engine, "SELECT count(*) FROM proposal WHERE state = 'proposed'", 1)
        time.sleep(_WARM_UP_SECONDS)
        first = 1_000_000
        prepared = [event_data(first + number, vault, priority=100) for number in range(total)]
        sent: dict[str, float] = {}
        begin = time.time()
        for number, data in enumerate(prepared):
            due = begin + number / EVENTS_PER_SECOND
            while (wait := due - time.time()) > 0:
                time.sleep(wait)
            sent[data["nik_hash"]] = time.time()
            producer.produce(
                EVENT_TYPE,
                json.dumps(data).encode(),
                data["nik_hash"].encode(),
                headers=[*headers_of(f"measured-{number}")],
            )
            producer.poll(0)
        producer.flush(60)
        _wait(
            engine,
            "SELECT count(DISTINCT n.id) FROM proposal p JOIN coverage_need n ON n.id = p.need_id"
            " WHERE n.priority = 100",
            total,
        )
        with engine.connect() as connection:
            rows = connection.execute(
                text(
                    "SELECT encode(w.nik_hash, 'hex') AS nik_hash,"
                    " extract(epoch FROM min(r.finished_at)) AS done"
                    " FROM proposal p JOIN coverage_need n ON n.id = p.need_id"
                    " JOIN worker w ON w.id = n.worker_id"
                    " JOIN allocation_run r ON r.id = p.run_id WHERE n.priority = 100 GROUP BY 1"
                )
            ).all()
            runs = int(connection.scalar(text("SELECT count(*) FROM allocation_run")) or 0)
        delays = sorted(float(row.done) - sent[row.nik_hash] for row in rows)
    finally:
        worker.terminate()
        worker.wait(30)
        engine.dispose()
    centiles = statistics.quantiles(delays, n=100)
    return Latency(len(delays), centiles[49], centiles[98], delays[-1], runs)


def _send_pledge(producer: Producer, measured: int) -> None:
    pledge = PledgeChanged.model_validate(
        {
            "fund_id": "csr-bench",
            "revision": 1,
            "regency": "64.02",
            "name": "Komitmen",
            "funder": "PT Contoh",
            "npwp": "013000666091000",
            "amount_rupiah": measured * 3 * _MONTHLY_RUPIAH + WAITING_NEEDS // 4 * 12 * _MONTHLY_RUPIAH,
            "window_from": "2020-01",
            "window_to": "2099-12",
        }
    )
    topic = "funding.pledge-changed.v1"
    headers = [(name, topic.encode() if name == "ce_type" else value) for name, value in headers_of("pledge")]
    producer.produce(topic, pledge.model_dump_json().encode(), b"csr-bench", headers=[*headers])
    producer.flush(30)


def _wait(engine: Engine, query: str, expected: int) -> None:
    deadline = time.monotonic() + 300
    while True:
        with engine.connect() as connection:
            found = connection.scalar(text(query))
        if found is not None and found >= expected:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {expected}: {query}")
        time.sleep(0.2)


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    sys.exit(
        run_worker(
            StreamSettings(
                given["database_url"], given["kafka_brokers"], MASTER_KEY, consumer_group=given["group"]
            )
        )
    )
