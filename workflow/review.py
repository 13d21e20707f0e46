"""Review: officers decide batches of proposals, alone or with a second pair of eyes.

A batch is what one run proposed from one fund in one district. A decision names
what the officer saw; if that is no longer what stands, it is refused with what
changed. The same idempotency key always gives the same answer.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import orjson
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Engine,
    Row,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from models.event import AllocationDecided
from models.journal import Cause
from models.review_tables import BatchClaim, Decision, DecisionLine
from models.tables import AllocationRun, CoverageNeed, Fund, Proposal
from workflow.commit import MonthAlreadyFundedError, commit_lines
from workflow.deadlock import ask_again
from workflow.move_money import Movement, lock_funds, move_money
from workflow.outbox import enqueue_event
from workflow.record import record_action
from workflow.request import raise_signal

Action = Literal["approve", "reject", "return"]

#: Code -> what the officer reads (Indonesian). ``other`` needs a remark.
REJECTION_REASONS: Final[dict[str, str]] = {
    "not_eligible": "Tidak memenuhi syarat dana ini",
    "data_doubtful": "Data pekerja meragukan",
    "already_covered": "Sudah terlindungi",
    "moved_away": "Pindah atau tidak dikenal di desa",
    "funder_objects": "Penyandang dana berkeberatan",
    "other": "Lainnya",
}

CLAIM_LASTS: Final = dt.timedelta(minutes=30)

_BATCH_NEEDS_MOVE_ON = text(
    """
    UPDATE coverage_need n SET version = n.version + 1
    FROM proposal p
    WHERE p.run_id = :run_id AND p.fund_id = :fund_id AND p.state = 'proposed'
      AND n.id = p.need_id AND n.district_code = :district
    """
)

_CLOSE_LINES = text(
    """
    WITH closed AS (
        UPDATE proposal SET state = :state, version = version + 1, closed_at = :now,
                            closed_cause = 'decision', closed_cause_id = :decision_id
        WHERE id = ANY(:lines)
        RETURNING need_id, amount_rupiah
    ), returned AS (
        UPDATE coverage_need n SET state = 'waiting', version = n.version + 1, unfunded_reason = :reason
        FROM closed c WHERE n.id = c.need_id
    )
    SELECT coalesce(sum(amount_rupiah), 0)::int8 FROM closed
    """
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

_NAME_LINES = text(
    "INSERT INTO decision_line (decision_id, proposal_id) SELECT :decision_id, unnest(:lines)"
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

_MOVE_LINES = text(
    "UPDATE proposal SET state = :state, version = version + 1 WHERE id = ANY(:lines)"
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

_OUTDATED = text(
    """
    SELECT p.id FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    WHERE p.id = ANY(:lines) AND n.changed_at > p.opened_at ORDER BY p.id
    """
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))

_REMEMBER_REJECTIONS = text(
    """
    INSERT INTO rejected_match (need_id, fund_id, fund_revision, need_reported_at)
    SELECT p.need_id, p.fund_id, f.revision, n.reported_at
    FROM proposal p JOIN fund f ON f.id = p.fund_id JOIN coverage_need n ON n.id = p.need_id
    WHERE p.id = ANY(:lines)
    ON CONFLICT (need_id, fund_id) DO UPDATE
        SET fund_revision = excluded.fund_revision, need_reported_at = excluded.need_reported_at
    """
).bindparams(bindparam("lines", type_=ARRAY(BigInteger)))


class ReviewRefusedError(Exception):
    """A decision that cannot be taken; ``reason`` is its code, the message the sentence shown."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BatchChangedError(ReviewRefusedError):
    """The batch is not what the officer saw; ``changes`` says line by line what became of it."""

    def __init__(self, changes: Sequence[tuple[int, str]]) -> None:
        super().__init__("batch_changed", f"the batch has changed: {len(changes)} line(s)")
        self.changes = tuple(changes)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run proposed from one fund in one district."""

    run_id: uuid.UUID
    fund_code: str
    district_code: str


@dataclass(frozen=True, slots=True)
class BatchView:
    """A batch as it stands: open lines as (id, version, rupiah), and the token that names this state."""

    batch: Batch
    lines: tuple[tuple[int, int, int], ...]
    amount_rupiah: int
    token: str


@dataclass(frozen=True, slots=True)
class DecisionRequest:
    """What an officer asks for. ``lines`` empty means the whole batch; ``token`` is the view's."""

    idempotency_key: str
    officer: str
    action: Action
    batch: Batch
    token: str
    lines: tuple[int, ...] = ()
    reason: str | None = None
    remark: str | None = None

    @property
    def content_hash(self) -> bytes:
        """Digest of all that matters, to tell a repeat from another request under the same key."""
        content = [
            self.officer,
            self.action,
            str(self.batch.run_id),
            self.batch.fund_code,
            self.batch.district_code,
            sorted(self.lines),
            self.reason,
            self.remark,
        ]
        return hashlib.sha256(orjson.dumps(content)).digest()


@dataclass(frozen=True, slots=True)
class DecisionAnswer:
    """What came of a decision: ``done``, or ``awaiting_second`` until another officer confirms."""

    decision_id: uuid.UUID
    state: str
    lines: int
    amount_rupiah: int


def read_batch(connection: Connection, batch: Batch, *, lock: bool = False) -> BatchView:
    """The batch's open lines; with ``lock``, held FOR UPDATE with their needs."""
    query = (
        select(Proposal.id, Proposal.version, Proposal.amount_rupiah)
        .join(CoverageNeed, CoverageNeed.id == Proposal.need_id)
        .join(Fund, Fund.id == Proposal.fund_id)
        .where(
            Proposal.run_id == batch.run_id,
            Fund.code == batch.fund_code,
            CoverageNeed.district_code == batch.district_code,
            Proposal.state == "proposed",
        )
        .order_by(CoverageNeed.id)
    )
    if lock:
        query = query.with_for_update(of=[CoverageNeed, Proposal])
    lines = tuple((row.id, row.version, row.amount_rupiah) for row in connection.execute(query))
    read_at = connection.scalar(select(func.clock_timestamp()))
    assert read_at is not None
    digest = hashlib.sha256(orjson.dumps(sorted(lines))).hexdigest()[:32]
    return BatchView(
        batch, lines, sum(line[2] for line in lines), f"{digest}@{read_at.astimezone(dt.UTC).isoformat()}"
    )


@ask_again
def claim_batch(engine: Engine, batch: Batch, officer: str, now: dt.datetime) -> BatchView:
    """Freeze the batch for ``officer`` for half an hour and read it.

    Raises ``ReviewRefusedError`` (``claimed_by_other``) while another officer's claim lasts.
    """
    with engine.begin() as connection:
        fund_id = _fund_id(connection, batch.fund_code)
        place = {"run_id": batch.run_id, "fund_id": fund_id, "district_code": batch.district_code}
        # Of two officers who open it at once, one waits here and finds the other's claim.
        connection.execute(
            insert_or_skip(BatchClaim)
            .values(officer=officer, lapses_at=now + CLAIM_LASTS, **place)
            .on_conflict_do_nothing()
        )
        standing = connection.execute(
            select(BatchClaim.officer, BatchClaim.lapses_at).filter_by(**place).with_for_update()
        ).one()
        if standing.officer != officer and standing.lapses_at > now:
            raise ReviewRefusedError(
                "claimed_by_other", f"opened by {standing.officer} until {standing.lapses_at.isoformat()}"
            )
        connection.execute(
            update(BatchClaim).filter_by(**place).values(officer=officer, lapses_at=now + CLAIM_LASTS)
        )
        # A plan that is being made now has seen these needs; their new version makes it leave them.
        connection.execute(
            _BATCH_NEEDS_MOVE_ON,
            {"run_id": batch.run_id, "fund_id": fund_id, "district": batch.district_code},
        )
        return read_batch(connection, batch)


@ask_again
def decide(engine: Engine, request: DecisionRequest, now: dt.datetime) -> DecisionAnswer:
    """Take a decision, or say why not (``ReviewRefusedError``, ``BatchChangedError``).

    Above the fund's threshold an approval waits for a second officer (:func:`confirm`).
    """
    _check_reason(request)
    with engine.begin() as connection:
        known = _find_by_key(connection, request.idempotency_key)
        if known is not None:
            if known.content_hash != request.content_hash:
                raise ReviewRefusedError("key_reused", "this idempotency key belongs to another decision")
            return _answer(known)
        fund = connection.execute(
            select(Fund.id, Fund.four_eyes_above_rupiah, Fund.regency_code).where(
                Fund.code == request.batch.fund_code
            )
        ).one_or_none()
        if fund is None:
            raise ReviewRefusedError("fund_unknown", f"no fund {request.batch.fund_code}")
        _check_claim(connection, fund.id, request, now)
        proposer = connection.scalar(
            select(AllocationRun.requested_by).where(AllocationRun.id == request.batch.run_id)
        )
        if proposer == request.officer:
            raise ReviewRefusedError("own_proposal", "whoever asked for a run does not decide its proposals")
        view = read_batch(connection, request.batch, lock=True)
        if view.token.partition("@")[0] != request.token.partition("@")[0]:
            raise BatchChangedError(_changes_since(connection, request))
        asked = set(request.lines)
        chosen = [line for line in view.lines if not asked or line[0] in asked]
        if not chosen or (asked and len(chosen) != len(asked)):
            raise ReviewRefusedError("lines_unknown", "not all of these lines stand in the batch")
        if outdated := connection.scalars(_OUTDATED, {"lines": [line[0] for line in chosen]}).all():
            raise BatchChangedError([(line, "need_changed") for line in outdated])
        # Needs and lines first, then the fund: the order in which a run locks them too.
        lock_funds(connection, [fund.id])
        amount_rupiah = sum(line[2] for line in chosen)
        needs_second = request.action == "approve" and (
            amount_rupiah + _signed_alone_rupiah(connection, fund.id, request.officer, now)
            > fund.four_eyes_above_rupiah
        )
        decision_id = uuid.uuid4()
        connection.execute(
            insert(Decision).values(
                id=decision_id,
                idempotency_key=request.idempotency_key,
                content_hash=request.content_hash,
                action=request.action,
                fund_id=fund.id,
                district_code=request.batch.district_code,
                run_id=request.batch.run_id,
                officer=request.officer,
                reason=request.reason,
                remark=request.remark,
                lines=len(chosen),
                amount_rupiah=amount_rupiah,
                needs_second=needs_second,
                state="awaiting_second" if needs_second else "done",
                decided_at=now,
                closed_at=None if needs_second else now,
            )
        )
        line_ids = [line[0] for line in chosen]
        connection.execute(_NAME_LINES, {"decision_id": decision_id, "lines": line_ids})
        if needs_second:
            _set_lines(connection, line_ids, "confirming")
        else:
            _carry_out(connection, request, fund.id, fund.regency_code, decision_id, line_ids, now)
        answer = DecisionAnswer(
            decision_id, "awaiting_second" if needs_second else "done", len(chosen), amount_rupiah
        )
        _announce(connection, fund.regency_code, request, answer, now)
    return answer


@ask_again
def confirm(engine: Engine, decision_id: uuid.UUID, officer: str, now: dt.datetime) -> DecisionAnswer:
    """The second officer's signature: the decision is carried out.

    Raises ``ReviewRefusedError``: ``same_officer``, ``own_proposal``, ``not_awaiting``; and
    ``BatchChangedError`` when a worker's report crossed the first signature: undo it then.
    """
    with engine.begin() as connection:
        decision = _lock_awaiting(connection, decision_id)
        if decision.state == "done" and decision.second_officer == officer:
            return _answer(decision)
        if decision.state != "awaiting_second":
            raise ReviewRefusedError("not_awaiting", f"this decision is {decision.state}")
        if decision.officer == officer:
            raise ReviewRefusedError("same_officer", "the second signature must be another officer's")
        proposer = connection.scalar(
            select(AllocationRun.requested_by).where(AllocationRun.id == decision.run_id)
        )
        if proposer == officer:
            raise ReviewRefusedError("own_proposal", "whoever asked for a run does not decide its proposals")
        standing = _lines_of(connection, decision_id)
        lines = list(standing)
        changes = [(line, state) for line, state in standing.items() if state != "confirming"]
        changes += [(line, "need_changed") for line in connection.scalars(_OUTDATED, {"lines": lines})]
        if changes:
            raise BatchChangedError(changes)
        lock_funds(connection, [decision.fund_id])
        try:
            commit_lines(connection, decision.fund_id, lines, Cause("decision", decision_id), now)
        except MonthAlreadyFundedError as error:
            raise ReviewRefusedError("month_already_funded", str(error)) from error
        connection.execute(
            update(Decision)
            .where(Decision.id == decision_id)
            .values(state="done", second_officer=officer, closed_at=now)
        )
        answer = DecisionAnswer(decision_id, "done", decision.lines, decision.amount_rupiah)
        record_action(connection, officer, "confirm", str(decision_id), {"lines": decision.lines}, now)
    return answer


@ask_again
def undo(engine: Engine, decision_id: uuid.UUID, officer: str, now: dt.datetime) -> DecisionAnswer:
    """Take an approval back before the second officer confirms it; its lines are open again.

    The first officer undoes, or a second one refuses to sign: both leave the lines proposed.
    """
    with engine.begin() as connection:
        decision = _lock_awaiting(connection, decision_id)
        if decision.state == "undone":
            return _answer(decision)
        if decision.state != "awaiting_second":
            raise ReviewRefusedError("not_awaiting", f"this decision is {decision.state}")
        standing = _lines_of(connection, decision_id)
        _set_lines(
            connection, [line for line, state in standing.items() if state == "confirming"], "proposed"
        )
        connection.execute(
            update(Decision).where(Decision.id == decision_id).values(state="undone", closed_at=now)
        )
        regency = connection.scalar(select(Fund.regency_code).where(Fund.id == decision.fund_id))
        assert regency is not None
        raise_signal(connection, regency)
        record_action(connection, officer, "undo", str(decision_id), {"lines": decision.lines}, now)
    return DecisionAnswer(decision_id, "undone", decision.lines, decision.amount_rupiah)


def _check_reason(request: DecisionRequest) -> None:
    if request.action != "reject":
        return
    if request.reason not in REJECTION_REASONS:
        raise ReviewRefusedError("reason_missing", f"choose a reason: {', '.join(REJECTION_REASONS)}")
    if request.reason == "other" and not (request.remark or "").strip():
        raise ReviewRefusedError("remark_missing", "say in words why, when the reason is 'other'")


def _check_claim(connection: Connection, fund_id: int, request: DecisionRequest, now: dt.datetime) -> None:
    claim = connection.execute(
        select(BatchClaim.officer, BatchClaim.lapses_at).where(
            BatchClaim.run_id == request.batch.run_id,
            BatchClaim.fund_id == fund_id,
            BatchClaim.district_code == request.batch.district_code,
        )
    ).one_or_none()
    if claim is not None and claim.officer != request.officer and claim.lapses_at > now:
        raise ReviewRefusedError("claimed_by_other", f"opened by {claim.officer}")


def _carry_out(
    connection: Connection,
    request: DecisionRequest,
    fund_id: int,
    regency: str,
    decision_id: uuid.UUID,
    lines: list[int],
    now: dt.datetime,
) -> None:
    cause = Cause("decision", decision_id)
    if request.action == "approve":
        try:
            commit_lines(connection, fund_id, lines, cause, now)
        except MonthAlreadyFundedError as error:
            raise ReviewRefusedError("month_already_funded", str(error)) from error
        return
    if request.action == "reject":
        connection.execute(_REMEMBER_REJECTIONS, {"lines": lines})
    released = connection.scalar(
        _CLOSE_LINES,
        {
            "lines": lines,
            "state": "rejected" if request.action == "reject" else "returned",
            "reason": request.reason,
            "decision_id": decision_id,
            "now": now,
        },
    )
    assert released is not None
    move_money(connection, [Movement(fund_id, "release", released)], cause=cause, recorded_at=now)
    raise_signal(connection, regency)


def _signed_alone_rupiah(connection: Connection, fund_id: int, officer: str, now: dt.datetime) -> int:
    """What this officer approved alone from this fund in the last day.

    Counted together, so that a large batch cannot be signed alone in small pieces.
    """
    total = connection.scalar(
        select(func.coalesce(func.sum(Decision.amount_rupiah), 0)).where(
            Decision.fund_id == fund_id,
            Decision.officer == officer,
            Decision.action == "approve",
            Decision.state == "done",
            ~Decision.needs_second,
            Decision.decided_at > now - dt.timedelta(days=1),
        )
    )
    return int(total or 0)


def _changes_since(connection: Connection, request: DecisionRequest) -> list[tuple[int, str]]:
    """Lines of the batch that were closed, decided or opened since the officer read it."""
    rows = connection.execute(
        select(Proposal.id, Proposal.state)
        .join(CoverageNeed, CoverageNeed.id == Proposal.need_id)
        .join(Fund, Fund.id == Proposal.fund_id)
        .where(
            Proposal.run_id == request.batch.run_id,
            Fund.code == request.batch.fund_code,
            CoverageNeed.district_code == request.batch.district_code,
            Proposal.version > 1,
        )
        .order_by(Proposal.id)
    )
    return [(row.id, row.state) for row in rows]


def _announce(
    connection: Connection, regency: str, request: DecisionRequest, answer: DecisionAnswer, now: dt.datetime
) -> None:
    enqueue_event(
        connection,
        "allocation.decided.v1",
        AllocationDecided(
            decision_id=str(answer.decision_id),
            regency=regency,
            run_id=str(request.batch.run_id),
            fund_id=request.batch.fund_code,
            district=request.batch.district_code,
            action=request.action,
            state="awaiting_second" if answer.state == "awaiting_second" else "done",
            lines=answer.lines,
            amount_rupiah=answer.amount_rupiah,
        ),
        key=regency.encode(),
    )
    record_action(
        connection,
        request.officer,
        request.action,
        str(answer.decision_id),
        {
            "fund": request.batch.fund_code,
            "district": request.batch.district_code,
            "run": str(request.batch.run_id),
            "lines": answer.lines,
            "amount_rupiah": answer.amount_rupiah,
            "reason": request.reason,
            "state": answer.state,
        },
        now,
    )


def _set_lines(connection: Connection, lines: Sequence[int], state: str) -> None:
    connection.execute(_MOVE_LINES, {"lines": list(lines), "state": state})


def _lines_of(connection: Connection, decision_id: uuid.UUID) -> dict[int, str]:
    """The decision's lines and their states, held FOR UPDATE with their needs, in the order of a run."""
    rows = connection.execute(
        select(Proposal.id, Proposal.state)
        .join(DecisionLine, DecisionLine.proposal_id == Proposal.id)
        .join(CoverageNeed, CoverageNeed.id == Proposal.need_id)
        .where(DecisionLine.decision_id == decision_id)
        .order_by(CoverageNeed.id)
        .with_for_update(of=[CoverageNeed, Proposal])
    )
    return {row.id: row.state for row in rows}


def _lock_awaiting(connection: Connection, decision_id: uuid.UUID) -> Row[tuple[object, ...]]:
    decision = connection.execute(
        select(Decision.__table__).where(Decision.id == decision_id).with_for_update()
    ).one_or_none()
    if decision is None:
        raise ReviewRefusedError("decision_unknown", f"no decision {decision_id}")
    return decision


def _find_by_key(connection: Connection, key: str) -> Row[tuple[object, ...]] | None:
    # The lock makes a second request with this key wait for the first one's outcome.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), {"key": key})
    return connection.execute(select(Decision.__table__).where(Decision.idempotency_key == key)).one_or_none()


def _answer(decision: Row[tuple[object, ...]]) -> DecisionAnswer:
    return DecisionAnswer(decision.id, decision.state, decision.lines, decision.amount_rupiah)


def _fund_id(connection: Connection, code: str) -> int:
    fund_id = connection.scalar(select(Fund.id).where(Fund.code == code))
    if fund_id is None:
        raise ReviewRefusedError("fund_unknown", f"no fund {code}")
    return fund_id
