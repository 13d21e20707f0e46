"""Policies: the order and weights of the match's tiers."""

from __future__ import annotations

import datetime as dt
import tomllib
from typing import Annotated

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import RedirectResponse

from optimizer.policy import Policy, PolicyError
from portal.access import NotFoundError, Permission, require
from portal.page import render_page
from workflow.policy_versions import (
    PolicyChangedError,
    PolicyUnknownError,
    choose_policy,
    list_choices,
    list_policies,
    list_versions,
    save_policy,
)
from workflow.sign_in import Visitor

router = APIRouter(prefix="/administration/policies")

PolicyManager = Annotated[Visitor, require(Permission.MANAGE_POLICIES)]
RegencyCode = Annotated[str, Path(pattern=r"^\d{2}\.\d{2}$")]


@router.get("")
def show_policies(request: Request, visitor: PolicyManager, open: str = "") -> Response:
    """The policies in words, which is in force where, and a form with the text of one of them."""
    versions = list_versions(request.app.state.portal.engine, open.replace("\0", "")) if open else []
    text = write_policy(versions[0].policy) if versions else ""
    newest = versions[0] if versions else None
    return _render(
        request,
        visitor,
        text=text,
        opened=newest.name if newest else "",
        made_from=newest.version if newest else 0,
    )


@router.post("")
def post_policy(
    request: Request,
    visitor: PolicyManager,
    text: Annotated[str, Form(max_length=10_000)],
    opened: Annotated[str, Form(max_length=100)] = "",
    made_from: Annotated[int, Form(ge=0, le=1_000_000)] = 0,
) -> Response:
    """Check the text and save it as the next version of the policy it names."""
    engine, now = request.app.state.portal.engine, dt.datetime.now(dt.UTC)
    try:
        mapping = tomllib.loads(text)
        seen = made_from if mapping.get("name") == opened else None
        save_policy(engine, visitor.email, mapping, now, made_from=seen)
    except (tomllib.TOMLDecodeError, PolicyError) as error:
        return _render(
            request, visitor, 422, problem=str(error), text=text, opened=opened, made_from=made_from
        )
    except PolicyChangedError:
        return _render(
            request, visitor, 409, problem="changed", text=text, opened=opened, made_from=made_from
        )
    return RedirectResponse("/administration/policies", 303)


@router.post("/in-force/{regency}")
def post_choice(
    request: Request,
    visitor: PolicyManager,
    regency: RegencyCode,
    policy: Annotated[str, Form(max_length=100)],
) -> Response:
    """Let the regency's next runs follow ``policy``: name and version, joined by a blank."""
    name, _, version = policy.partition(" ")
    number = int(version) if version.isascii() and version.isdigit() and len(version) < 7 else -1
    try:
        now = dt.datetime.now(dt.UTC)
        choose_policy(request.app.state.portal.engine, visitor.email, regency, name, number, now)
    except PolicyUnknownError:
        raise NotFoundError from None
    return RedirectResponse("/administration/policies", 303)


def write_policy(policy: Policy) -> str:
    """A policy as TOML, as ``gotong allocate --policy`` reads it too."""
    lines = [f'name = "{policy.name}"', f'coverage_counts = "{policy.coverage_counts}"']
    for tier in policy.tiers:
        lines += ["", "[[tiers]]", f'name = "{tier.name}"']
        lines += [f"tolerance = {tier.tolerance:.10g}", f"weight = {tier.weight:.10g}"]
    return "\n".join(lines) + "\n"


def _render(
    request: Request,
    visitor: Visitor,
    status_code: int = 200,
    *,
    problem: str = "",
    text: str = "",
    opened: str = "",
    made_from: int = 0,
) -> Response:
    engine = request.app.state.portal.engine
    return render_page(
        request,
        "administration/policies.html",
        visitor=visitor,
        status_code=status_code,
        problem=problem,
        text=text,
        opened=opened,
        made_from=made_from,
        policies=list_policies(engine),
        choices=list_choices(engine),
    )
