"""Bring a database to the current schema (alembic, revisions in models/migrations)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from models.database import open_engine


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["url"] = url
    return config


def migrate(url: str) -> None:
    """Upgrade to the newest revision; does nothing when already there.

    Safe when several processes start at once: an advisory lock lets one of them work.
    """
    command.upgrade(_config(url), "head")


def pending_revision(url: str) -> str | None:
    """The revision the database lacks, or ``None`` when it is current."""
    head = ScriptDirectory.from_config(_config(url)).get_current_head()
    engine = open_engine(url, pool_size=1)
    try:
        with engine.connect() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()
    return None if current == head else head
