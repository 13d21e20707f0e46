"""Change a fund: amount, window, rules, withdrawal; each leaves as the fund's next event."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Row

from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.office.regency import regency_of
from portal.page import render_page
from portal.unit import open_unit
from workflow.edit_fund import EditRefusedError, edit_fund, state_of
from workflow.read_fund import read_fund
from workflow.sign_in import Visitor

router = APIRouter()
Officer = Annotated[Visitor, require(Permission.CHANGE_FUNDS)]
Revision = Annotated[int, Form(ge=1, lt=2**53)]


def _(text: str) -> str:
    """Mark a label for the catalogue; the template translates it."""
    return text


_MONEY: Final = {
    "csr": (("amount_rupiah", _("Pledged in all, in rupiah (more is a top-up, less a reduction)")),),
    "apbd": (
        ("ceiling_rupiah", _("Ceiling (pagu), in rupiah")),
        ("released_rupiah", _("Released so far (SPD), in rupiah")),
    ),
}
_WINDOW: Final = (
    ("window_from", _("First month (such as 2026-01)")),
    ("window_to", _("Last month (such as 2026-12)")),
)
_LISTS: Final = (
    ("regions", _("Codes of districts or villages, with commas between; empty for everywhere")),
    ("occupations", _("Occupations, with commas between; empty for all")),
    ("programmes", _("Programmes (JKK, JKM, JHT, JKN), with commas between; empty for all")),
    ("sexes", _("L for men, P for women; empty for both")),
)
_LIMITS: Final = (
    ("age_from", _("Youngest age")),
    ("age_to", _("Oldest age")),
    ("max_months", _("Most months for a worker")),
    ("head_count_cap", _("Most workers")),
    ("district_cap", _("Most workers in a district")),
    ("min_workers", _("Fewest workers, or none")),
)
_NUMBERS: Final = tuple(name for name, _ in (*_MONEY["csr"], *_MONEY["apbd"], *_LIMITS))


@router.get("/funds/{code}/edit")
def show_form(request: Request, visitor: Officer, code: str) -> Response:
    """The form with what holds now."""
    return _render(request, visitor, code)


async def _read_form(request: Request) -> dict[str, str]:
    return {name: str(value).strip() for name, value in (await request.form()).items()}


@router.post("/funds/{code}/edit")
def post_change(
    request: Request,
    visitor: Officer,
    code: str,
    revision: Revision,
    form: Annotated[dict[str, str], Depends(_read_form)],
) -> Response:
    """Send the filled-in state; fields that are left out stay as they are."""
    return _send(request, visitor, code, revision, form)


@router.post("/funds/{code}/withdraw")
def post_withdrawal(request: Request, visitor: Officer, code: str, revision: Revision) -> Response:
    """The company takes back whatever is not committed."""
    return _send(request, visitor, code, revision, {"withdrawn": "true"})


def _send(request: Request, visitor: Visitor, code: str, revision: int, form: dict[str, str]) -> Response:
    engine, regency = request.app.state.portal.engine, regency_of(request, visitor)
    try:
        edit_fund(engine, regency, code, revision, _read_changes(form), visitor.email, now())
    except LookupError:
        raise NotFoundError from None
    except EditRefusedError as error:
        return _render(request, visitor, code, form, error.reason)
    return RedirectResponse(f"/funds/{code}?sent={revision + 1}", 303)


def _read_changes(form: dict[str, str]) -> dict[str, Any]:
    """The fields of the event. What is no number stays text, which the event's schema refuses."""
    changes: dict[str, Any] = {"withdrawn": True} if form.get("withdrawn") == "true" else {}
    rules: dict[str, Any] = {}
    for name, value in form.items():
        if name in dict(_LISTS):
            rules[name] = [part for part in re.split(r"[,;\s]+", value) if part]
        elif name in dict(_LIMITS):
            rules[name] = _whole(value) if value else None
        elif name in _NUMBERS:
            changes[name] = _whole(value)
        elif name in dict(_WINDOW):
            changes[name] = value
    return changes | {"rules": rules}


def _whole(text: str) -> int | str:
    """Digits, with the dots of Indonesian thousands or without."""
    digits = re.sub(r"(?<=\d)\.(?=\d{3}(\D|$))", "", text)
    return int(digits) if re.fullmatch(r"[0-9]{1,16}", digits) else text


def _render(
    request: Request, visitor: Visitor, code: str, form: dict[str, str] | None = None, problem: str = ""
) -> Response:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = read_fund(connection, regency_of(request, visitor), code)
    if fund is None:
        raise NotFoundError
    return render_page(
        request,
        "office/fund_edit.html",
        visitor=visitor,
        status_code=422 if problem else 200,
        fund=fund.row,
        problem=problem,
        numbers=_NUMBERS,
        fields=_fields(fund.row, form or {}),
    )


def _fields(fund: Row[Any], form: dict[str, str]) -> list[tuple[str, str, str]]:
    """Name, label and value of each field: what was typed, else what holds."""
    state = state_of(fund)
    values = {**state, **state["rules"]}
    fields = []
    for name, label in (*_MONEY[fund.kind], *_WINDOW, *_LISTS, *_LIMITS):
        value = values[name]
        text = ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
        fields.append((name, label, form.get(name, text)))
    return fields
