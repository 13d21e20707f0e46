"""Balance event to alert: ``python -m benchmarks.alerts.latency [--seconds N] [--dry]`` measures p50 and p99
at 300 events a second and writes its section of docs/BENCHMARKS.md (``--dry`` prints it only).

The whole path: a change in the database with its event in the outbox, relay, Kafka, agent, alert.
Visible is when another connection reads the alert; an open page learns of it within 0.8 s more
(portal/live.py).
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, text

from benchmarks.alerts.machine import describe_machine
from benchmarks.section import write_section
from gotong.broker import EmbeddedBroker
from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate
from streams.settings import StreamSettings
from tests.builders import KUKAR, apply_fund, pledge
from tests.integration.streams.worker_process import WorkerProcess
from workflow.load_regions import load_regions
from workflow.outbox import NewMessage, enqueue_messages, event_headers

RATE = 300
FUNDS = 600
KIND = "funding.balance-changed.v1"


def send(connection: Connection, funds: list[int], crossing: int | None) -> None:
    """Events of these funds; ``crossing`` comes to 80 % in the same transaction."""
    if crossing is not None:
        connection.execute(
            text("UPDATE fund SET reserved_rupiah = pledged_rupiah * 8 / 10 WHERE code = :code"),
            {"code": f"csr-{crossing}"},
        )
    messages = []
    for fund in funds:
        body = {"fund_id": f"csr-{fund}", "regency": KUKAR, "entry": 1, "cause": "run", "cause_id": "bench"}
        body |= {
            f"{bucket}_rupiah": 0 for bucket in ("pledged", "reserved", "committed", "disbursed", "expired")
        }
        body["recorded_at"] = "2026-11-02T01:00:00+00:00"
        headers = event_headers(KIND, source="/bench", event_id=str(uuid.uuid4()), time=datetime.now(UTC))
        messages.append(NewMessage(KIND, json.dumps(body).encode(), KUKAR.encode(), headers))
    enqueue_messages(connection, messages)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.alerts.latency")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--dry", action="store_true", help="print only")
    options = parser.parse_args()
    seconds, load_before = options.seconds, os.getloadavg()[0]
    with (
        tempfile.TemporaryDirectory(prefix="gotong-bench-") as folder,
        EmbeddedPostgres(Path(folder) / "pg") as server,
        EmbeddedBroker() as broker,
    ):
        url, brokers = server.url(), broker.start()
        migrate(url)
        engine = open_engine(url)
        load_regions(engine, [KUKAR])
        for number in range(FUNDS):
            apply_fund(engine, pledge(f"csr-{number}", 1_000_000))
        settings = StreamSettings(
            database_url=url,
            kafka_brokers=brokers,
            master_key=bytes(range(32)),
            forgetful_broker=True,
            log_id=uuid.uuid4().hex,
        )
        worker = WorkerProcess(settings)
        worker.wait_running()
        time.sleep(5)
        sent: dict[str, float] = {}
        seen: dict[str, float] = {}
        events, crossing, began = 0, 0, time.monotonic()
        while time.monotonic() - began < seconds + 5:
            now = time.monotonic()
            behind = int((now - began) * RATE) - events if now - began < seconds else 0
            if behind >= 15:
                with engine.begin() as connection:
                    funds = [(events + offset) % FUNDS for offset in range(behind)] + [crossing]
                    send(connection, funds, crossing if crossing < FUNDS else None)
                sent[f"csr-{crossing}"] = time.monotonic()
                events, crossing = events + len(funds), crossing + 1
            with engine.connect() as connection:
                for subject in connection.scalars(text("SELECT subject FROM alert")):
                    seen.setdefault(subject, time.monotonic())
            time.sleep(0.01)
        worker.close()
        engine.dispose()
        waits = sorted(seen[fund] - at for fund, at in sent.items() if fund in seen)
        p50, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
    lines = [
        "## Balance event to alert",
        "",
        f"`python -m benchmarks.alerts.latency --seconds {seconds}` ({describe_machine(load_before)}):",
        "the whole path from the change's commit through relay, Kafka and agent to an alert that another",
        f"connection reads. Embedded broker, one worker, {FUNDS} funds, {events:,} events",
        f"({events / seconds:.0f} a second), {len(sent)} of them crossings.",
        "",
        "| | found | aim |",
        "|---|---|---|",
        f"| alerts opened, of crossings | {len(waits)} of {len(sent)} | all |",
        f"| p50 | {p50:.2f} s | |",
        f"| p99 | {p99:.2f} s | 1.2 s, and 2 s with the page |",
        f"| longest | {waits[-1]:.2f} s | |",
        "",
        "An open page asks what has changed every 0.4 s and shares the answer for as long, so it shows the",
        "alert at most 0.8 s later.",
    ]
    section = "\n".join(lines)
    print(section)
    if not options.dry:
        write_section("alerts-latency", section)


if __name__ == "__main__":
    main()
