"""Ask: what would the match be with other money, rules or policy? Read, solved, compared, never stored.

A question is plain data, so that it fits in an address to share and travels to another process.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from typing import Final, Literal

from models.database import open_engine
from models.tariff import Payer, default_table
from workflow.match_problem import FundTerms
from workflow.standing_match import read_standing_match
from workflow.what_if import WhatIfAnswer, WhatIfError, add_funds, ask_what_if, change_fund, find_fund

#: Rules of a fund that a question may set; ``None`` leaves one as it is, -1 takes it away.
NO_LIMIT: Final = -1
NEW_FUND: Final = "SIMULASI-BARU"


@dataclass(frozen=True, slots=True)
class Question:
    """What to change. ``more_rupiah`` may be negative; a new fund opens to everybody in the regency."""

    fund: str | None = None
    more_rupiah: int = 0
    max_months: int | None = None
    head_count_cap: int | None = None
    district_cap: int | None = None
    min_workers: int | None = None
    every_occupation: bool = False
    every_region: bool = False
    closed: bool = False
    new_kind: Literal["csr", "apbd"] = "csr"
    new_rupiah: int = 0
    count_months: bool = False


def answer_question(
    database_url: str, regency: str, question: Question, now: dt.datetime, time_limit_seconds: float
) -> WhatIfAnswer:
    """Solve the regency's match under the question's terms.

    Raises :class:`WhatIfError` for a question that cannot be asked, ``LookupError`` for a regency
    that is not served.
    """
    engine = open_engine(database_url, pool_size=1, application_name="gotong-what-if")
    try:
        match = read_standing_match(engine, regency, default_table(), now)
    finally:
        engine.dispose()
    counts: Literal["workers", "worker_months"] = (
        "worker_months" if question.count_months else match.policy.coverage_counts
    )
    return ask_what_if(
        match.problem,
        match.names,
        match.result,
        change_terms(match.names.funds, question),
        replace(match.policy, coverage_counts=counts),
        time_limit_seconds=time_limit_seconds,
    )


def change_terms(funds: tuple[FundTerms, ...], question: Question) -> tuple[FundTerms, ...]:
    """The funds under the question's terms; raises :class:`WhatIfError` when they cannot be."""
    if question.fund is not None:
        fund = find_fund(funds, question.fund)
        if fund.amount_rupiah + question.more_rupiah < 0:
            raise WhatIfError(f"{question.fund}: Rp {fund.amount_rupiah:,}")
        funds = change_fund(
            funds,
            replace(
                fund,
                amount_rupiah=0 if question.closed else fund.amount_rupiah + question.more_rupiah,
                max_months=_limit(fund.max_months, question.max_months),
                head_count_cap=_limit(fund.head_count_cap, question.head_count_cap),
                district_cap=_limit(fund.district_cap, question.district_cap),
                min_workers=_limit(fund.min_workers, question.min_workers),
                occupations=() if question.every_occupation else fund.occupations,
                regions=() if question.every_region else fund.regions,
            ),
        )
    if question.new_rupiah:
        added = FundTerms(fund_id=NEW_FUND, payer=Payer(question.new_kind), amount_rupiah=question.new_rupiah)
        funds = add_funds(funds, (added,))
    return funds


def _limit(now: int | None, asked: int | None) -> int | None:
    if asked is None:
        return now
    return None if asked == NO_LIMIT else asked
