"""Publish heads: say outside the database where every journal ends.

The hash chain shows that entries fit to each other; a published head shows that they are still the
same ones. With it, not even the owner of the database can rewrite the past unnoticed.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select, text

from models.event import FundHead, JournalHead
from models.review_tables import AuditRecord
from models.tables import Regency
from workflow.outbox import enqueue_event
from workflow.record import record_action

_ACTION = "publish_heads"

_HEADS = text(
    """
    SELECT DISTINCT ON (f.code) f.code, j.number, j.hash
    FROM fund f JOIN journal_entry j ON j.fund_id = f.id
    WHERE f.regency_code = :regency ORDER BY f.code, j.number DESC
    """
)


def publish_heads(engine: Engine, actor: str, now: dt.datetime) -> list[JournalHead]:
    """One ``journal.head.v1`` for each regency that has journals; returns what was published."""
    with engine.connect() as connection:
        regencies = connection.scalars(select(Regency.code).order_by(Regency.code)).all()
    heads = (_publish_head(engine, regency, actor, now) for regency in regencies)
    return [head for head in heads if head is not None]


def publish_daily_heads(engine: Engine, now: dt.datetime) -> list[JournalHead]:
    """As ``publish_heads``, but at most once on each regency's own day."""
    published = []
    with engine.connect() as connection:
        regencies = connection.execute(select(Regency.code, Regency.timezone).order_by(Regency.code)).all()
        due = []
        for regency in regencies:
            here = now.astimezone(ZoneInfo(regency.timezone))
            today = here.replace(hour=0, minute=0, second=0, microsecond=0)
            if not connection.scalar(
                select(AuditRecord.number)
                .where(
                    AuditRecord.action == _ACTION,
                    AuditRecord.subject == regency.code,
                    AuditRecord.recorded_at >= today,
                )
                .limit(1)
            ):
                due.append(regency.code)
    for code in due:
        if (head := _publish_head(engine, code, "schedule", now)) is not None:
            published.append(head)
    return published


def _publish_head(engine: Engine, regency: str, actor: str, now: dt.datetime) -> JournalHead | None:
    with engine.begin() as connection:
        funds = tuple(
            FundHead(fund_id=row.code, entries=row.number, hash=bytes(row.hash).hex())
            for row in connection.execute(_HEADS, {"regency": regency})
        )
        if not funds:
            return None
        head = JournalHead(regency=regency, read_at=now.astimezone(dt.UTC).isoformat(), funds=funds)
        enqueue_event(connection, "journal.head.v1", head, key=regency.encode(), time=now)
        record_action(connection, actor, _ACTION, regency, {"funds": len(funds)}, now)
    return head
