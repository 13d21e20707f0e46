"""Mark messages: how far a person of a company has read what changed; it never goes back."""

from __future__ import annotations

import datetime as dt
import uuid

from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from models.company_tables import MessageMark


def read_mark(engine: Engine, account_id: uuid.UUID) -> dt.datetime | None:
    """When the newest message that this person has read arose; ``None``: none was read."""
    with engine.connect() as connection:
        return connection.scalar(select(MessageMark.read_at).where(MessageMark.account_id == account_id))


def mark_messages(engine: Engine, account_id: uuid.UUID, until: dt.datetime) -> None:
    """Everything up to ``until`` was read; what came while the page stood open stays unread."""
    statement = insert(MessageMark).values(account_id=account_id, read_at=until)
    later = func.greatest(MessageMark.read_at, statement.excluded.read_at)
    with engine.begin() as connection:
        connection.execute(
            statement.on_conflict_do_update(index_elements=["account_id"], set_={"read_at": later})
        )
