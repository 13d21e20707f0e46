"""The role of the application's processes: all it needs, and no right to change the books."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url, text
from sqlalchemy.exc import ProgrammingError

from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate, pending_revision
from models.tables import Base
from tests.builders import KUKAR, NOW, pledge
from tests.event_builders import CONTEXT, VAULT, envelope, worker_event
from tests.integration.test_allocate import allocate
from tests.integration.test_review import request
from workflow.audit import audit
from workflow.enrol import export_enrolment
from workflow.expire import expire_funds
from workflow.fund_change import change_funds
from workflow.load_regions import load_regions
from workflow.outbox import purge_outbox
from workflow.reconcile import parse_answers, reconcile_answers
from workflow.register import register_workers
from workflow.review import Batch, confirm, decide


@dataclass(frozen=True)
class House:
    """A database migrated by who may create roles; ``worker`` connects as a member of gotong_app."""

    owner: Engine
    worker: Engine


@pytest.fixture
def house(own_postgres: EmbeddedPostgres) -> Iterator[House]:
    name = f"gotong_test_{secrets.token_hex(6)}"
    with psycopg.connect(own_postgres.superuser_conninfo(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    base = make_url(own_postgres.url()).set(database=name)
    owner_url = base.set(username="postgres").render_as_string(hide_password=False)
    migrate(owner_url)
    owner = open_engine(owner_url)
    with owner.begin() as connection:
        connection.execute(text("CREATE ROLE gotong_worker LOGIN IN ROLE gotong_app"))
    load_regions(owner, [KUKAR])
    worker = open_engine(base.set(username="gotong_worker").render_as_string(hide_password=False))
    yield House(owner, worker)
    worker.dispose()
    owner.dispose()


@pytest.mark.parametrize("table", ["journal_entry", "audit_record"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET hash = hash", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_books_are_closed_to_changes_even_without_the_trigger(
    house: House, table: str, statement: str
) -> None:
    with house.owner.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    with pytest.raises(ProgrammingError, match="permission denied"), house.worker.begin() as connection:
        connection.execute(text(statement.format(table)))
    with pytest.raises(ProgrammingError, match="must be owner"), house.worker.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} ENABLE TRIGGER USER"))


def test_every_table_is_readable_and_the_transitions_are_not_writable(house: House) -> None:
    with house.worker.connect() as connection:
        for table in Base.metadata.tables:
            assert connection.scalar(text(f"SELECT has_table_privilege('{table}', 'SELECT')")), table
        for privilege in ("INSERT", "UPDATE", "DELETE"):
            assert not connection.scalar(
                text(f"SELECT has_table_privilege('legal_transition', '{privilege}')")
            )


def test_the_role_is_enough_for_the_whole_life_of_a_rupiah(house: House, tmp_path: Path) -> None:
    engine = house.worker
    assert pending_revision(engine.url.render_as_string(hide_password=False)) is None
    kind = "funding.pledge-changed.v1"
    made = pledge(amount_rupiah=500_000).model_dump_json(exclude_none=True).encode()
    assert change_funds(engine, CONTEXT, [envelope(made, event_type=kind, topic=kind)]).outcomes == [
        "created"
    ]
    register_workers(engine, CONTEXT, [worker_event(number) for number in (1, 2)])
    with engine.begin() as connection:
        connection.execute(text("UPDATE fund SET four_eyes_above_rupiah = 0"))
    run_id = allocate(engine).run_id
    assert run_id is not None
    waiting = decide(engine, request(engine, Batch(run_id, "csr-1", "64.02.05")), NOW)
    confirm(engine, waiting.decision_id, "budi", NOW)
    export_enrolment(engine, VAULT, "csr-1", "siti", tmp_path, NOW)
    with engine.connect() as connection:
        references = connection.scalars(text("SELECT reference FROM enrolment_line ORDER BY 1")).all()
    answers = [
        {"referensi": references[0], "status": "diterima"},
        {"referensi": references[1], "status": "ditolak", "alasan": "deceased"},
    ]
    assert reconcile_answers(engine, parse_answers(answers), "siti", NOW).outcomes == {
        "enrolled": 1,
        "refused": 1,
    }
    assert expire_funds(engine, NOW.replace(year=2028)) == ["csr-1"]
    with engine.begin() as connection:
        purge_outbox(connection, older_than_seconds=0)
    assert audit(engine) == []


def test_a_server_where_nobody_may_create_roles_migrates_all_the_same(
    empty_database_url: str,
) -> None:
    migrate(empty_database_url)
    assert pending_revision(empty_database_url) is None
