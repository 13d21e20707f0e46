"""Sign a statement: what a company may publish about its cover, under the house's signature.

Signed is the canonical JSON of the content (sorted keys, UTF-8, no blanks) with Ed25519 (RFC 8032); the
digest that people compare is the SHA-256 of the same bytes. See docs/decisions/0011-statements.md.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
import uuid
from dataclasses import dataclass
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Connection, Engine, Row, insert, select, text

from models.company_tables import Statement
from models.vault import Vault
from workflow.read_company import Impact, Reach, count_if_enough, read_funds, read_impact
from workflow.record import record_action

_MOVED = text(
    """
    SELECT j.kind, sum(j.amount_rupiah)::int8 AS rupiah FROM journal_entry j
    WHERE j.fund_id = ANY(:funds) AND (j.recorded_at AT TIME ZONE :timezone)::date BETWEEN :first AND :last
    GROUP BY 1
    """
)


class NothingToStateError(Exception):
    """The company has no pledge, so there is nothing to state."""


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement as it stands in the database. ``genuine``: this house signed exactly this content."""

    id: uuid.UUID
    code: str
    content: dict[str, Any]
    digest: str
    signature: str
    signed_at: dt.datetime
    genuine: bool


def write_content(
    connection: Connection, funder: str, first: dt.date, last: dt.date, timezone: str
) -> dict[str, Any]:
    """What a statement about whole months says; no person is named in it. Days in the regency's own time.

    ``connection`` is confined to the company. Raises :class:`NothingToStateError`.
    """
    funds = read_funds(connection, funder)
    if not funds:
        raise NothingToStateError
    moved = {
        row.kind: int(row.rupiah)
        for row in connection.execute(
            _MOVED,
            {"funds": [fund.id for fund in funds], "timezone": timezone, "first": first, "last": last},
        )
    }
    impact = read_impact(connection, funder, first, last)
    return {
        "company": funds[0].funder,
        "npwp": funder,
        "period_from": first.isoformat(),
        "period_to": last.isoformat(),
        "pledged_rupiah": moved.get("pledge", 0) + moved.get("top_up", 0) - moved.get("reduce", 0),
        "committed_rupiah": moved.get("post", 0) - moved.get("refund", 0),
        "disbursed_rupiah": moved.get("disburse", 0),
        "expired_rupiah": moved.get("expire", 0),
        "balance_rupiah": sum(fund.left_rupiah for fund in funds),
        **_cover(impact),
    }


def sign_statement(
    engine: Engine, vault: Vault, content: dict[str, Any], signed_by: str, now: dt.datetime
) -> uuid.UUID:
    """Number, sign and keep a statement; returns its id."""
    statement_id = uuid.uuid4()
    signed = content | {"id": str(statement_id), "signed_at": now.astimezone(dt.UTC).isoformat()}
    canonical = write_canonical(signed)
    with engine.begin() as connection:
        connection.execute(
            insert(Statement).values(
                id=statement_id,
                code=secrets.token_urlsafe(16),
                funder=content["npwp"],
                period_from=dt.date.fromisoformat(content["period_from"]),
                period_to=dt.date.fromisoformat(content["period_to"]),
                content=signed,
                digest=hashlib.sha256(canonical).digest(),
                signature=vault.statement_key().sign(canonical),
                signed_by=signed_by,
                signed_at=now,
            )
        )
        record_action(connection, signed_by, "sign_statement", str(statement_id), {}, now)
    return statement_id


def list_statements(connection: Connection, vault: Vault, funder: str) -> list[SignedStatement]:
    """The company's statements, the latest first."""
    rows = connection.execute(
        select(Statement.__table__).where(Statement.funder == funder).order_by(Statement.number.desc())
    )
    return [_check(vault, row) for row in rows]


def find_statement(
    connection: Connection, vault: Vault, funder: str, statement_id: uuid.UUID
) -> SignedStatement | None:
    """A statement of this company, or ``None``."""
    row = connection.execute(
        select(Statement.__table__).where(Statement.id == statement_id, Statement.funder == funder)
    ).one_or_none()
    return None if row is None else _check(vault, row)


def find_by_code(engine: Engine, vault: Vault, code: str) -> SignedStatement | None:
    """The statement a printed code belongs to, for whoever holds the paper; ``None`` for any other code."""
    with engine.connect() as connection:
        row = connection.execute(select(Statement.__table__).where(Statement.code == code)).one_or_none()
    return None if row is None else _check(vault, row)


def write_canonical(content: dict[str, Any]) -> bytes:
    """The very bytes that are signed."""
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)


def public_key(vault: Vault) -> str:
    """The house's public key, 64 hexadecimal digits."""
    key = vault.statement_key().public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _check(vault: Vault, row: Row[Any]) -> SignedStatement:
    canonical = write_canonical(row.content)
    try:
        vault.statement_key().public_key().verify(row.signature, canonical)
        genuine = hashlib.sha256(canonical).digest() == row.digest
    except InvalidSignature:
        genuine = False
    return SignedStatement(
        row.id, row.code, row.content, row.digest.hex(), row.signature.hex(), row.signed_at, genuine
    )


def _cover(impact: Impact) -> dict[str, Any]:
    def say(reach: Reach) -> dict[str, int | None]:
        counts = {"workers": reach.workers, "enrolled": reach.enrolled, "months": reach.months}
        return {name: count_if_enough(reach, count) for name, count in counts.items()}

    return {
        "total": say(impact.total),
        "programmes": {str(name): say(reach) for name, reach in impact.programmes.items()},
        "districts": {code: say(reach) for code, reach in impact.districts.items()},
    }
