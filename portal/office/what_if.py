"""What-if: the match with other money, rules or policy; nothing is stored.

The question stands in the address, so a link shares it; the answer is asked for by the page itself,
since a large match takes seconds.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

import altair as alt
from fastapi import APIRouter, Request, Response
from sqlalchemy import select

from models.tables import Fund
from portal.access import NotFoundError, Permission, require
from portal.office.desk import DeskBusyError
from portal.office.regency import regency_of
from portal.page import page_language, render_page
from portal.plot import draw, plot_response
from portal.region_name import region_name
from portal.unit import open_unit
from workflow.ask_question import NO_LIMIT, Question
from workflow.read_waiting import read_last_run
from workflow.sign_in import Visitor
from workflow.what_if import WhatIfAnswer, WhatIfError

router = APIRouter()
Asker = Annotated[Visitor, require(Permission.ASK_WHAT_IF)]

_MILLION: Final = 1_000_000
#: No question is about more money than a regency could ever have: Rp 10 trillion.
_MOST_MILLIONS: Final = 10_000_000
_LIMITS: Final = ("max_months", "head_count_cap", "district_cap", "min_workers")


@router.get("/what-if")
def show_what_if(request: Request, visitor: Asker) -> Response:
    """The form with the question of the address; the answer follows by itself."""
    regency = regency_of(request, visitor)
    question, problems = read_question(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        funds = connection.execute(
            select(Fund.code, Fund.name, Fund.kind)
            .where(Fund.regency_code == regency)
            .order_by(Fund.kind, Fund.name)
        ).all()
    if question.fund is not None and question.fund not in {fund.code for fund in funds}:
        raise NotFoundError
    return render_page(
        request,
        "office/what_if.html",
        visitor=visitor,
        funds=funds,
        question=question,
        problems=problems,
        asked=question != Question(),
        asked_query=str(request.url.query),
        regency=regency,
        no_limit=NO_LIMIT,
        million=_MILLION,
    )


@router.get("/what-if/answer")
def show_answer(request: Request, visitor: Asker) -> Response:
    """Before and after, side by side and by district."""
    try:
        answer = _answer(request, visitor)
    except DeskBusyError:
        return render_page(request, "office/_desk_busy.html", visitor=visitor, status_code=503)
    except WhatIfError as error:
        return render_page(
            request, "office/_what_if_refused.html", visitor=visitor, status_code=422, problem=str(error)
        )
    return render_page(
        request,
        "office/_what_if_answer.html",
        visitor=visitor,
        answer=answer,
        query=str(request.url.query),
        question=asdict(read_question(request)[0]),
    )


@router.get("/what-if/districts.svg")
def draw_districts(request: Request, visitor: Asker) -> Response:
    """Workers gained and lost by district, as a picture."""
    try:
        answer = _answer(request, visitor)
    except (DeskBusyError, WhatIfError) as error:
        raise NotFoundError from error
    language = page_language(request)
    title = "perubahan jumlah pekerja" if language == "id" else "change in workers"
    values = [
        {"district": region_name(each.district), "change": each.now - each.before}
        for each in answer.districts
    ]
    chart = alt.Chart(alt.InlineData(values=values), width=640, height=alt.Step(18)).mark_bar()
    chart = chart.encode(
        x=alt.X("change:Q", title=title),
        y=alt.Y("district:N", title=None, sort="-x"),
        color=alt.condition("datum.change < 0", alt.value("#d9851e"), alt.value("#0f7b70")),
    )
    return plot_response(draw(chart, language))


def _answer(request: Request, visitor: Visitor) -> WhatIfAnswer:
    regency = regency_of(request, visitor)
    question, problems = read_question(request)
    if problems:
        raise WhatIfError(", ".join(problems))
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        run = read_last_run(connection, regency)
        if question.fund is not None:
            own = select(Fund.id).where(Fund.code == question.fund, Fund.regency_code == regency)
            if connection.scalar(own) is None:
                raise NotFoundError
    if run is None:
        raise NotFoundError
    answer: WhatIfAnswer = request.app.state.desk.what_if(regency, run, question)
    return answer


def read_question(request: Request) -> tuple[Question, list[str]]:
    """The question of the address, and the names of the fields that could not be read."""
    query, problems = request.query_params, list[str]()

    def whole(name: str, least: int, most: int) -> int | None:
        written = query.get(name, "").strip()
        if written == "":
            return None
        digits = written.removeprefix("-")
        value = int(written) if digits.isascii() and digits.isdigit() and len(digits) < 12 else None
        if value is None or not least <= value <= most:
            problems.append(name)
            return None
        return value

    limits: dict[str, Any] = {
        name: whole(name, NO_LIMIT, 12 if name == "max_months" else 10_000_000) for name in _LIMITS
    }
    return (
        Question(
            fund=query.get("fund") or None,
            more_rupiah=(whole("more_millions", -_MOST_MILLIONS, _MOST_MILLIONS) or 0) * _MILLION,
            **limits,
            every_occupation=query.get("every_occupation") == "1",
            every_region=query.get("every_region") == "1",
            closed=query.get("closed") == "1",
            new_kind="apbd" if query.get("new_kind") == "apbd" else "csr",
            new_rupiah=(whole("new_millions", 0, _MOST_MILLIONS) or 0) * _MILLION,
            count_months=query.get("count_months") == "1",
        ),
        problems,
    )
