"""Changes through the API: decisions of officers, and intake of workers' events."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Engine

from models.region import RegionTable
from portal.access import Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.books import DistrictCode, FundCode, find_batch, find_decision
from portal.api.change import IdempotencyKey, IfMatch, carry_out, etag_of
from portal.api.problem import ProblemError
from workflow.context import IntakeContext
from workflow.intake import RowProblem, submit_worker_events
from workflow.review import (
    Batch,
    BatchChangedError,
    DecisionAnswer,
    DecisionRequest,
    ReviewRefusedError,
    confirm,
    decide,
    undo,
)
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1")

Officer = Annotated[Visitor, require(Permission.DECIDE)]
_MOST_ROWS: Final = 1000
_LONG_NUMBER: Final = re.compile(r"\d{11,}")


class DecideRequest(BaseModel):
    """A decision about a batch, or about some of its lines."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["approve", "reject", "return"]
    lines: Annotated[list[Annotated[int, Field(ge=1, le=2**63 - 1)]], Field(max_length=100_000)] = []
    reason: Annotated[str, Field(max_length=50)] | None = None
    remark: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] | None = None


class WorkerRows(BaseModel):
    """Uncovered workers, with columns as in a file for ``gotong import workers``; the NIK is plain here
    and sealed before anything is stored."""

    model_config = ConfigDict(extra="forbid")

    rows: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=_MOST_ROWS)]


@router.post("/batches/{run_id}/{fund}/{district}/decisions", response_model=shapes.DecisionAnswer)
def post_decision(
    request: Request,
    visitor: Officer,
    run_id: uuid.UUID,
    fund: FundCode,
    district: DistrictCode,
    asked: DecideRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Decide a batch as it was read; above the fund's threshold a second officer must confirm."""
    batch = Batch(run_id, fund, district)

    def take() -> DecisionAnswer:
        decision = DecisionRequest(
            idempotency_key=f"api {visitor.account_id} {idempotency_key}",
            officer=visitor.email,
            action=asked.action,
            batch=batch,
            token=(if_match or "").strip().strip('"'),
            lines=tuple(asked.lines),
            reason=asked.reason,
            remark=asked.remark,
        )
        return decide(_engine(request), decision, now())

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=idempotency_key,
        find=lambda: find_batch(request, visitor, batch)[1],
        if_match=if_match,
        act=lambda: _answer(take),
    )


@router.post("/decisions/{decision_id}/confirm", response_model=shapes.DecisionAnswer)
def post_confirm(
    request: Request,
    visitor: Officer,
    decision_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """The second officer's signature."""
    return carry_out(
        request,
        visitor,
        None,
        key=idempotency_key,
        find=lambda: etag_of(find_decision(request, visitor, decision_id)),
        if_match=if_match,
        act=lambda: _answer(lambda: confirm(_engine(request), decision_id, visitor.email, now())),
    )


@router.post("/decisions/{decision_id}/undo", response_model=shapes.DecisionAnswer)
def post_undo(
    request: Request,
    visitor: Officer,
    decision_id: uuid.UUID,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Take an approval back before it is confirmed."""
    return carry_out(
        request,
        visitor,
        None,
        key=idempotency_key,
        find=lambda: etag_of(find_decision(request, visitor, decision_id)),
        if_match=if_match,
        act=lambda: _answer(lambda: undo(_engine(request), decision_id, visitor.email, now())),
    )


@router.post("/worker-events", status_code=202, response_model=shapes.IntakeAnswer)
def post_worker_events(
    request: Request,
    visitor: Annotated[Visitor, require(Permission.SUBMIT_EVENTS)],
    asked: WorkerRows,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Hand in uncovered workers: all rows or, with problems row by row, none."""

    def act() -> dict[str, Any]:
        portal = request.app.state.portal
        if portal.vault is None:
            raise ProblemError(503, "no_keys", "This portal was started without the house's keys")
        context = IntakeContext(known_regions(), portal.vault)
        outcome = submit_worker_events(
            portal.engine, context, asked.rows, source=f"/api/{visitor.account_id}"
        )
        if outcome.problems:
            problems = [say_problem(problem) for problem in outcome.problems]
            raise ProblemError(
                422, "rows_refused", "Nothing was taken in: rows have problems", problems=problems
            )
        return {"events": outcome.events, "warnings": [say_problem(warning) for warning in outcome.warnings]}

    return carry_out(request, visitor, asked.rows, key=idempotency_key, act=act, status=202)


@cache
def known_regions() -> RegionTable:
    """The region table, read when first needed."""
    return RegionTable.load()


def _engine(request: Request) -> Engine:
    engine: Engine = request.app.state.portal.engine
    return engine


def _answer(act: Callable[[], DecisionAnswer]) -> dict[str, Any]:
    try:
        answer = act()
    except BatchChangedError as error:
        changes = [{"line": line, "state": state} for line, state in error.changes]
        raise ProblemError(412, "changed_meanwhile", "The batch has changed", changes=changes) from None
    except ReviewRefusedError as error:
        raise ProblemError(409, error.reason, "This decision cannot be taken", str(error)) from None
    return {
        "id": answer.decision_id,
        "state": answer.state,
        "lines": answer.lines,
        "amount_rupiah": answer.amount_rupiah,
    }


def say_problem(problem: RowProblem) -> dict[str, Any]:
    """A row's problem; a column named by a number may be a NIK in the wrong place."""
    field = "a column" if _LONG_NUMBER.search(problem.field) else problem.field
    return {"row": problem.row, "field": field, "message": _LONG_NUMBER.sub("•••", problem.message)}
