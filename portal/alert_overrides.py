"""A fund's or a district's own alert thresholds: saved, refused in words, and removed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import RedirectResponse

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.alert_rules import Fields, check_fields, read_threshold, read_typed, write_threshold
from portal.page import render_page
from portal.region_name import region_name
from workflow.alert_override import (
    Place,
    list_places,
    remove_override,
    rules_at,
    save_override,
)
from workflow.alert_rules import KINDS, RuleRefusedError
from workflow.sign_in import Visitor

router = APIRouter()

Manager = Annotated[Visitor, require(Permission.MANAGE_ALERTS)]
RuleName = Annotated[str, Form(max_length=60)]
_FIELDS: Final = ("rule", "fire", "clear", "enabled")


@router.get("/alerts/overrides")
def find_place(request: Request, visitor: Manager, fund: str = "", district: str = "") -> Response:
    """To the thresholds of the fund or district that was chosen from a list."""
    place: Place = "fund" if fund else "district"
    with request.app.state.portal.engine.connect() as connection:
        known = list_places(connection, visitor.regency or "")[place]
    code = fund or district
    if code not in {each for each, _ in known}:
        raise NotFoundError
    return RedirectResponse(f"/alerts/overrides/{place}s/{code}", 303)


@router.get("/alerts/overrides/funds/{code}")
def show_fund_rules(request: Request, visitor: Manager, code: str) -> Response:
    """The rules as they hold for one fund."""
    return _render(request, visitor, "fund", code)


@router.get("/alerts/overrides/districts/{code}")
def show_district_rules(request: Request, visitor: Manager, code: str) -> Response:
    """The rules as they hold for one district."""
    return _render(request, visitor, "district", code)


@router.post("/alerts/overrides/funds/{code}")
def post_fund_rule(request: Request, visitor: Manager, code: str, form: Fields) -> Response:
    """Save thresholds of a fund's own, or say in words why not."""
    return _save(request, visitor, "fund", code, read_typed(form))


@router.post("/alerts/overrides/districts/{code}")
def post_district_rule(request: Request, visitor: Manager, code: str, form: Fields) -> Response:
    """Save thresholds of a district's own, or say in words why not."""
    return _save(request, visitor, "district", code, read_typed(form))


@router.post("/alerts/overrides/funds/{code}/remove")
def post_fund_removal(request: Request, visitor: Manager, code: str, rule: RuleName) -> Response:
    """Let the regency's thresholds hold for the fund again."""
    return _remove(request, visitor, "fund", code, rule)


@router.post("/alerts/overrides/districts/{code}/remove")
def post_district_removal(request: Request, visitor: Manager, code: str, rule: RuleName) -> Response:
    """Let the regency's thresholds hold for the district again."""
    return _remove(request, visitor, "district", code, rule)


def _save(request: Request, visitor: Visitor, place: Place, code: str, typed: dict[str, str]) -> Response:
    regency, name = visitor.regency or "", typed.get("rule", "")
    try:
        with request.app.state.portal.engine.begin() as connection:
            rules = rules_at(connection, regency, place, code)
            kind = next((rule.kind for rule, _ in rules if rule.name == name), None)
            if kind is None:
                raise NotFoundError
            check_fields(typed, _FIELDS)
            thresholds = (
                read_threshold(kind, typed.get("fire", ""), "fire"),
                read_threshold(kind, typed.get("clear", ""), "clear"),
            )
            is_on = "enabled" in typed
            save_override(connection, regency, place, code, name, thresholds, is_on, visitor.email, now())
    except RuleRefusedError as error:
        return _render(request, visitor, place, code, 422, name, error, typed)
    except LookupError:
        raise NotFoundError from None
    return RedirectResponse(f"/alerts/overrides/{place}s/{code}#{name}", 303)


def _remove(request: Request, visitor: Visitor, place: Place, code: str, name: str) -> Response:
    try:
        with request.app.state.portal.engine.begin() as connection:
            remove_override(connection, visitor.regency or "", place, code, name, visitor.email, now())
    except LookupError:
        raise NotFoundError from None
    return RedirectResponse(f"/alerts/overrides/{place}s/{code}#{name}", 303)


def _render(
    request: Request,
    visitor: Visitor,
    place: Place,
    subject: str,
    status_code: int = 200,
    name: str | None = None,
    refused: RuleRefusedError | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    regency = visitor.regency or ""
    try:
        with request.app.state.portal.engine.begin() as connection:
            rules = rules_at(connection, regency, place, subject)
            names = dict(list_places(connection, regency)[place])
    except LookupError:
        raise NotFoundError from None
    shown: list[dict[str, Any]] = []
    for rule, own in rules:
        holds = own or rule
        values: Mapping[str, Any] = {
            "fire": write_threshold(rule.kind, holds.fire),
            "clear": write_threshold(rule.kind, holds.clear),
            "enabled": "true" if holds.enabled else "",
        }
        if rule.name == name:
            values = dict.fromkeys(_FIELDS, "") | dict(typed or {})
        shown.append({"rule": rule, "own": own, "values": values})
    return render_page(
        request,
        "alerts/overrides.html",
        visitor=visitor,
        status_code=status_code,
        place=place,
        subject=subject,
        title=names[subject] if place == "fund" else region_name(subject),
        shown=shown,
        kinds=KINDS,
        write=write_threshold,
        refused_name=name,
        refused=refused,
    )
