"""The migrations lead to exactly the tables the program believes in."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select, text

from models.database import open_engine
from models.migrate import migrate, pending_revision
from models.review_tables import LegalTransition
from models.state import NEED_TRANSITIONS, PROPOSAL_TRANSITIONS
from models.tables import Base

# Alembic compares neither CHECKs nor the predicates of partial indexes; PostgreSQL prints both.
_RULES = text(
    """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'
    UNION ALL
    SELECT tablename, indexname, indexdef FROM pg_indexes
    WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    """
)


def test_the_migrated_schema_equals_the_tables(database_url: str, empty_database_url: str) -> None:
    migrated, created = open_engine(database_url), open_engine(empty_database_url)
    try:
        Base.metadata.create_all(created)
        with migrated.connect() as connection, created.connect() as other:
            context = MigrationContext.configure(connection, opts={"compare_server_default": True})
            assert compare_metadata(context, Base.metadata) == []
            assert set(connection.execute(_RULES)) == set(other.execute(_RULES))
    finally:
        migrated.dispose()
        created.dispose()


def test_migrating_twice_changes_nothing(empty_database_url: str) -> None:
    assert pending_revision(empty_database_url) is not None
    migrate(empty_database_url)
    assert pending_revision(empty_database_url) is None
    migrate(empty_database_url)
    assert pending_revision(empty_database_url) is None


def test_the_database_allows_the_transitions_that_the_program_knows(database_url: str) -> None:
    engine = open_engine(database_url)
    with engine.connect() as connection:
        stored = {tuple(row) for row in connection.execute(select(LegalTransition.__table__))}
    engine.dispose()
    assert stored == {("coverage_need", *pair) for pair in NEED_TRANSITIONS} | {
        ("proposal", *pair) for pair in PROPOSAL_TRANSITIONS
    }
