"""Verification through the API: whom a village has not verified, and what was found.

Names are not given here: they are read on the verifier's page, one visit at a time (UU PDP 27/2022).
"""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.collection import Asked, Page, read_asked
from portal.api.problem import ProblemError
from portal.api.reading import one_of, page_of
from workflow.sign_in import Visitor
from workflow.verify_worker import (
    NeedUnknownError,
    VerificationRefusedError,
    undo_verification,
    verify_worker,
)

router = APIRouter(prefix="/api/v1/verification")

Verifier = Annotated[Visitor, require(Permission.VERIFY_WORKERS)]
AskedPage = Annotated[Asked, Depends(read_asked)]
NeedNumber = Annotated[int, Path(ge=1, lt=2**63)]

_WORKERS: Final = """
    SELECT n.id AS need, w.occupation, n.programmes, n.months, n.start_month, n.state, n.version
    FROM coverage_need n JOIN worker w ON w.id = n.worker_id
    WHERE n.village_code = :village AND n.district_code = left(:village, 8)
      AND n.state IN ('waiting', 'proposed')
      AND NOT EXISTS (SELECT 1 FROM need_verification v WHERE v.need_id = n.id AND v.undone_at IS NULL)
"""
_FINDING: Final = """
    SELECT v.id, v.need_id AS need, v.outcome, v.verified_at, v.undone_at FROM need_verification v
    WHERE v.id = :id
"""


class FindingRequest(BaseModel):
    """What was found at the worker's door."""

    model_config = ConfigDict(extra="forbid")

    outcome: Literal["confirmed", "not_real", "already_covered", "moved_away", "deceased"]


@router.get("/workers", response_model=Page[shapes.WaitingWorker])
def list_workers(request: Request, visitor: Verifier, asked: AskedPage) -> dict[str, Any]:
    """The village's workers whom nobody has verified yet."""
    return page_of(request, visitor, _WORKERS, {"need": "int8"}, asked, village=visitor.village)


@router.get("/workers/{need}", response_model=shapes.WaitingWorker)
def show_worker(
    request: Request, visitor: Verifier, need: NeedNumber, if_none_match: IfNoneMatch = None
) -> Response:
    """One of them; its ETag is what a finding names."""
    worker = _find(request, visitor, need)
    return answer_tagged(worker, etag_of(worker), if_none_match)


@router.post("/workers/{need}/findings", response_model=shapes.Finding, status_code=201)
def post_finding(
    request: Request,
    visitor: Verifier,
    need: NeedNumber,
    asked: FindingRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Keep what was found; all but ``confirmed`` close the need and give its money back."""
    engine = request.app.state.portal.engine

    def act() -> dict[str, Any]:
        try:
            finding = verify_worker(
                engine, visitor.village or "", need, asked.outcome, visitor.account_id, visitor.email, now()
            )
        except NeedUnknownError:
            raise NotFoundError from None
        except VerificationRefusedError as error:
            raise _refused(error) from None
        return one_of(request, visitor, _FINDING, id=finding)

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=idempotency_key,
        find=lambda: etag_of(_find(request, visitor, need)),
        if_match=if_match,
        act=act,
        status=201,
    )


@router.post("/findings/{finding}/undo", response_model=shapes.Finding)
def post_undo(
    request: Request, visitor: Verifier, finding: uuid.UUID, idempotency_key: IdempotencyKey = None
) -> Response:
    """Take the own fresh finding back; twice is harmless, so nothing has to be matched."""
    engine = request.app.state.portal.engine

    def act() -> dict[str, Any]:
        try:
            undo_verification(
                engine, visitor.village or "", finding, visitor.account_id, visitor.email, now()
            )
        except NeedUnknownError:
            raise NotFoundError from None
        except VerificationRefusedError as error:
            raise _refused(error) from None
        return one_of(request, visitor, _FINDING, id=finding)

    return carry_out(request, visitor, None, key=idempotency_key, act=act)


def _find(request: Request, visitor: Visitor, need: int) -> dict[str, Any]:
    return one_of(request, visitor, f"{_WORKERS} AND n.id = :need", village=visitor.village, need=need)


def _refused(error: VerificationRefusedError) -> ProblemError:
    return ProblemError(409, f"verification_{error.reason}", "The finding cannot be kept or taken back")
