"""PostgreSQL itself confines a page's transaction: whoever forgets to say who asks sees nothing."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from gotong.postgres import EmbeddedPostgres
from models.database import open_engine
from models.migrate import migrate
from models.role import Role
from portal.unit import confine, open_unit
from tests.builders import NOW, add_need, apply_fund, pledge
from tests.integration.portal.site import COMPANY, OTHER_COMPANY, VILLAGE
from workflow.record import record_action
from workflow.sign_in import Visitor

OTHER_VILLAGE = "64.02.01.2001"
#: Where a page may look, and that somebody else's rows stand in each of them.
TABLES = (
    "fund",
    "worker",
    "coverage_need",
    "proposal",
    "journal_entry",
    "decision",
    "decision_line",
    "enrolment_batch",
    "enrolment_line",
    "funded_month",
    "allocation_run",
)
#: Tables with their own tests of who reads what: of the review queue, alerts, companies, villages, documents.
OTHER_TABLES = {
    "alert",
    "alert_override",
    "alert_rule",
    "audit_record",
    "batch_claim",
    "fund_document",
    "fund_forecast",
    "need_verification",
    "pledge_offer",
    "review_batch",
    "statement",
    "terms_change",
}


def visitor(role: Role, **scope: str) -> Visitor:
    places: dict[str, Any] = {"regency": None, "funder": None, "village": None} | scope
    return Visitor(
        account_id=uuid.uuid4(),
        session_id=uuid.uuid4(),
        email="orang@contoh.example",
        name="Orang",
        role=role,
        missing=None,
        demo=False,
        **places,
    )


@pytest.fixture(scope="module")
def seeded(engine: Engine) -> Engine:
    """Two companies, two villages: csr-1 pays the first need of each village, csr-2 the second of each."""
    apply_fund(engine, pledge("csr-1", 10_000_000, npwp="01.300.066.6-091.000"))
    apply_fund(engine, pledge("csr-2", 10_000_000, npwp=OTHER_COMPANY))
    run_id = uuid.uuid4()
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO allocation_run (id, regency_code, generation, policy, status)"
                " VALUES (:id, '64.02', 1, '{}', 'OPTIMAL')"
            ),
            {"id": run_id},
        )
        for number in range(4):
            village = (VILLAGE, OTHER_VILLAGE)[number // 2]
            need_id = add_need(connection, number, village_code=village)
            _add_line(connection, number, need_id, f"csr-{number % 2 + 1}", run_id)
    return engine


def _add_line(connection: Connection, number: int, need_id: int, fund: str, run_id: uuid.UUID) -> None:
    """An enrolled line with everything that hangs on it."""
    values = {"need": need_id, "fund": fund, "run": run_id, "number": number, "now": NOW, "id": uuid.uuid4()}
    values["hash"] = hashlib.sha256(str(number).encode()).digest()
    for statement in (
        "INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah, state)"
        " SELECT :need, id, :run, 3, 50400, 'enrolled' FROM fund WHERE code = :fund",
        "INSERT INTO decision (id, idempotency_key, content_hash, action, fund_id, district_code, run_id,"
        " officer, lines, amount_rupiah, needs_second, state, decided_at)"
        " SELECT :id, CAST(:id AS text), :hash, 'approve', id, '64.02.05', :run,"
        " 'petugas', 1, 50400, false, 'done', :now FROM fund WHERE code = :fund",
        "INSERT INTO decision_line (decision_id, proposal_id)"
        " SELECT :id, id FROM proposal WHERE need_id = :need",
        "INSERT INTO enrolment_batch (id, fund_id, officer, lines, total_rupiah, exported_at)"
        " SELECT :id, id, 'petugas', 1, 50400, :now FROM fund WHERE code = :fund",
        "INSERT INTO enrolment_line (reference, batch_id, number, proposal_id)"
        " SELECT CAST(:id AS text), :id, :number, id FROM proposal WHERE need_id = :need",
        "INSERT INTO funded_month (worker_id, programme, month, proposal_id) SELECT n.worker_id, 1,"
        " '2026-12-01', p.id FROM proposal p JOIN coverage_need n ON n.id = p.need_id WHERE n.id = :need",
    ):
        connection.execute(text(statement), values)


def count_rows(connection: Connection) -> dict[str, int]:
    return {table: connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0 for table in TABLES}


def test_the_houses_own_processes_see_everything(seeded: Engine) -> None:
    with seeded.connect() as connection:
        assert not connection.scalar(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user"))
        assert count_rows(connection) == {
            table: {"fund": 2, "journal_entry": 2, "allocation_run": 1}.get(table, 4) for table in TABLES
        }


def test_without_a_context_nothing_is_seen(seeded: Engine) -> None:
    with seeded.begin() as connection:
        connection.execute(text("SET LOCAL ROLE gotong_portal"))
        assert set(count_rows(connection).values()) == {0}


@pytest.mark.parametrize(
    "role", ["officer", "company_user", "company_admin", "verifier", "administrator", "superuser"]
)
def test_a_role_without_its_scope_sees_nothing(seeded: Engine, role: Role) -> None:
    with open_unit(seeded, visitor(role)) as connection:
        assert set(count_rows(connection).values()) == {0}


@pytest.mark.parametrize("role", ["company_user", "company_admin"])
def test_a_company_sees_its_own_funds_and_their_lines(seeded: Engine, role: Role) -> None:
    with open_unit(seeded, visitor(role, funder=COMPANY)) as connection:
        assert connection.scalars(text("SELECT code FROM fund")).all() == ["csr-1"]
        assert count_rows(connection) == {
            table: {"fund": 1, "journal_entry": 1, "allocation_run": 0}.get(table, 2) for table in TABLES
        }
        strange = connection.scalar(
            text("SELECT count(*) FROM proposal p LEFT JOIN fund f ON f.id = p.fund_id WHERE f.id IS NULL")
        )
        assert strange == 0


def test_a_company_does_not_see_what_was_taken_away_again(seeded: Engine) -> None:
    with seeded.connect() as connection, connection.begin() as transaction:
        connection.execute(text("ALTER TABLE proposal DISABLE TRIGGER USER"))
        connection.execute(
            text(
                "UPDATE proposal SET state = 'superseded', version = 2, closed_at = now(),"
                " closed_cause = 'run', closed_cause_id = run_id"
                " WHERE need_id = (SELECT min(need_id) FROM proposal)"
            )
        )
        confine(connection, visitor("company_user", funder=COMPANY))
        counts = count_rows(connection)
        assert (counts["proposal"], counts["coverage_need"], counts["worker"]) == (1, 1, 1)
        transaction.rollback()


def test_a_verifier_sees_the_own_village(seeded: Engine) -> None:
    with open_unit(seeded, visitor("verifier", village=VILLAGE)) as connection:
        villages = connection.scalars(text("SELECT DISTINCT village_code FROM coverage_need")).all()
        assert villages == [VILLAGE]
        counts = count_rows(connection)
        assert {table: counts[table] for table in ("worker", "coverage_need", "proposal")} == {
            "worker": 2, "coverage_need": 2, "proposal": 2
        }  # fmt: skip
        assert counts["fund"] == counts["journal_entry"] == counts["decision"] == 0


def test_an_officer_sees_the_own_regency_and_an_auditor_all(seeded: Engine) -> None:
    with seeded.connect() as connection:
        everything = count_rows(connection)
    whole = visitor("auditor")
    for reader in (visitor("officer", regency="64.02"), whole, visitor("auditor", regency="64.02")):
        with open_unit(seeded, reader) as connection:
            assert count_rows(connection) == everything
    for reader in (visitor("officer", regency="64.03"), visitor("auditor", regency="64.03")):
        with open_unit(seeded, reader) as connection:
            assert set(count_rows(connection).values()) == {0}


@pytest.mark.parametrize(
    "column",
    [
        "worker.nik_hash",
        "worker.nik_encrypted",
        "worker.name_encrypted",
        "worker.birth_year",
        "decision.officer",
        "decision.remark",
        "enrolment_batch.officer",
    ],
)
def test_nobody_reads_who_a_person_is(seeded: Engine, column: str) -> None:
    table, name = column.split(".")
    with open_unit(seeded, visitor("auditor")) as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(f"SELECT {name} FROM {table}"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fund SET name = 'x'",
        "DELETE FROM proposal",
        "INSERT INTO allocation_signal (regency_code) VALUES ('64.02')",
        "SELECT * FROM account",
        "SELECT * FROM account_session",
        "SELECT * FROM outbox_message",
        "SELECT * FROM dead_letter",
        "SELECT * FROM idempotent_request",
    ],
)
def test_a_page_writes_nothing_and_reads_no_secrets(seeded: Engine, statement: str) -> None:
    with open_unit(seeded, visitor("officer", regency="64.02")) as connection:
        with pytest.raises(ProgrammingError, match="permission denied"):
            connection.execute(text(statement))


def test_records_and_signatures_are_the_offices_business(seeded: Engine) -> None:
    with seeded.begin() as connection:
        record_action(connection, "orang@lain.example", "resume", "64.71", {}, NOW)
        record_action(connection, "orang@sini.example", "resume", "64.02", {}, NOW)
    seen: dict[str, tuple[set[str], int | None]] = {}
    scopes: tuple[tuple[Role, dict[str, str]], ...] = (
        ("officer", {"regency": "64.02"}),
        ("company_admin", {"funder": COMPANY}),
        ("verifier", {"village": VILLAGE}),
    )
    for role, scope in scopes:
        with open_unit(seeded, visitor(role, **scope)) as connection:
            subjects = set(connection.scalars(text("SELECT subject FROM audit_record")))
            seen[role] = (subjects, connection.scalar(text("SELECT count(*) FROM review_decision")))
    assert "64.02" in seen["officer"][0] and "64.71" not in seen["officer"][0]
    assert seen["officer"][1] == 4
    assert seen["company_admin"] == seen["verifier"] == (set(), 0)


def test_the_context_ends_with_its_transaction(seeded: Engine) -> None:
    with seeded.connect() as connection:
        owner = connection.scalar(text("SELECT current_user"))
        connection.rollback()
        with connection.begin():
            confine(connection, visitor("company_user", funder=COMPANY))
            assert connection.scalar(text("SELECT current_user")) == "gotong_portal"
        assert connection.scalar(text("SELECT current_user")) == owner
        assert not connection.scalar(text("SELECT current_setting('gotong.funder', true)"))


def test_no_table_is_readable_without_a_policy(seeded: Engine) -> None:
    """A grant on a new table without forced row-level security would be a hole that no page test finds."""
    with seeded.connect() as connection:
        readable = connection.execute(
            text(
                "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS guarded FROM pg_class c"
                " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')"
                " AND has_any_column_privilege('gotong_portal', c.oid, 'SELECT, INSERT, UPDATE')"
            )
        ).all()
        role = connection.execute(
            text("SELECT rolsuper, rolbypassrls, rolcanlogin FROM pg_roles WHERE rolname = 'gotong_portal'")
        ).one()
    assert sorted(row.relname for row in readable if row.guarded) == sorted({*TABLES, *OTHER_TABLES})
    # review_decision is a view that asks for the context itself (migration 0008).
    assert {row.relname for row in readable if not row.guarded} == {"region", "regency", "review_decision"}
    assert tuple(role) == (False, False, False)


def test_the_role_is_made_by_the_migration_or_asked_for(own_postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(own_postgres.superuser_conninfo(), autocommit=True) as superuser:
        superuser.execute("DROP ROLE gotong_portal")
        with pytest.raises(ProgrammingError, match="role gotong_portal is missing") as refused:
            migrate(own_postgres.url())
        assert "CREATE ROLE gotong_portal NOLOGIN; GRANT gotong_portal TO gotong" in str(refused.value)
        superuser.execute("ALTER ROLE gotong CREATEROLE")
        migrate(own_postgres.url())
    engine = open_engine(own_postgres.url())
    with open_unit(engine, visitor("auditor")) as connection:
        assert connection.scalar(text("SELECT current_user")) == "gotong_portal"
    engine.dispose()
