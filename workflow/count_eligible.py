"""Count eligible: how many open needs a fund would accept under rules that are still being written.

The rules are the match's own functions (``optimizer/rules.py``), asked about one fund; so the count and
the next match cannot disagree. Needs are read once and kept by the caller: counting a million of them
anew takes some hundredths of a second.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, select

from models.event import BudgetChanged, PledgeChanged
from models.programme import Programme, bundle_of_mask
from models.tables import Fund
from models.tariff import Payer, default_table, parse_month
from optimizer.problem import NONE, AllocationProblem, Bool, Workers
from optimizer.rules import pair_accepted
from workflow.match_problem import FundTerms, MatchNames, build_funds
from workflow.snapshot import (
    checked_regency,
    copy_integers,
    read_occupations,
    read_terms,
    read_villages,
)

_COLUMNS = ("village", "occupation", "sex", "birth_year", "programmes", "months", "start_month", "waiting")
_NEEDS = """
    SELECT replace(n.village_code, '.', '')::int8, hashtextextended(w.occupation, 0),
           CASE w.sex WHEN 'L' THEN 1 WHEN 'P' THEN 2 ELSE 0 END, coalesce(w.birth_year, -1),
           n.programmes, n.months,
           (extract(year FROM n.start_month) * 12 + extract(month FROM n.start_month) - 1)::int8,
           (n.state = 'waiting')::int
    FROM coverage_need n JOIN worker w ON w.id = n.worker_id
    WHERE n.regency_code = '{regency}' AND n.state IN ('waiting', 'proposed')
"""


@dataclass(frozen=True, slots=True, eq=False)
class OpenNeeds:
    """A regency's needs without a signed line, without any fund; ``waiting`` have no proposal either."""

    problem: AllocationProblem
    names: MatchNames
    waiting: Bool


@dataclass(frozen=True, slots=True)
class EligibleCount:
    """Needs that the rules accept. ``alone`` of the waiting ones are accepted by no other fund with money.

    ``nobody`` lists occupations of the rules that no worker here was ever reported with.
    """

    waiting: int
    alone: int
    proposed: int
    nobody: tuple[str, ...]


def read_open_needs(connection: Connection, regency: str, today: dt.date) -> OpenNeeds:
    """Read the open needs; ``today`` is the regency's own date, on which ages are counted."""
    villages = read_villages(connection, regency)
    districts = sorted({code[:8] for code in villages})
    district_at = {code: index for index, code in enumerate(districts)}
    village_numbers = np.array([int(code.replace(".", "")) for code in villages], dtype=np.int64)
    rows = copy_integers(connection, _NEEDS.format(regency=checked_regency(regency)), _COLUMNS)
    occupations = read_occupations(connection)
    hashes = np.array(sorted(occupations), dtype=np.int64)
    count = len(rows)
    nothing = np.zeros(count, dtype=np.int32)
    names = MatchNames(
        worker_ids=pa.array([], pa.string()),
        funds=(),
        villages=tuple(villages),
        districts=tuple(districts),
        occupations=tuple(occupations[key] for key in hashes.tolist()),
        bundles=tuple(bundle_of_mask(mask) for mask in range(1 << len(Programme))),  # the mask is the index
        worker_costs=(),
        fund_costs=(),
        tariffs=default_table(),
    )
    problem = AllocationProblem(
        workers=Workers(
            village=np.searchsorted(village_numbers, rows["village"]).astype(np.int32),
            occupation=np.searchsorted(hashes, rows["occupation"]).astype(np.int32),
            bundle=rows["programmes"].astype(np.int32),
            months=rows["months"].astype(np.int32),
            start_month=rows["start_month"].astype(np.int32),
            priority=nothing,
            sex=rows["sex"].astype(np.int8),
            age=np.where(rows["birth_year"] > 0, today.year - rows["birth_year"], NONE).astype(np.int16),
            cost_class=nothing,
            current_fund=nothing,
        ),
        funds=build_funds((), names),
        district_of_village=np.array([district_at[code[:8]] for code in villages], dtype=np.int32),
        districts=len(districts),
        cost_rupiah=np.zeros((0, 0), dtype=np.int64),
    )
    return OpenNeeds(problem, names, rows["waiting"] > 0)


def read_other_funds(connection: Connection, regency: str, code: str) -> tuple[FundTerms, ...]:
    """The regency's other funds that still have money which is neither committed nor gone."""
    funds = connection.execute(
        select(Fund.__table__)
        .where(Fund.regency_code == regency, Fund.code != code)
        .where(
            Fund.pledged_rupiah > Fund.committed_rupiah + Fund.disbursed_rupiah + Fund.expired_rupiah,
        )
        .order_by(Fund.id)
    ).all()
    return tuple(read_terms(fund, fund.reserved_rupiah) for fund in funds)


def terms_of_change(change: PledgeChanged | BudgetChanged) -> FundTerms:
    """Whom the fund accepts once the change holds; money and limits of heads concern no one alone."""
    rules = change.rules
    return FundTerms(
        fund_id=change.fund_id,
        payer=Payer.CSR if isinstance(change, PledgeChanged) else Payer.APBD,
        amount_rupiah=0,
        regions=rules.regions,
        occupations=rules.occupations,
        programmes=tuple(Programme(code) for code in rules.programmes),
        sexes=rules.sexes,
        age_from=rules.age_from,
        age_to=rules.age_to,
        max_months=rules.max_months,
        window_from=parse_month(change.window_from),
        window_to=parse_month(change.window_to),
    )


def count_eligible(needs: OpenNeeds, terms: FundTerms, others: Sequence[FundTerms]) -> EligibleCount:
    """Count the needs that ``terms`` accept, and those of them that none of ``others`` would."""
    names = replace(
        needs.names,
        fund_costs=tuple(dict.fromkeys(fund.cost_key for fund in (terms, *others))),
    )
    problem = replace(needs.problem, funds=build_funds((terms, *others), names))
    everybody = np.arange(len(needs.waiting))
    accepted = pair_accepted(problem, everybody, np.zeros(1, dtype=np.int64))
    alone = everybody[accepted & needs.waiting]
    waiting = len(alone)
    # Most funds are open to most workers, so few are left to ask about after the first ones.
    for index in range(1, len(others) + 1):
        if not len(alone):
            break
        alone = alone[~pair_accepted(problem, alone, np.array([index]))]
    known = set(names.occupations)
    return EligibleCount(
        waiting=waiting,
        alone=len(alone),
        proposed=int(accepted.sum()) - waiting,
        nobody=tuple(word for word in terms.occupations if word not in known),
    )
