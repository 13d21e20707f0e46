"""The API's part for companies: impact, months, workers without names, messages, statements."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.programme import bundle_of_mask, write_bundle
from portal.access import Permission, require
from portal.accounts.sign_in import now, vault_of
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.collection import Asked, Page, read_asked, read_selection
from portal.api.problem import ProblemError
from portal.api.reading import one_of, page_of
from portal.company.figures import read_company_groups, read_figures
from portal.company.overview import funder_of
from portal.unit import open_unit
from workflow.mark_messages import mark_messages, read_mark
from workflow.read_company import (
    MESSAGES,
    Reach,
    count_if_enough,
    count_unread,
    hide_small_groups,
    read_months,
    select_workers,
)
from workflow.sign_in import Visitor
from workflow.sign_statement import NothingToStateError, sign_statement, write_content

router = APIRouter(prefix="/api/v1")

Company = Annotated[Visitor, require(Permission.READ_OWN_FUNDS)]
MessageReader = Annotated[Visitor, require(Permission.MARK_MESSAGES)]
AskedPage = Annotated[Asked, Depends(read_asked)]

_STATEMENTS: Final = "SELECT number, code, period_from, period_to, content, signed_at FROM statement"


class MarkRequest(BaseModel):
    """``at`` of the newest message that was read."""

    model_config = ConfigDict(extra="forbid")

    read_at: AwareDatetime


class StatementRequest(BaseModel):
    """The calendar year that a statement is to be about."""

    model_config = ConfigDict(extra="forbid")

    year: Annotated[int, Field(ge=2000, le=2100)]


@router.get("/company/impact", response_model=shapes.Impact)
def show_impact(request: Request, visitor: Company, if_none_match: IfNoneMatch = None) -> Response:
    """Whom the company's approved money covers."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        impact = read_figures(request.app, connection, funder_of(visitor)).impact

    def say(reach: Reach) -> dict[str, int | None]:
        return {
            name: count_if_enough(reach, getattr(reach, name)) for name in ("workers", "enrolled", "months")
        }

    content = {
        "total": say(impact.total),
        "programmes": {str(name): say(reach) for name, reach in impact.programmes.items()},
        "districts": {code: say(reach) for code, reach in impact.districts.items()},
    }
    return answer_tagged(content, etag_of(content), if_none_match)


@router.get("/company/cover-months", response_model=Page[shapes.CoverMonth])
def list_cover_months(request: Request, visitor: Company) -> dict[str, Any]:
    """People covered month by month; all on one page."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        months = read_figures(request.app, connection, funder_of(visitor)).months
    return {"items": [asdict(each) for each in months], "next": None}


@router.get("/company/money-months", response_model=Page[shapes.MoneyMonth])
def list_money_months(request: Request, visitor: Company) -> dict[str, Any]:
    """Money approved and paid, month by month; all on one page."""
    portal = request.app.state.portal
    timezone = portal.timezone(portal.settings.regencies[0])
    with open_unit(portal.engine, visitor) as connection:
        months = read_months(connection, funder_of(visitor), timezone)
    return {"items": [asdict(each) for each in months], "next": None}


@router.get("/company/workers", response_model=Page[shapes.FundedWorker])
def list_workers(request: Request, visitor: Company, asked: AskedPage) -> dict[str, Any]:
    """The company's lines by pseudonym, which is no order of anything."""
    funder = funder_of(visitor)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        shown = hide_small_groups(read_company_groups(request.app, connection, funder))
        statement, columns = select_workers(vault_of(request), funder, shown)
        rows, following = read_selection(connection, statement, (columns.pseudonym, columns.id), asked)
    items = [dict(row) | {"programmes": write_bundle(bundle_of_mask(row["programmes"]))} for row in rows]
    return {"items": items, "next": following}


@router.get("/company/messages", response_model=Page[shapes.Message])
def list_messages(request: Request, visitor: Company, asked: AskedPage) -> dict[str, Any]:
    """What changed for the company, the newest first."""
    keys = {"at": "timestamptz", "ref": "text"}
    return page_of(request, visitor, MESSAGES, keys, asked, descending=True, funder=funder_of(visitor))


@router.get("/company/message-mark", response_model=shapes.MessageMark)
def show_mark(request: Request, visitor: MessageReader) -> dict[str, Any]:
    """How far this person has read the messages."""
    return _find_mark(request, visitor)


@router.put("/company/message-mark", response_model=shapes.MessageMark)
def put_mark(
    request: Request, visitor: MessageReader, asked: MarkRequest, idempotency_key: IdempotencyKey = None
) -> Response:
    """Everything up to this moment was read. The mark never goes back, so nothing has to be matched."""

    def act() -> dict[str, Any]:
        mark_messages(request.app.state.portal.engine, visitor.account_id, min(asked.read_at, now()))
        return _find_mark(request, visitor)

    return carry_out(request, visitor, asked.model_dump(), key=idempotency_key, act=act)


@router.get("/statements", response_model=Page[shapes.Statement])
def list_statements(request: Request, visitor: Company, asked: AskedPage) -> dict[str, Any]:
    """The company's signed statements, newest first."""
    return page_of(request, visitor, _STATEMENTS, {"number": "int8"}, asked, descending=True)


@router.post("/statements", response_model=shapes.Statement, status_code=201)
def post_statement(
    request: Request, visitor: Company, asked: StatementRequest, idempotency_key: IdempotencyKey = None
) -> Response:
    """Sign a statement about a calendar year, as far as it has gone."""
    portal, funder = request.app.state.portal, funder_of(visitor)
    vault = vault_of(request)
    timezone = portal.timezone(portal.settings.regencies[0])

    def act() -> dict[str, Any]:
        first, last = dt.date(asked.year, 1, 1), dt.date(asked.year, 12, 31)
        try:
            with open_unit(portal.engine, visitor) as connection:
                content = write_content(connection, funder, first, last, timezone)
        except NothingToStateError:
            raise ProblemError(409, "nothing_to_state", "The company has no pledge to state") from None
        statement_id = sign_statement(portal.engine, vault, content, visitor.email, now())
        return one_of(request, visitor, f"{_STATEMENTS} WHERE id = :id", id=statement_id)

    return carry_out(request, visitor, asked.model_dump(), key=idempotency_key, act=act, status=201)


def _find_mark(request: Request, visitor: Visitor) -> dict[str, Any]:
    engine = request.app.state.portal.engine
    mark = read_mark(engine, visitor.account_id)
    with open_unit(engine, visitor) as connection:
        return {"read_at": mark, "unread": count_unread(connection, funder_of(visitor), mark)}
