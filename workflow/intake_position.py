"""Intake position: how far each partition was taken, kept in the database that holds what was taken.

The broker's committed offsets belong to the broker. A database restored from a backup is older than they
are: started from them, a worker would skip whatever came in between. So a worker starts from the lesser of
the two, and whatever it reads again the inbox recognises.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Engine, select, text
from sqlalchemy.dialects.postgresql import insert

from models.intake_tables import IntakePosition

#: Topic and partition.
Partition = tuple[str, int]

# Lost in a crash of the server, an older position stays: a few repeats more. No disk need be waited for.
_WITHOUT_WAITING = text("SET LOCAL synchronous_commit = off")


def store_positions(engine: Engine, log_id: str, next_offsets: Mapping[Partition, int]) -> None:
    """Note that every message before these offsets has its outcome in this database.

    Call it only after the outcomes are committed: a position may lag, never lead.
    """
    statement = insert(IntakePosition)
    changes = {"log_id": statement.excluded.log_id, "next_offset": statement.excluded.next_offset}
    rows = [
        {"topic": topic, "partition": partition, "log_id": log_id, "next_offset": next_offset}
        for (topic, partition), next_offset in sorted(next_offsets.items())  # one order for all
    ]
    with engine.begin() as connection:
        connection.execute(_WITHOUT_WAITING)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["topic", "partition"], set_=changes), rows
        )


def read_positions(engine: Engine, log_id: str) -> dict[Partition, int]:
    """The offsets that :func:`store_positions` noted for the log ``log_id``."""
    statement = select(IntakePosition.topic, IntakePosition.partition, IntakePosition.next_offset)
    with engine.connect() as connection:
        rows = connection.execute(statement.where(IntakePosition.log_id == log_id))
        return {(row.topic, row.partition): row.next_offset for row in rows}
