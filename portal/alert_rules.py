"""The rules behind alerts, of a regency or of the house, and what each role is told of.

Forms are read as they came, so that a field nobody knows and a number nobody can reach are refused in words.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, Final, cast, get_args

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from starlette.datastructures import FormData

from models.alert_tables import AlertRule
from models.role import Role
from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.page import render_page
from workflow.alert_override import list_overrides, list_places
from workflow.alert_rules import (
    CHANNELS,
    HOUSE,
    KINDS,
    SAID_KINDS,
    SEVERITIES,
    TOLD_ROLES,
    RuleRefusedError,
    RuleTerms,
    add_rule,
    change_rule,
    read_rules,
)
from workflow.alert_wishes import WishRefusedError, read_role_channels, save_role_channels
from workflow.sign_in import Visitor

router = APIRouter()

Manager = Annotated[Visitor, require(Permission.MANAGE_ALERTS, Permission.MANAGE_HOUSE_ALERTS)]
HouseManager = Annotated[Visitor, require(Permission.MANAGE_HOUSE_ALERTS)]


async def read_form(request: Request) -> FormData:
    """The form's fields, whatever their names."""
    return await request.form(max_files=0, max_fields=200)


Fields = Annotated[FormData, Depends(read_form)]

_TERMS: Final = ("fire", "clear", "severity", "days", "escalate_after_hours", "enabled")
_PERCENT: Final = re.compile(r"(\d{1,6})(?:[.,](\d{1,2}))?")
_GROUPED: Final = re.compile(r"\d{1,3}(?:[.,\s]\d{3})+")


@router.get("/alerts/rules")
def show_rules(request: Request, visitor: Manager) -> Response:
    """The regency's rules; an administrator's are those of the house."""
    return _render_rules(request, visitor)


@router.post("/alerts/rules")
def post_new_rule(request: Request, visitor: Manager, form: Fields) -> Response:
    """Add one more threshold of a kind, or say in words why not."""
    typed = read_typed(form)
    try:
        kind = typed.get("kind", "")
        if kind not in KINDS:
            raise RuleRefusedError("kind_unknown")
        terms = read_terms(kind, typed, ("kind", *_TERMS))
        with request.app.state.portal.engine.begin() as connection:
            add_rule(connection, scope_of(visitor), terms, visitor.email, now())
    except RuleRefusedError as error:
        return _render_rules(request, visitor, 422, "", error, typed)
    return RedirectResponse("/alerts/rules", 303)


@router.post("/alerts/rules/{name}")
def post_rule(request: Request, visitor: Manager, name: str, form: Fields) -> Response:
    """Save a rule, or say in words why not."""
    scope, typed = scope_of(visitor), read_typed(form)
    try:
        with request.app.state.portal.engine.begin() as connection:
            kinds = {rule.name: rule.kind for rule in read_rules(connection, scope)}
            if name not in kinds:
                raise NotFoundError
            terms = read_terms(kinds[name], typed, _TERMS)
            change_rule(connection, scope, name, terms, visitor.email, now())
    except RuleRefusedError as error:
        return _render_rules(request, visitor, 422, name, error, typed)
    return RedirectResponse("/alerts/rules", 303)


@router.get("/alerts/roles")
def show_roles(request: Request, visitor: HouseManager, role: str = TOLD_ROLES[0]) -> Response:
    """Which kinds of alert a role is told of, and through which channels."""
    if role not in TOLD_ROLES:
        raise NotFoundError
    return _render_roles(request, visitor, role)


@router.post("/alerts/roles/{role}")
def post_role(request: Request, visitor: HouseManager, role: str, form: Fields) -> Response:
    """Save what a role is told of. A field is a kind, its values the channels."""
    if role not in get_args(Role):
        raise NotFoundError
    channels: dict[str, list[str]] = defaultdict(list)
    for kind, way in form.multi_items():
        channels[kind].append(str(way))
    try:
        with request.app.state.portal.engine.begin() as connection:
            save_role_channels(connection, cast(Role, role), channels, visitor.email, now())
    except WishRefusedError as error:
        if error.problem == "role_unknown":
            raise NotFoundError from None
        return _render_roles(request, visitor, cast(Role, role), 422, error)
    return RedirectResponse(f"/alerts/roles?role={role}", 303)


def scope_of(visitor: Visitor) -> str:
    """Whose rules the visitor edits."""
    return visitor.regency or HOUSE


def read_terms(kind: str, typed: Mapping[str, str], known: tuple[str, ...]) -> RuleTerms:
    """The terms as they were typed, shares as percentages. Raises ``RuleRefusedError``."""
    check_fields(typed, known)
    severity = typed.get("severity", "")
    if severity not in SEVERITIES:
        raise RuleRefusedError("severity_unknown")
    said = kind in SAID_KINDS
    return RuleTerms(
        kind,
        1 if said else read_threshold(kind, typed.get("fire", ""), "fire"),
        1 if said else read_threshold(kind, typed.get("clear", ""), "clear"),
        severity,
        _whole(typed.get("days", ""), "days"),
        "enabled" in typed,
        _whole(typed.get("escalate_after_hours", ""), "escalate_after_hours"),
    )


def check_fields(typed: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Raises ``RuleRefusedError`` for a field that nobody knows."""
    for field in typed:
        if field not in known:
            raise RuleRefusedError("field_unknown", field=field)
    if typed.get("enabled", "true") != "true":
        raise RuleRefusedError("field_unknown", field="enabled")


def read_threshold(kind: str, written: str, field: str) -> int:
    """In the kind's unit: ``75`` or ``2,5`` percent are 7500 and 250 of 10,000; rupiah may be grouped.

    Raises ``RuleRefusedError``.
    """
    unit, written = KINDS[kind].unit, written.strip()
    if unit == "share":
        match = _PERCENT.fullmatch(written.removesuffix("%").strip())
        if match is None:
            raise RuleRefusedError("not_a_percentage", field=field)
        return int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if _GROUPED.fullmatch(written):
        written = re.sub(r"\D", "", written)
    number = _whole(written, field)
    if number is None:
        raise RuleRefusedError("not_a_number", field=field)
    return number


def _whole(written: str, field: str) -> int | None:
    """A whole number or nothing. Raises ``RuleRefusedError``."""
    written = written.strip()
    if not written:
        return None
    if not (written.isascii() and written.isdigit() and len(written) <= 18):
        raise RuleRefusedError("not_a_number", field=field)
    return int(written)


def write_threshold(kind: str, value: int) -> str:
    """As :func:`read_threshold` reads it."""
    if KINDS[kind].unit == "rupiah":
        return f"{value:,}".replace(",", ".")
    if KINDS[kind].unit != "share":
        return str(value)
    whole, rest = divmod(value, 100)
    return f"{whole}.{rest:02}".rstrip("0") if rest else str(whole)


def read_typed(form: FormData) -> dict[str, str]:
    """What was typed, by field."""
    return {name: str(value) for name, value in form.items()}


def _typed(rule: AlertRule) -> dict[str, Any]:
    """A rule as its form shows it."""
    return {
        "fire": write_threshold(rule.kind, rule.fire),
        "clear": write_threshold(rule.kind, rule.clear),
        "severity": rule.severity,
        "days": rule.days or "",
        "escalate_after_hours": rule.escalate_after_hours or "",
        "enabled": "true" if rule.enabled else "",
    }


def _render_rules(
    request: Request,
    visitor: Visitor,
    status_code: int = 200,
    name: str | None = None,
    refused: RuleRefusedError | None = None,
    typed: Mapping[str, str] | None = None,
) -> Response:
    scope = scope_of(visitor)
    with request.app.state.portal.engine.begin() as connection:
        rules = read_rules(connection, scope)
        overrides = list_overrides(connection, scope)
        places = list_places(connection, scope)
    typed = dict.fromkeys(("kind", *_TERMS), "") | dict(typed or {})
    shown = [(rule, typed if rule.name == name else _typed(rule)) for rule in rules]
    addable = [kind for kind, of in KINDS.items() if of.house == (scope == HOUSE) and kind not in SAID_KINDS]
    return render_page(
        request,
        "alerts/rules.html",
        visitor=visitor,
        status_code=status_code,
        shown=shown,
        kinds=KINDS,
        said=SAID_KINDS,
        addable=addable,
        typed=typed,
        severities=SEVERITIES,
        refused_name=name,
        refused=refused,
        of_house=scope == HOUSE,
        overridden=sorted({(KINDS[rule.kind].subject, own.subject) for rule, own in overrides}),
        places=places,
    )


def _render_roles(
    request: Request,
    visitor: Visitor,
    role: Role,
    status_code: int = 200,
    refused: WishRefusedError | None = None,
) -> Response:
    with request.app.state.portal.engine.connect() as connection:
        channels = read_role_channels(connection, role)
    return render_page(
        request,
        "alerts/roles.html",
        visitor=visitor,
        status_code=status_code,
        role=role,
        roles=TOLD_ROLES,
        channels=channels,
        ways=sorted(CHANNELS),
        refused=refused,
    )
