"""Rows of the access matrix: administration."""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import Engine

from models.message import InboundMessage, Refusal
from models.vault import Vault
from tests.integration.portal.rows import OWN, Maker, Row, signed_in
from tests.integration.portal.rows_review import make_batch
from tests.integration.portal.site import MASTER_KEY, now
from workflow.account import Scope
from workflow.api_key import create_key
from workflow.dead_letter import list_dead_letters, record_dead_letters

_ADMINISTRATION = "/administration"
_KEY = {"name": "", "role": "auditor", "days": "90"}
_POLICY = {"text": "tiers = 3"}

ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", f"{_ADMINISTRATION}/dead-letters"): Row(signed_in(200, "administrator")),
    ("POST", f"{_ADMINISTRATION}/dead-letters/replay"): Row(signed_in(422, "administrator")),
    ("GET", f"{_ADMINISTRATION}/dead-letters/{{number}}"): Row(
        signed_in(200, "administrator"), objects="dead letter"
    ),
    ("POST", f"{_ADMINISTRATION}/dead-letters/{{number}}/replay"): Row(
        signed_in(303, "administrator"), objects="dead letter"
    ),
    ("GET", f"{_ADMINISTRATION}/keys"): Row(signed_in(200, "administrator")),
    ("POST", f"{_ADMINISTRATION}/keys"): Row(signed_in(422, "administrator"), _KEY),
    ("POST", f"{_ADMINISTRATION}/keys/{{key_id}}/revoke"): Row(
        signed_in(303, "administrator"), objects="api key"
    ),
    ("GET", f"{_ADMINISTRATION}/policies"): Row(signed_in(200, "administrator")),
    ("POST", f"{_ADMINISTRATION}/policies"): Row(signed_in(422, "administrator"), _POLICY),
    ("POST", f"{_ADMINISTRATION}/policies/in-force/{{regency}}"): Row(
        signed_in(303, "administrator"), {"policy": "default 0"}, objects="regency"
    ),
    ("GET", "/metrics"): Row(signed_in(200, "administrator")),
    ("GET", f"{_ADMINISTRATION}/health"): Row(signed_in(200, "administrator")),
    ("POST", f"{_ADMINISTRATION}/health/regencies/{{regency}}/resume"): Row(
        signed_in(409, "administrator"), objects="regency at odds"
    ),
    ("POST", f"{_ADMINISTRATION}/health/intake/{{topic}}/resume"): Row(
        signed_in(404, "administrator"), objects="regency"
    ),
}


def make_dead_letter(
    engine: Engine,
    payload: bytes = b'{"specversion": "1.0"}',
    reason: str = "village_unknown",
    detail: str = "village: 64.02.99.9999 is not a village",
) -> int:
    """A refused message as a worker leaves it; returns its number."""
    message = InboundMessage(
        log_id=uuid.uuid4().hex,
        topic="coverage.worker-uncovered.v1",
        partition=0,
        offset=1,
        key=None,
        value=payload,
        headers={"content-type": b"application/cloudevents+json"},
    )
    with engine.begin() as connection:
        record_dead_letters(connection, Vault(MASTER_KEY), [Refusal(message, reason, detail)])
    return list_dead_letters(engine, limit=1)[0].id


def _dead_letter(engine: Engine, kind: str, visitor: str) -> str:
    return str(make_dead_letter(engine))


def _api_key(engine: Engine, kind: str, visitor: str) -> str:
    key = create_key(engine, "test", name=uuid.uuid4().hex, role="auditor", scope=Scope(), days=30, now=now())
    return str(key.id)


def _regency_at_odds(engine: Engine, kind: str, visitor: str) -> str:
    """A regency whose books do not agree: a line and its money, but no journal."""
    make_batch(engine, OWN, visitor)
    return "64.02"


def _regency(engine: Engine, kind: str, visitor: str) -> str:
    return "64.02"


#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {
    "dead letter": _dead_letter,
    "api key": _api_key,
    "regency": _regency,
    "regency at odds": _regency_at_odds,
}
