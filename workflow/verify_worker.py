"""Verify a worker: somebody of the village says whether the need is real.

A finding other than "confirmed" closes the need; a line that no officer has finally signed is released with
its money, and an approval that waits for its second officer is undone first, as when a fund shrinks. A closed
need stays closed: taking a finding back opens the same need anew, and the next run matches it.

Names are read here because a verifier must find the person (UU PDP 27/2022: purpose limitation): the own
village's waiting workers alone, the NIK masked to its last four digits, each reading on record.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, insert, select, text, update

from models.journal import Cause
from models.programme import bundle_of_mask, write_bundle
from models.vault import UndecryptableError, Vault
from models.verification_tables import OUTCOMES, NeedVerification
from workflow.deadlock import ask_again
from workflow.move_money import Movement, move_money
from workflow.record import record_action
from workflow.request import raise_signal

#: How long a finding can be taken back by the person who gave it.
UNDO_LASTS: Final = dt.timedelta(minutes=10)

_TO_VISIT: Final = """
    n.village_code = :village AND n.state IN ('waiting', 'proposed')
    AND NOT EXISTS (SELECT 1 FROM need_verification v WHERE v.need_id = n.id AND v.undone_at IS NULL)
"""
_WAITING = text(
    f"""
    SELECT n.id AS need_id, n.programmes, n.months, n.start_month, w.occupation,
           w.nik_encrypted, w.nik_hash, w.name_encrypted
    FROM coverage_need n JOIN worker w ON w.id = n.worker_id
    WHERE {_TO_VISIT} AND (:occupation = '' OR w.occupation = :occupation)
    ORDER BY n.reported_at, n.id OFFSET :first LIMIT :most
    """  # noqa: S608 - put together from constants
)
_HOW_MANY = text(
    f"""
    SELECT w.occupation, count(*) AS workers FROM coverage_need n JOIN worker w ON w.id = n.worker_id
    WHERE {_TO_VISIT} GROUP BY w.occupation ORDER BY w.occupation
    """  # noqa: S608 - the same
)

_FINDINGS = text(
    """
    SELECT v.id AS finding, v.need_id, v.outcome, v.verified_at, n.programmes, n.months, n.start_month,
           w.occupation, w.nik_encrypted, w.nik_hash, w.name_encrypted
    FROM need_verification v JOIN coverage_need n ON n.id = v.need_id JOIN worker w ON w.id = n.worker_id
    WHERE n.village_code = :village AND v.verifier = :verifier AND v.undone_at IS NULL
    ORDER BY v.verified_at DESC, v.id LIMIT :most
    """
)

# Decisions, then needs and lines, then funds: the order in which officers and runs lock them too.
_LOCK_DECISION = text(
    """
    SELECT d.id FROM decision d JOIN decision_line l ON l.decision_id = d.id
    JOIN proposal p ON p.id = l.proposal_id
    WHERE p.need_id = :need AND d.state = 'awaiting_second' FOR UPDATE OF d
    """
)
_LOCK_NEED = text(
    """
    SELECT n.id, n.state, n.regency_code, p.id AS line, p.fund_id, p.amount_rupiah
    FROM coverage_need n
    LEFT JOIN proposal p ON p.need_id = n.id AND p.state IN ('proposed', 'confirming')
    WHERE n.id = :need AND n.village_code = :village FOR UPDATE OF n
    """
)
_UNDO_DECISION = text(
    """
    WITH undone AS (
        UPDATE decision SET state = 'undone', closed_at = :now WHERE id = :decision RETURNING id
    )
    UPDATE proposal p SET state = 'proposed', version = p.version + 1
    FROM undone u JOIN decision_line l ON l.decision_id = u.id
    WHERE p.id = l.proposal_id AND p.state = 'confirming'
    """
)
_RELEASE_LINE = text(
    """
    UPDATE proposal SET state = 'released', version = version + 1, closed_at = :now,
                        closed_cause = 'decision', closed_cause_id = :cause
    WHERE id = :line AND state = 'proposed'
    """
)
_SET_NEED = text(
    "UPDATE coverage_need SET state = :state, unfunded_reason = :reason, version = version + 1"
    " WHERE id = :need"
)
_OPEN_AGAIN = text(
    """
    INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes, months,
                               start_month, priority, reported_at)
    SELECT worker_id, regency_code, district_code, village_code, programmes, months,
           start_month, priority, reported_at
    FROM coverage_need WHERE id = :need
    """
)


class VerificationRefusedError(Exception):
    """The finding cannot be kept or taken back; ``reason``: ``decided``, ``verified``, ``too_late``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NeedUnknownError(Exception):
    """There is no such need or finding in this village."""


@dataclass(frozen=True, slots=True)
class WaitingWorker:
    """Whom to visit. ``nik`` shows its last four digits only."""

    need_id: int
    name: str
    nik: str
    occupation: str
    bundle: str
    months: int
    start_month: dt.date


@dataclass(frozen=True, slots=True)
class WaitingList:
    """A page of the workers to visit; ``total`` and ``occupations`` are of all that fit and all that wait."""

    workers: Sequence[WaitingWorker]
    total: int
    occupations: Sequence[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One's own answer about a worker. ``undoable``: it can still be taken back."""

    id: uuid.UUID
    name: str
    occupation: str
    outcome: str
    verified_at: dt.datetime
    undoable: bool


def read_waiting(
    engine: Engine,
    vault: Vault,
    village: str,
    actor: str,
    now: dt.datetime,
    *,
    search: str = "",
    occupation: str = "",
    first: int = 0,
    most: int = 10,
) -> WaitingList:
    """The village's workers nobody has verified yet; the reading of their names is on record.

    ``search`` looks in names and the last four digits of the NIK; what was searched is not kept.
    """
    asked = {"village": village, "occupation": occupation, "first": first, "most": most}
    with engine.begin() as connection:
        counted = connection.execute(_HOW_MANY, {"village": village})
        waiting: dict[str, int] = {each.occupation: each.workers for each in counted}
        if search:
            rows = connection.execute(_WAITING, asked | {"first": 0, "most": None})
            opened = [_open(vault, row) for row in rows]
            wanted = search.casefold()
            found = [each for each in opened if wanted in each.name.casefold() or each.nik.endswith(wanted)]
            total, page = len(found), found[first : first + most]
        else:
            total = waiting.get(occupation, 0) if occupation else sum(waiting.values())
            page = [_open(vault, row) for row in connection.execute(_WAITING, asked)]
        if page:
            detail = {"needs": [each.need_id for each in page], "searched": bool(search)}
            record_action(connection, actor, "read_names", village, detail, now)
    return WaitingList(page, total, list(waiting))


def read_findings(
    engine: Engine,
    vault: Vault,
    village: str,
    verifier: uuid.UUID,
    actor: str,
    now: dt.datetime,
    *,
    most: int = 20,
) -> list[Finding]:
    """The verifier's own latest answers that stand, newest first; the reading of names is on record."""
    with engine.begin() as connection:
        rows = connection.execute(_FINDINGS, {"village": village, "verifier": verifier, "most": most}).all()
        if rows:
            detail = {"needs": [row.need_id for row in rows], "searched": False}
            record_action(connection, actor, "read_names", village, detail, now)
    return [
        Finding(
            row.finding,
            _open(vault, row).name,
            row.occupation,
            row.outcome,
            row.verified_at,
            now - row.verified_at <= UNDO_LASTS,
        )
        for row in rows
    ]


@ask_again
def verify_worker(
    engine: Engine,
    village: str,
    need_id: int,
    outcome: str,
    verifier: uuid.UUID,
    actor: str,
    now: dt.datetime,
) -> uuid.UUID:
    """Keep what the verifier found; returns the finding's id.

    Raises :class:`NeedUnknownError` outside the village, ``ValueError`` for an unknown outcome, and
    :class:`VerificationRefusedError` when an officer has signed the need or somebody else verified it.
    """
    if outcome not in OUTCOMES:
        raise ValueError("unknown outcome")
    finding = uuid.uuid4()
    with engine.begin() as connection:
        decisions = connection.scalars(_LOCK_DECISION, {"need": need_id}).all()
        need = _lock_need(connection, village, need_id)
        if _standing(connection, need_id) is not None:
            raise VerificationRefusedError("verified")
        if need.state not in ("waiting", "proposed"):
            raise VerificationRefusedError("decided")
        connection.execute(
            insert(NeedVerification).values(
                id=finding, need_id=need_id, outcome=outcome, verifier=verifier, verified_at=now
            )
        )
        if outcome != "confirmed":
            _close_need(connection, need, decisions, outcome, finding, now)
        record_action(connection, actor, "verify_worker", str(need_id), {"outcome": outcome}, now)
    return finding


@ask_again
def undo_verification(
    engine: Engine, village: str, finding: uuid.UUID, verifier: uuid.UUID, actor: str, now: dt.datetime
) -> None:
    """Take the own finding back while it is fresh. Raises as :func:`verify_worker`; twice is harmless."""
    with engine.begin() as connection:
        known = connection.execute(
            select(NeedVerification.__table__)
            .where(NeedVerification.id == finding, NeedVerification.verifier == verifier)
            .with_for_update()
        ).one_or_none()
        if known is None:
            raise NeedUnknownError
        if known.undone_at is not None:
            return
        if now - known.verified_at > UNDO_LASTS:
            raise VerificationRefusedError("too_late")
        need = _lock_need(connection, village, known.need_id)
        connection.execute(
            update(NeedVerification).where(NeedVerification.id == finding).values(undone_at=now)
        )
        if known.outcome != "confirmed":
            connection.execute(_OPEN_AGAIN, {"need": known.need_id})
            raise_signal(connection, need.regency_code)
        record_action(
            connection, actor, "undo_verification", str(known.need_id), {"outcome": known.outcome}, now
        )


def _close_need(
    connection: Connection,
    need: Row[Any],
    decisions: Sequence[uuid.UUID],
    outcome: str,
    finding: uuid.UUID,
    now: dt.datetime,
) -> None:
    for decision in decisions:
        connection.execute(_UNDO_DECISION, {"decision": decision, "now": now})
    if need.line is not None:
        connection.execute(_RELEASE_LINE, {"line": need.line, "cause": finding, "now": now})
        connection.execute(_SET_NEED, {"need": need.id, "state": "waiting", "reason": None})
        movements = [Movement(need.fund_id, "release", need.amount_rupiah)]
        move_money(connection, movements, cause=Cause("decision", finding), recorded_at=now)
    connection.execute(_SET_NEED, {"need": need.id, "state": "closed", "reason": outcome})
    raise_signal(connection, need.regency_code)


def _lock_need(connection: Connection, village: str, need_id: int) -> Row[Any]:
    need = connection.execute(_LOCK_NEED, {"need": need_id, "village": village}).one_or_none()
    if need is None:
        raise NeedUnknownError
    return need


def _standing(connection: Connection, need_id: int) -> uuid.UUID | None:
    return connection.scalar(
        select(NeedVerification.id).where(
            NeedVerification.need_id == need_id, NeedVerification.undone_at.is_(None)
        )
    )


def _open(vault: Vault, row: Row[Any]) -> WaitingWorker:
    """A row with its name; what no key opens stands as unknown, for the list must still be worked off."""
    try:
        nik = vault.open_nik(row.nik_encrypted)[-4:]
        name = vault.open_name(row.name_encrypted, row.nik_hash) if row.name_encrypted else ""
    except UndecryptableError:
        nik = name = ""
    bundle = write_bundle(bundle_of_mask(row.programmes))
    masked = "•" * 12 + nik if nik else ""
    return WaitingWorker(row.need_id, name, masked, row.occupation, bundle, row.months, row.start_month)
