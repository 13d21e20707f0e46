"""Advice through the API: what-if, and the cheapest change for those who wait. Nothing is stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from models.tables import Fund
from portal.access import NotFoundError, Permission, require
from portal.api import shapes
from portal.api.collection import Page
from portal.api.problem import ProblemError
from portal.office.desk import DeskBusyError
from portal.office.regency import regency_of
from portal.unit import open_unit
from workflow.ask_question import NO_LIMIT, Question
from workflow.read_waiting import read_last_run
from workflow.sign_in import Visitor
from workflow.what_if import WhatIfError

router = APIRouter(prefix="/api/v1")

_MOST_RUPIAH: Final = 10**13
Limit = Annotated[int | None, Field(ge=NO_LIMIT, le=10_000_000)]


class WhatIfRequest(BaseModel):
    """What to change. A rule that is null stays as it is; -1 takes it away. Money in rupiah."""

    model_config = ConfigDict(extra="forbid")

    fund: Annotated[str | None, Field(max_length=100)] = None
    more_rupiah: Annotated[int, Field(ge=-_MOST_RUPIAH, le=_MOST_RUPIAH)] = 0
    max_months: Annotated[int | None, Field(ge=NO_LIMIT, le=12)] = None
    head_count_cap: Limit = None
    district_cap: Limit = None
    min_workers: Limit = None
    every_occupation: bool = False
    every_region: bool = False
    closed: bool = False
    new_kind: Literal["csr", "apbd"] = "csr"
    new_rupiah: Annotated[int, Field(ge=0, le=_MOST_RUPIAH)] = 0
    count_months: bool = False


@router.post("/what-if", response_model=shapes.WhatIfAnswer)
def ask_what_if(
    request: Request, visitor: Annotated[Visitor, require(Permission.ASK_WHAT_IF)], asked: WhatIfRequest
) -> dict[str, Any]:
    """The regency's match under other terms. It changes nothing, so it needs no Idempotency-Key."""
    regency = regency_of(request, visitor)
    if asked.fund is not None and "\0" in asked.fund:
        raise NotFoundError
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        run = read_last_run(connection, regency)
        own = select(Fund.id).where(Fund.code == asked.fund, Fund.regency_code == regency)
        if run is None or (asked.fund is not None and connection.scalar(own) is None):
            raise NotFoundError
    try:
        answer = request.app.state.desk.what_if(regency, run, Question(**asked.model_dump()))
    except DeskBusyError:
        raise _busy() from None
    except WhatIfError as error:
        raise ProblemError(422, "question_refused", "This cannot be asked", str(error)) from None
    return asdict(answer)


@router.get("/cheapest-changes", response_model=Page[shapes.CheapestChange])
def list_changes(
    request: Request, visitor: Annotated[Visitor, require(Permission.READ_UNFUNDED)]
) -> dict[str, Any]:
    """For each reason why needs wait what would let in most of them; empty before the first match."""
    regency = regency_of(request, visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        run = read_last_run(connection, regency)
    try:
        changes = request.app.state.desk.changes(regency, run) if run else ()
    except DeskBusyError:
        raise _busy() from None
    return {"items": [asdict(change) for change in changes], "next": None}


def _busy() -> ProblemError:
    return ProblemError(503, "busy", "Others' questions are still being answered; ask again in a moment")
