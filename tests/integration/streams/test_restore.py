"""A database restored from a backup, with the broker ahead of it: the house comes to where it was."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from gotong.backup import BackupError, backup_database, restore_database
from models.vault import Vault
from streams.settings import StreamSettings
from streams.topics import ensure_topics
from tests.builders import pledge
from tests.integration.streams.conftest import StartWorker
from tests.integration.streams.counts import committed_offsets, count, dead_letters, registered
from tests.integration.streams.events import (
    MASTER_KEY,
    WORKER_UNCOVERED,
    pledge_message,
    send,
    worker_message,
    worker_messages,
)
from tests.integration.streams.worker_process import await_true
from workflow.audit import audit

VAULT = Vault(MASTER_KEY)


def needs(engine: Engine) -> list[tuple[object, ...]]:
    """What does not depend on when it was done."""
    statement = text(
        "SELECT encode(w.nik_hash, 'hex'), n.months, n.priority, n.state, p.amount_rupiah, f.code"
        " FROM coverage_need n JOIN worker w ON w.id = n.worker_id"
        " LEFT JOIN proposal p ON p.need_id = n.id AND p.state = 'proposed'"
        " LEFT JOIN fund f ON f.id = p.fund_id ORDER BY 1"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(statement)]


def all_proposed(engine: Engine, number: int) -> bool:
    return count(engine, "coverage_need", "state = 'proposed'") == number


def test_with_the_broker_ahead_nothing_is_lost_and_nothing_doubled(
    engine: Engine, settings: StreamSettings, start_worker: StartWorker, tmp_path: Path
) -> None:
    asyncio.run(ensure_topics(settings))
    dump = tmp_path / "house.dump"
    worker = start_worker(settings)
    send(settings.kafka_brokers, [pledge_message(pledge("csr-1", 100_000_000))])
    send(settings.kafka_brokers, worker_messages(range(100), VAULT))
    await_true(lambda: all_proposed(engine, 100), explain=worker.raw_log)
    backup_database(engine, dump)
    assert dump.stat().st_mode & 0o077 == 0

    send(settings.kafka_brokers, [pledge_message(pledge("csr-1", 120_000_000, revision=2))])
    send(settings.kafka_brokers, worker_messages(range(50, 200), VAULT))
    send(settings.kafka_brokers, [worker_message(300, VAULT, village="64.02.05.9999")])
    await_true(lambda: all_proposed(engine, 200), explain=worker.raw_log)
    await_true(lambda: dead_letters(engine).total() == 1, explain=worker.raw_log)
    with pytest.raises(BackupError, match="gotong-worker"):
        restore_database(engine, dump, "Ibu Rekaan", dt.datetime.now(dt.UTC))
    assert worker.stop() == 0, worker.raw_log()
    assert committed_offsets(settings.kafka_brokers, settings.consumer_group, WORKER_UNCOVERED) == 251
    before = needs(engine)

    restore_database(engine, dump, "Ibu Rekaan", dt.datetime.now(dt.UTC))
    assert all_proposed(engine, 100)
    assert audit(engine) == []
    second = start_worker(settings)
    await_true(lambda: len(registered(engine)) == 200, explain=second.raw_log)
    await_true(lambda: all_proposed(engine, 200), explain=second.raw_log)
    await_true(lambda: dead_letters(engine).total() == 1, explain=second.raw_log)
    await_true(lambda: count(engine, "outbox_message", "published_at IS NULL") == 0, explain=second.raw_log)
    assert needs(engine) == before
    assert count(engine, "fund", "pledged_rupiah = 120000000 AND revision = 2") == 1
    assert count(engine, "audit_record", "action = 'restore' AND actor = 'Ibu Rekaan'") == 1
    assert audit(engine) == []
    assert second.stop() == 0, second.raw_log()


def test_a_file_that_is_no_backup_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"PGDMP but not really")
    with pytest.raises(BackupError):
        restore_database(engine, broken, "Ibu Rekaan", dt.datetime.now(dt.UTC))
    assert count(engine, "region") > 0
    with pytest.raises(BackupError, match="exists already"):
        backup_database(engine, broken)
