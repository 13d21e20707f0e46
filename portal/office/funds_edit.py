"""Change a fund: amount, window, rules, withdrawal; each leaves as the fund's next event.

While the rules are being written, the page says how many open needs they would accept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection, Row

from models.programme import Programme
from models.region import load_regions
from portal.access import NotFoundError, Permission, require
from portal.accounts.sign_in import now
from portal.kept import Kept, kept_figures
from portal.office.regency import regency_of
from portal.page import render_page
from portal.unit import open_unit
from portal.words import USUAL_OCCUPATIONS
from workflow.count_eligible import (
    OpenNeeds,
    count_eligible,
    read_open_needs,
    read_other_funds,
    terms_of_change,
)
from workflow.edit_fund import EditRefusedError, draft_change, edit_fund, state_of
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
    ("regions", _("Where")),
    ("occupations", _("Occupations")),
    ("programmes", _("Programmes")),
    ("sexes", _("Sex")),
)
_LIMITS: Final = (
    ("age_from", _("Youngest age")),
    ("age_to", _("Oldest age")),
    ("max_months", _("Most months for a worker")),
    ("head_count_cap", _("Most workers")),
    ("district_cap", _("Most workers in a district")),
    ("min_workers", _("Fewest workers, or none")),
)
_LABELS: Final = dict((*_MONEY["csr"], *_MONEY["apbd"], *_WINDOW, *_LISTS, *_LIMITS))
_NUMBERS: Final = tuple(name for name, _ in (*_MONEY["csr"], *_MONEY["apbd"], *_LIMITS))


@router.get("/funds/{code}/edit")
def show_form(request: Request, visitor: Officer, code: str) -> Response:
    """The form with what holds now."""
    return _render(request, visitor, code)


@router.get("/funds/{code}/eligible")
def show_eligible(request: Request, visitor: Officer, code: str) -> Response:
    """How many open needs the rules accept as they stand in the form; nothing is changed."""
    form = _gather(request.query_params.multi_items())
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = _find(request, visitor, connection, code)
        others = read_other_funds(connection, fund.regency_code, code)
        try:
            standing, _ = draft_change(connection, fund, {})
            change, refused = draft_change(connection, fund, _read_changes(form))
        except EditRefusedError as error:
            return render_page(
                request, "office/fund_eligible.html", visitor=visitor, refused=error, labels=_LABELS
            )
    kept = _open_needs(request, fund.regency_code)
    return render_page(
        request,
        "office/fund_eligible.html",
        visitor=visitor,
        refused=refused,
        labels=_LABELS,
        count=count_eligible(kept.value, terms_of_change(change), others),
        before=count_eligible(kept.value, terms_of_change(standing), others),
        others=len(others),
        regions=change.rules.regions,
        read_at=kept.read_at,
    )


def _open_needs(request: Request, regency: str) -> Kept[OpenNeeds]:
    """Read beside the portal's confined transactions, whose role may not know ages; only counts leave."""
    portal = request.app.state.portal

    def read(code: str) -> OpenNeeds:
        today = now().astimezone(ZoneInfo(portal.timezone(code))).date()
        with portal.engine.connect() as connection:
            return read_open_needs(connection, code, today)

    return kept_figures(request.app, "open_needs", read).of(regency)


def _gather(items: Iterable[tuple[str, object]]) -> dict[str, str]:
    """A form's fields; the boxes that are ticked under one name become one text."""
    form: dict[str, str] = {}
    for name, value in items:
        written = str(value).replace("\x00", "").strip()
        form[name] = f"{form[name]},{written}" if form.get(name) else written
    return form


async def _read_form(request: Request) -> dict[str, str]:
    return _gather((await request.form()).multi_items())


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
        return _render(request, visitor, code, form, error)
    return RedirectResponse(f"/funds/{code}?sent={revision + 1}", 303)


def _read_changes(form: dict[str, str]) -> dict[str, Any]:
    """The fields of the event. What is no number stays text, which the event's schema refuses."""
    changes: dict[str, Any] = {"withdrawn": True} if form.get("withdrawn") == "true" else {}
    rules: dict[str, Any] = {}
    for name, value in form.items():
        if name in dict(_LISTS):
            rules[name] = list(dict.fromkeys(_split(value)))
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


def _find(request: Request, visitor: Visitor, connection: Connection, code: str) -> Row[Any]:
    fund = read_fund(connection, regency_of(request, visitor), code)
    if fund is None:
        raise NotFoundError
    return fund.row


def _render(
    request: Request,
    visitor: Visitor,
    code: str,
    form: Mapping[str, str] | None = None,
    refused: EditRefusedError | None = None,
) -> Response:
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        fund = _find(request, visitor, connection, code)
    state, written = state_of(fund), form or {}
    values = {name: _text(value) for name, value in (state | state["rules"]).items()}
    values |= written
    regions = _split(values["regions"])
    districts = _districts(fund.regency_code)
    known = {code for code, _ in districts}
    occupations = _split(values["occupations"])
    return render_page(
        request,
        "office/fund_edit.html",
        visitor=visitor,
        status_code=422 if refused else 200,
        fund=fund,
        refused=refused,
        labels=_LABELS,
        values=values,
        money=_MONEY[fund.kind],
        window=_WINDOW,
        limits=_LIMITS,
        districts=districts,
        regions=regions,
        further_regions=", ".join(each for each in regions if each not in known),
        occupations=occupations,
        usual_occupations=tuple(USUAL_OCCUPATIONS),
        further_occupations=", ".join(each for each in occupations if each not in USUAL_OCCUPATIONS),
        programmes=_split(values["programmes"]),
        every_programme=tuple(Programme),
        sexes=_split(values["sexes"]),
    )


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _split(text: str) -> list[str]:
    return [part for part in re.split(r"[,;\s]+", text) if part]


def _districts(regency: str) -> list[tuple[str, str]]:
    """Code and name of each district, by name."""
    under = f"{regency}."
    found = [(each.code, each.name) for each in load_regions() if each.code.startswith(under)]
    return sorted((each for each in found if len(each[0]) == len(under) + 2), key=lambda each: each[1])
