"""Alembic's entry: run the revisions in one transaction under an advisory lock."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

import models.account_tables
import models.alert_tables
import models.api_tables
import models.company_tables
import models.document_tables
import models.intake_tables
import models.review_tables
import models.verification_tables  # noqa: F401 - registers its tables with the metadata
from models.database import open_engine
from models.tables import Base

_LOCK = 0x676F746F6E67  # "gotong": any constant shared by every migrating process


def run() -> None:
    """Connect to the URL the caller put into the configuration and upgrade."""
    engine = open_engine(context.config.attributes["url"], pool_size=1, application_name="gotong-migrate")
    try:
        with engine.connect() as connection:
            context.configure(connection=connection, target_metadata=Base.metadata)
            with context.begin_transaction():
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
                context.run_migrations()
            connection.commit()
    finally:
        engine.dispose()


run()
