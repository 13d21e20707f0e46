"""The API's part for thresholds of a fund's or a district's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.api import shapes
from portal.api.change import IdempotencyKey, IfMatch, IfNoneMatch, answer_tagged, carry_out, etag_of
from portal.api.problem import ProblemError
from workflow.alert_override import Place, hold_at, remove_override, rules_at, save_override
from workflow.alert_rules import RuleRefusedError
from workflow.sign_in import Visitor

router = APIRouter(prefix="/api/v1/alert-overrides")

Manager = Annotated[Visitor, require(Permission.MANAGE_ALERTS)]
Code = Annotated[str, Path(max_length=100)]


class OwnThresholds(BaseModel):
    """Where a rule fires and clears there, in the unit of its kind, and whether it is on."""

    model_config = ConfigDict(extra="forbid")

    fire: Annotated[int, Field(ge=1, lt=2**53)]
    clear: Annotated[int, Field(ge=1, lt=2**53)]
    enabled: bool = True


class OverrideRequest(BaseModel):
    """Thresholds of its own for a rule; ``own`` null: the regency's hold there again."""

    model_config = ConfigDict(extra="forbid")

    rule: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[^\x00]+$")]
    own: OwnThresholds | None


@router.get("/funds/{code}", response_model=shapes.PlaceRules)
def show_fund_rules(
    request: Request, visitor: Manager, code: Code, if_none_match: IfNoneMatch = None
) -> Response:
    """The rules as they hold for one fund; the ETag is what a change of them names."""
    return _show(request, visitor, "fund", code, if_none_match)


@router.get("/districts/{code}", response_model=shapes.PlaceRules)
def show_district_rules(
    request: Request, visitor: Manager, code: Code, if_none_match: IfNoneMatch = None
) -> Response:
    """The rules as they hold for one district; the ETag is what a change of them names."""
    return _show(request, visitor, "district", code, if_none_match)


@router.patch("/funds/{code}", response_model=shapes.PlaceRules)
def patch_fund_rule(
    request: Request,
    visitor: Manager,
    code: Code,
    asked: OverrideRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give one rule other thresholds for the fund, or the regency's again."""
    return _override(request, visitor, "fund", code, asked, if_match, idempotency_key)


@router.patch("/districts/{code}", response_model=shapes.PlaceRules)
def patch_district_rule(
    request: Request,
    visitor: Manager,
    code: Code,
    asked: OverrideRequest,
    if_match: IfMatch = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Give one rule other thresholds for the district, or the regency's again."""
    return _override(request, visitor, "district", code, asked, if_match, idempotency_key)


def _show(request: Request, visitor: Visitor, place: Place, code: str, if_none_match: str | None) -> Response:
    rules = _rules(request, visitor, place, code)
    return answer_tagged(rules, etag_of(rules), if_none_match)


def _override(
    request: Request,
    visitor: Visitor,
    place: Place,
    code: str,
    asked: OverrideRequest,
    if_match: str | None,
    key: str | None,
) -> Response:
    engine, regency, own = request.app.state.portal.engine, visitor.regency or "", asked.own

    def act() -> dict[str, Any]:
        try:
            with engine.begin() as connection:
                if own is None:
                    remove_override(connection, regency, place, code, asked.rule, visitor.email, now())
                else:
                    save_override(
                        connection,
                        regency,
                        place,
                        code,
                        asked.rule,
                        (own.fire, own.clear),
                        own.enabled,
                        visitor.email,
                        now(),
                    )
        except LookupError:
            raise ProblemError(422, "rule_unknown", "There is no such rule here") from None
        except RuleRefusedError as error:
            raise ProblemError(422, error.problem, "These thresholds cannot be saved", str(error)) from None
        return _rules(request, visitor, place, code)

    return carry_out(
        request,
        visitor,
        asked.model_dump(),
        key=key,
        find=lambda: etag_of(_rules(request, visitor, place, code)),
        if_match=if_match,
        act=act,
    )


def _rules(request: Request, visitor: Visitor, place: Place, code: str) -> dict[str, Any]:
    try:
        with request.app.state.portal.engine.begin() as connection:
            pairs = rules_at(connection, visitor.regency or "", place, code)
    except (LookupError, ValueError):
        raise NotFoundError from None
    rules = []
    for rule, own in pairs:
        holds = hold_at(rule, own)
        rules.append(
            {
                "rule": rule.name,
                "kind": rule.kind,
                "fire": holds.fire,
                "clear": holds.clear,
                "enabled": holds.enabled,
                "own": own is not None,
            }
        )
    return {"place": place, "code": code, "rules": rules}
