"""Rows of the access matrix: the review queue, its batches and decisions."""

from __future__ import annotations

import uuid
from typing import Any, Final

from sqlalchemy import Engine, text

from tests.builders import NOW, add_need
from tests.integration.portal.rows import FOREIGN, Maker, Row, signed_in

_READERS: Final = ("officer", "auditor")
_OFFICER: Final = frozenset({"officer"})
_FORM: Final = {"key": str(uuid.UUID(int=1)), "token": "old", "do": "approve:all"}


def make_batch(engine: Engine, kind: str, visitor: str) -> str:
    """A batch of one line; a foreign one belongs to another regency."""
    regency = "64.03" if kind == FOREIGN else "64.02"
    name, run_id = uuid.uuid4().hex, uuid.uuid4()
    with engine.begin() as connection:
        values: dict[str, Any] = {"regency": regency, "run": run_id, "code": f"matrix-{name}", "now": NOW}
        for statement in (
            "INSERT INTO region (code, name, level, parent_code) VALUES (:regency, 'Lain', 'regency', '64')"
            " ON CONFLICT DO NOTHING",
            "INSERT INTO regency (code, timezone) VALUES (:regency, 'Asia/Makassar') ON CONFLICT DO NOTHING",
            "INSERT INTO allocation_run (id, regency_code, generation, policy, status)"
            " SELECT :run, :regency, 1 + coalesce(max(generation), 0), '{}', 'ABANDONED' FROM allocation_run"
            " WHERE regency_code = :regency",
            "INSERT INTO fund (code, regency_code, kind, name, revision, window_from, window_to, regions,"
            " occupations, programmes, sexes, pledged_rupiah, reserved_rupiah) VALUES (:code, :regency,"
            " 'csr', 'Dana', 1, '2026-01-01', '2027-12-31', '{}', '{}', 0, '{}', 50400, 50400)",
        ):
            connection.execute(text(statement), values)
        need_id = add_need(connection, int(name[:12], 16), regency_code=regency, state="proposed")
        connection.execute(
            text(
                "INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah)"
                " SELECT :need, id, :run, 3, 50400 FROM fund WHERE code = :code"
            ),
            values | {"need": need_id},
        )
        of_run = text("SELECT id FROM review_batch WHERE run_id = :run")
        return str(connection.scalar(of_run, {"run": run_id}))


def make_decision(engine: Engine, kind: str, visitor: str) -> str:
    """A decision that waits for a second officer; nobody of the matrix took it."""
    batch_id, decision_id = make_batch(engine, kind, visitor), uuid.uuid4()
    with engine.begin() as connection:
        for statement in (
            "INSERT INTO decision (id, idempotency_key, content_hash, action, fund_id, district_code, run_id,"
            " officer, lines, amount_rupiah, needs_second, state, decided_at) SELECT :id, CAST(:id AS text),"
            " '', 'approve', fund_id, district_code, run_id, 'siti@matriks.example', 1, 50400, true,"
            " 'awaiting_second', :now FROM review_batch WHERE id = :batch",
            "INSERT INTO decision_line SELECT :id, p.id FROM proposal p JOIN review_batch b USING (run_id)"
            " WHERE b.id = :batch",
            "UPDATE proposal SET state = 'confirming', version = 2 WHERE id IN"
            " (SELECT proposal_id FROM decision_line WHERE decision_id = :id)",
        ):
            connection.execute(text(statement), {"id": decision_id, "batch": batch_id, "now": NOW})
    return str(decision_id)


def _one(method_status: int, *roles: str, objects: str = "batch", form: dict[str, str] | None = None) -> Row:
    return Row(signed_in(method_status, *roles), form or {}, objects=objects, scoped=_OFFICER)


ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/review"): Row(signed_in(200, *_READERS)),
    ("GET", "/review/news"): Row(signed_in(422, *_READERS)),
    ("GET", "/review/batches.xlsx"): Row(signed_in(200, *_READERS)),
    ("GET", "/review/batches.csv"): Row(signed_in(200, *_READERS)),
    ("GET", "/review/decisions"): Row(signed_in(200, *_READERS)),
    ("GET", "/review/decisions/news"): Row(signed_in(200, *_READERS)),
    ("GET", "/review/decisions/{decision_id}"): _one(200, *_READERS, objects="review_decision"),
    ("POST", "/review/decisions/{decision_id}/confirm"): _one(
        409, "officer", objects="review_decision_undone"
    ),
    ("POST", "/review/decisions/{decision_id}/undo"): _one(303, "officer", objects="review_decision"),
    ("GET", "/review/{batch_id}"): _one(200, *_READERS),
    ("POST", "/review/{batch_id}/claim"): _one(303, "officer"),
    ("POST", "/review/{batch_id}/decide"): _one(409, "officer", form=_FORM),
    ("GET", "/review/{batch_id}/changes"): _one(200, *_READERS),
    ("GET", "/review/{batch_id}/lines.xlsx"): _one(200, *_READERS),
    ("GET", "/review/{batch_id}/lines.csv"): _one(200, *_READERS),
}


def make_undone_decision(engine: Engine, kind: str, visitor: str) -> str:
    """A decision that was taken back."""
    decision_id = make_decision(engine, kind, visitor)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE decision SET state = 'undone', closed_at = :now WHERE id = :id"),
            {"id": decision_id, "now": NOW},
        )
    return decision_id


#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {
    "batch": make_batch,
    "review_decision": make_decision,
    "review_decision_undone": make_undone_decision,
}
