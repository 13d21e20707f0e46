"""Turn needs and fund terms into an :class:`AllocationProblem`, and remember the way back.

The optimiser knows integers only. :class:`MatchNames` is the dictionary between its indices and
the field's own identifiers; explaining and what-if work on (problem, result, names), whether
they came from files or from the database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from models.programme import Bundle, Programme
from models.tariff import (
    FundCostKey,
    Payer,
    TariffTable,
    WorkerCostKey,
    month_of,
    sector_of_occupation,
)
from optimizer.problem import (
    NONE,
    AllocationProblem,
    FundKind,
    Funds,
    Int8,
    Int16,
    Int32,
    Int64,
    Sex,
    Workers,
)

_KIND = {Payer.CSR: FundKind.CSR, Payer.APBD: FundKind.APBD}


@dataclass(frozen=True, slots=True)
class FundTerms:
    """What a fund has and whom it accepts. Empty lists and None set no rule.

    ``amount_rupiah`` is what may be spent now; ``window_from`` and ``window_to`` are inclusive
    absolute months (``models.tariff.parse_month``); ``expires`` ranks funds, soonest first.
    ``discount`` is the fund's own fraction off JKK and JKM, ``switches`` turn tariff rows on.
    """

    fund_id: str
    payer: Payer
    amount_rupiah: int
    regions: tuple[str, ...] = ()
    occupations: tuple[str, ...] = ()
    programmes: tuple[Programme, ...] = ()
    sexes: tuple[str, ...] = ()
    age_from: int | None = None
    age_to: int | None = None
    max_months: int | None = None
    head_count_cap: int | None = None
    district_cap: int | None = None
    min_workers: int | None = None
    window_from: int | None = None
    window_to: int | None = None
    expires: date | None = None
    discount: Fraction = Fraction(0)
    switches: frozenset[str] = field(default_factory=frozenset)

    @property
    def cost_key(self) -> FundCostKey:
        """What this fund's prices depend on."""
        return FundCostKey(self.payer, self.discount, self.switches)

    def closing_in(self, day: date) -> FundTerms:
        """These terms with a window that ends in the month of ``day``."""
        return replace(self, window_to=month_of(day))


@dataclass(frozen=True, slots=True, eq=False)
class WorkerRows:
    """Needs as coded columns of length N; the tuples beside them say what the codes mean.

    ``birth_year`` is ``NONE`` when unknown. ``worker_ids`` is an Arrow string array.
    """

    worker_ids: pa.Array
    village: Int32
    villages: tuple[str, ...]
    occupation: Int32
    occupations: tuple[str, ...]
    bundle: Int32
    bundles: tuple[Bundle, ...]
    months: Int32
    priority: Int32
    sex: Int8
    birth_year: Int16

    def __len__(self) -> int:
        return len(self.worker_ids)


@dataclass(frozen=True, slots=True, eq=False)
class MatchNames:
    """What the indices of a problem mean, and what its costs came from.

    ``worker_ids`` has length N; ``funds`` F; ``villages`` V; ``districts`` D; ``occupations`` O;
    ``bundles`` B; ``worker_costs`` W; ``fund_costs`` C. ``heads_used`` maps fund id to workers of
    approved lines per district code.
    """

    worker_ids: pa.Array
    funds: tuple[FundTerms, ...]
    villages: tuple[str, ...]
    districts: tuple[str, ...]
    occupations: tuple[str, ...]
    bundles: tuple[Bundle, ...]
    worker_costs: tuple[WorkerCostKey, ...]
    fund_costs: tuple[FundCostKey, ...]
    tariffs: TariffTable
    heads_used: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def places(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Fund ids and district codes: what prices are attached to."""
        return tuple(fund.fund_id for fund in self.funds), self.districts

    def worker_index(self, worker_id: str) -> int | None:
        """The row of a worker, or None."""
        index = self.worker_ids.index(worker_id).as_py()
        return None if index < 0 else int(index)

    def fund_index(self, fund_id: str) -> int | None:
        """The index of a fund, or None."""
        return next((index for index, fund in enumerate(self.funds) if fund.fund_id == fund_id), None)


class UnpayableCoverError(ValueError):
    """Some cover would cost nothing; money cannot be matched to it."""


def district_of(village_code: str) -> str:
    """The district part of a village code: ``64.02.05`` of ``64.02.05.2001``."""
    return village_code.rpartition(".")[0]


def build_problem(
    rows: WorkerRows,
    funds: Sequence[FundTerms],
    tariffs: TariffTable,
    *,
    today: date,
    current_fund: Int32 | None = None,
    start_month: int | None = None,
) -> tuple[AllocationProblem, MatchNames]:
    """The problem of needs that all start in one month (the offline match).

    ``start_month`` is an absolute month; without it the needs are priced from the month of
    ``today`` on and fund windows are not applied. Raises ``models.tariff.TariffError`` when a
    month has no price.
    """
    first_month = month_of(today) if start_month is None else start_month
    district_codes = [district_of(village) for village in rows.villages]
    districts = tuple(dict.fromkeys(district_codes))
    district_index = {code: index for index, code in enumerate(districts)}
    sectors = [sector_of_occupation(occupation) for occupation in rows.occupations]
    distinct_sectors = tuple(dict.fromkeys(sectors)) or ("",)
    # Every bundle x months x sector is a cost class: at most a few hundred, so no sort over N rows.
    worker_costs = tuple(
        WorkerCostKey(bundle, months, first_month, sector)
        for bundle in rows.bundles
        for months in range(1, 13)
        for sector in distinct_sectors
    )
    sector_of = np.array([distinct_sectors.index(sector) for sector in sectors] or [0], dtype=np.int32)
    cost_class = (rows.bundle * 12 + rows.months - 1) * np.int32(len(distinct_sectors)) + (
        sector_of[rows.occupation] if len(rows) else rows.occupation
    )
    age = np.where(rows.birth_year == NONE, NONE, today.year - rows.birth_year).astype(np.int16)
    workers = Workers(
        village=rows.village,
        occupation=rows.occupation,
        bundle=rows.bundle,
        months=rows.months,
        start_month=np.full(len(rows), first_month, dtype=np.int32),
        priority=rows.priority,
        sex=rows.sex,
        age=age,
        cost_class=cost_class.astype(np.int32),
        current_fund=np.full(len(rows), NONE, dtype=np.int32) if current_fund is None else current_fund,
    )
    names = MatchNames(
        worker_ids=rows.worker_ids,
        funds=(),
        villages=rows.villages,
        districts=districts,
        occupations=rows.occupations,
        bundles=rows.bundles,
        worker_costs=worker_costs,
        fund_costs=(),
        tariffs=tariffs,
    )
    problem = AllocationProblem(
        workers=workers,
        funds=build_funds((), names),
        district_of_village=np.array([district_index[code] for code in district_codes], dtype=np.int32),
        districts=len(districts),
        cost_rupiah=np.zeros((len(worker_costs), 0), dtype=np.int64),
    )
    dated = tuple(
        fund.closing_in(fund.expires) if start_month is not None and fund.expires else fund for fund in funds
    )
    return _with_funds(problem, names, dated)


def replace_funds(
    problem: AllocationProblem, names: MatchNames, terms: Sequence[FundTerms]
) -> tuple[AllocationProblem, MatchNames]:
    """The same needs with other funds: eligibility, limits and costs are derived anew.

    ``workers.current_fund`` is kept by fund id; a fund that is gone leaves ``NONE``.
    """
    kept = {fund.fund_id: index for index, fund in enumerate(terms)}
    # NONE is -1, so it picks the last entry, which is NONE.
    index_now = np.array([kept.get(fund.fund_id, NONE) for fund in names.funds] + [NONE], dtype=np.int32)
    workers = replace(problem.workers, current_fund=index_now[problem.workers.current_fund])
    return _with_funds(replace(problem, workers=workers), names, terms)


def _with_funds(
    problem: AllocationProblem, names: MatchNames, terms: Sequence[FundTerms]
) -> tuple[AllocationProblem, MatchNames]:
    fund_costs = tuple(dict.fromkeys(fund.cost_key for fund in terms))
    changed = replace(names, funds=tuple(terms), fund_costs=fund_costs)
    costs = names.tariffs.cost_matrix(names.worker_costs, fund_costs)
    return replace(problem, funds=build_funds(terms, changed), cost_rupiah=costs), changed


def build_funds(terms: Sequence[FundTerms], names: MatchNames) -> Funds:
    """Fund terms as the optimiser's arrays over the villages, occupations and bundles of ``names``."""
    count = len(terms)
    cost_index = {key: index for index, key in enumerate(names.fund_costs)}
    dates = sorted({fund.expires for fund in terms if fund.expires is not None})
    rank = {day: index for index, day in enumerate(dates)}
    district_index = {code: index for index, code in enumerate(names.districts)}
    heads_used = np.zeros((count, len(names.districts)), dtype=np.int64)
    for index, fund in enumerate(terms):
        for district, heads in names.heads_used.get(fund.fund_id, {}).items():
            if district in district_index:
                heads_used[index, district_index[district]] = heads

    def limits(values: list[int | None]) -> Int64:
        return np.array([NONE if value is None else value for value in values], dtype=np.int64)

    return Funds(
        kind=np.array([_KIND[fund.payer] for fund in terms], dtype=np.int8),
        amount_rupiah=np.array([fund.amount_rupiah for fund in terms], dtype=np.int64),
        village_allowed=_allow_regions(terms, names.villages),
        occupation_allowed=_allow_words([fund.occupations for fund in terms], names.occupations),
        bundle_allowed=np.array(
            [
                [not fund.programmes or set(fund.programmes).issuperset(bundle) for bundle in names.bundles]
                for fund in terms
            ],
            dtype=np.bool_,
        ).reshape(count, len(names.bundles)),
        max_months=limits([fund.max_months for fund in terms]).astype(np.int32),
        sex_allowed=np.array(
            [[not fund.sexes or sex.name in fund.sexes for sex in Sex] for fund in terms], dtype=np.bool_
        ).reshape(count, len(Sex)),
        age_from=limits([fund.age_from for fund in terms]).astype(np.int16),
        age_to=limits([fund.age_to for fund in terms]).astype(np.int16),
        window_from=limits([fund.window_from for fund in terms]).astype(np.int32),
        window_to=limits([fund.window_to for fund in terms]).astype(np.int32),
        head_count_cap=limits([fund.head_count_cap for fund in terms]),
        district_cap=limits([fund.district_cap for fund in terms]),
        min_workers=limits([fund.min_workers for fund in terms]),
        heads_used=heads_used,
        expiry_rank=np.array(
            [len(dates) if fund.expires is None else rank[fund.expires] for fund in terms], dtype=np.int32
        ),
        cost_class=np.array([cost_index[fund.cost_key] for fund in terms], dtype=np.int32),
    )


def _allow_regions(terms: Sequence[FundTerms], villages: Sequence[str]) -> npt.NDArray[np.bool_]:
    allowed = np.zeros((len(terms), len(villages)), dtype=np.bool_)
    under: dict[str, list[int]] = {}
    for index, village in enumerate(villages):
        parts = village.split(".")
        for level in range(1, len(parts) + 1):
            under.setdefault(".".join(parts[:level]), []).append(index)
    for row, fund in enumerate(terms):
        if not fund.regions:
            allowed[row] = True
        for region in fund.regions:
            allowed[row, under.get(region, [])] = True
    return allowed


def _allow_words(lists: Sequence[tuple[str, ...]], known: Sequence[str]) -> npt.NDArray[np.bool_]:
    index = {word: position for position, word in enumerate(known)}
    allowed = np.zeros((len(lists), len(known)), dtype=np.bool_)
    for row, words in enumerate(lists):
        if words:
            allowed[row, [index[word] for word in words if word in index]] = True
        else:
            allowed[row] = True
    return allowed
