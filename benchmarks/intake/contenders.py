"""What is compared. Each runs in a process of its own and prints one JSON line: first and last moment.

``python -m benchmarks.intake.contenders NAME BROKERS DATABASE_URL TOPIC EVENTS``
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from typing import Any

import faust
import orjson
import psycopg
from aiokafka import AIOKafkaConsumer
from sqlalchemy import make_url

from benchmarks.intake.events import MASTER_KEY
from models.database import open_engine
from models.message import EventEnvelope, Refusal, derive_event_key
from models.pg_array import write_bytes, write_codes, write_numbers, write_texts
from models.region import RegionTable
from models.vault import Vault, decode_base64
from streams.app import create_app
from streams.settings import StreamSettings
from workflow.context import IntakeContext
from workflow.register import register_workers


class Stopwatch:
    """Events done over wall time (which processes can compare), from the first event handed over."""

    def __init__(self, events: int) -> None:
        self._events = events
        self._counted = 0
        self.samples: list[tuple[float, int]] = []
        self.done = asyncio.Event()

    def start(self) -> None:
        """Now the first events are handed over."""
        if not self.samples:
            self.samples.append((time.time(), 0))

    def count(self, events: int) -> None:
        """So many more are done."""
        self._counted += events
        if events > 1 or self._counted % 1_000 == 0 or self._counted >= self._events:
            self.samples.append((time.time(), self._counted))
        if self._counted >= self._events:
            self.done.set()


async def run_empty_agent(brokers: str, topic: str, watch: Stopwatch) -> None:
    """Faust as it comes: an agent that does nothing with raw values."""
    app: Any = faust.App(
        f"empty-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{brokers}",
        store="memory://",
        datadir=tempfile.mkdtemp(),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        value_serializer="raw",
    )

    async def take(stream: Any) -> None:
        async for _ in stream:
            watch.start()
            watch.count(1)

    app.agent(app.topic(topic, value_type=bytes))(take)
    await app.start()
    await watch.done.wait()
    await app.stop()


async def run_bare_loop(brokers: str, database_url: str, topic: str, watch: Stopwatch) -> None:
    """aiokafka and psycopg alone: decode, insert the same rows, commit; no check of anything."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=brokers,
        group_id=f"bare-{uuid.uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await consumer.start()
        while not watch.done.is_set():
            fetched = await consumer.getmany(timeout_ms=1000, max_records=4_000)
            records = [record for part in fetched.values() for record in part]
            if not records:
                continue
            watch.start()
            await _insert(connection, records)
            await connection.commit()
            await consumer.commit()
            watch.count(len(records))
        await consumer.stop()


async def _insert(connection: psycopg.AsyncConnection[Any], records: Sequence[Any]) -> None:
    rows = []
    for record in records:
        headers = dict(record.headers)
        source, event_id = headers["ce_source"].decode(), headers["ce_id"].decode()
        rows.append(
            (
                orjson.loads(record.value),
                derive_event_key(source, event_id),
                hashlib.sha256(record.value).digest(),
                source,
                event_id,
                headers["ce_type"].decode(),
                headers["ce_time"].decode(),
                record,
            )
        )
    data = [row[0] for row in rows]
    await connection.execute(
        """
        WITH event AS (
            SELECT * FROM unnest(%s::bytea[], %s::bytea[], %s::text[], %s::bytea[], %s::text[], %s::text[],
                                 %s::int2[], %s::text[], %s::int2[], %s::timestamptz[])
            AS u (nik_hash, nik, key_id, name, village, occupation, months, start_month, priority, time)
        ), worker AS (
            INSERT INTO worker (nik_hash, nik_encrypted, nik_key_id, name_encrypted, village_code, occupation,
                                declared_base_rupiah, reported_at)
            SELECT nik_hash, nik, key_id, name, village, occupation, 1000000, time FROM event
            RETURNING id, nik_hash
        )
        INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes, months,
                                   start_month, priority, reported_at)
        SELECT w.id, left(village, 5), left(village, 8), village, 3, months, (start_month || '-01')::date,
               priority, time
        FROM event JOIN worker w USING (nik_hash)
        """,
        (
            write_bytes([bytes.fromhex(item["nik_hash"]) for item in data]),
            write_bytes([decode_base64(item["nik_encrypted"]) for item in data]),
            write_codes([item["nik_key_id"] for item in data]),
            write_bytes([decode_base64(item["name_encrypted"]) for item in data]),
            write_codes([item["village"] for item in data]),
            write_codes([item["occupation"] for item in data]),
            write_numbers([item["months"] for item in data]),
            write_codes([item["start_month"] for item in data]),
            write_numbers([item["priority"] for item in data]),
            write_texts([row[6] for row in rows]),
        ),
    )
    await connection.execute(
        """
        INSERT INTO inbox_event (event_key, content_hash, source, event_id, type, log_id, topic, partition,
                                 "offset", outcome)
        SELECT key, hash, source, id, type, 'bench', topic, partition, "offset", 'registered'
        FROM unnest(%s::uuid[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::text[], %s::int4[],
                    %s::int8[]) AS u (key, hash, source, id, type, topic, partition, "offset")
        """,
        (
            write_codes([str(row[1]) for row in rows]),
            write_bytes([row[2] for row in rows]),
            write_texts([row[3] for row in rows]),
            write_texts([row[4] for row in rows]),
            write_codes([row[5] for row in rows]),
            write_codes([row[7].topic for row in rows]),
            write_numbers([row[7].partition for row in rows]),
            write_numbers([row[7].offset for row in rows]),
        ),
    )


async def run_gotong(brokers: str, database_url: str, topic: str, watch: Stopwatch, group: str) -> None:
    """Our worker's intake path: the app, the agent and the step of ``coverage.worker-uncovered.v1``."""
    engine = open_engine(database_url)
    context = IntakeContext(regions=RegionTable.load(), vault=Vault(MASTER_KEY))
    settings = StreamSettings(database_url, brokers, MASTER_KEY, consumer_group=group)
    loop = asyncio.get_running_loop()

    def step(events: Sequence[EventEnvelope], refusals: Sequence[Refusal]) -> object:
        watch.start()
        outcome = register_workers(engine, context, events, refusals)
        if set(outcome.counts) > {"registered", "repeated"} or outcome.refused:
            raise RuntimeError(f"not what was meant to be measured: {outcome.counts} {outcome.refused}")
        loop.call_soon_threadsafe(watch.count, outcome.counts["registered"])
        return outcome

    with tempfile.TemporaryDirectory() as state_dir:
        app = create_app(
            settings,
            engine,
            steps={topic: step},
            log_id="bench",
            stopping=asyncio.Event(),
            state_dir=state_dir,
        )
        await app.start()
        if not await asyncio.to_thread(sys.stdin.readline):  # a line: told that others took the rest
            await watch.done.wait()
        await app.stop()
    engine.dispose()


async def main(name: str, brokers: str, database_url: str, topic: str, events: int, group: str) -> None:
    """Run one contender and print its line."""
    watch = Stopwatch(events)
    if name == "empty":
        await run_empty_agent(brokers, topic, watch)
    elif name == "bare":
        await run_bare_loop(brokers, database_url, topic, watch)
    else:
        await run_gotong(brokers, database_url, topic, watch, group)
    print(json.dumps(watch.samples), flush=True)


if __name__ == "__main__":
    _, which, where, database, topic_name, how_many, group_id = sys.argv
    asyncio.run(main(which, where, database, topic_name, int(how_many), group_id))
