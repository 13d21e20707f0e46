"""Seeded synthetic allocation problems of varying shape.

The figures (tariffs, 237 villages in 20 districts) are those of one regency;
everything else is drawn. ``Shape`` says how skewed, tight and rule-ridden an
instance is, so no method can be tuned to one kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optimizer.problem import NONE, AllocationProblem, Bool, FundKind, Funds, Int64, Workers

#: Monthly rupiah per bundle when [a company, a regional budget, a discounted company pledge] pays:
#: JKK+JKM, JKK+JKM+JHT, JKK+JKM+JKN, JKN.
MONTHLY_RUPIAH = np.array(
    [[16_800, 16_800, 8_400], [36_800, 36_800, 28_400], [51_800, 58_800, 43_400], [35_000, 42_000, 35_000]],
    dtype=np.int64,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """What kind of instance to draw. Shares are fractions of the funds.

    ``money`` is the total money over the cost of covering everyone; ``skew``
    is the exponent of the power laws behind village sizes and pledge amounts.
    """

    money: float = 0.45
    skew: float = 1.0
    villages: int = 237
    districts: int = 20
    occupations: int = 12
    bundles: int = 3
    regional: float = 0.6
    by_occupation: float = 0.5
    by_bundle: float = 0.25
    head_capped: float = 0.3
    district_capped: float = 0.1
    with_minimum: float = 0.2
    discounted: float = 0.1
    month_limited: float = 0.15
    with_window: float = 0.1
    by_sex: float = 0.05
    by_age: float = 0.05
    with_expiry: float = 0.5
    apbd: float = 0.07
    apbd_money: float = 0.3
    with_current: float = 0.0


#: Named shapes for the benchmark and the tests.
SHAPES = {
    "skewed": Shape(bundles=3, by_sex=0.0, by_age=0.0, with_window=0.0, discounted=0.0, month_limited=0.0),
    "mixed": Shape(bundles=4),
    "loose": Shape(money=1.1, bundles=4),
    "tight": Shape(money=0.1, skew=1.5, bundles=4),
    "capped": Shape(head_capped=0.8, district_capped=0.6, with_minimum=0.5, bundles=4),
    "even": Shape(skew=0.0, regional=0.2, by_occupation=0.1, head_capped=0.0, district_capped=0.0),
}


def make_instance(workers: int, funds: int, seed: int, shape: Shape = SHAPES["skewed"]) -> AllocationProblem:
    """Draw a problem; the same arguments give the same problem."""
    rng = np.random.default_rng([seed, workers, funds])
    district_of_village = np.sort(rng.integers(0, shape.districts, shape.villages)).astype(np.int32)
    village_weight = _power_weights(rng, shape.villages, shape.skew)
    occupation_weight = _power_weights(rng, shape.occupations, shape.skew)
    village = rng.choice(shape.villages, workers, p=village_weight).astype(np.int32)
    occupation = rng.choice(shape.occupations, workers, p=occupation_weight).astype(np.int32)
    bundle = rng.choice(shape.bundles, workers, p=_power_weights(rng, shape.bundles, 1.0)).astype(np.int32)
    term = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    months = rng.choice(term, workers, p=_normed(1.0 + 4.0 * np.isin(term, (3, 6, 12)))).astype(np.int32)
    priority = np.clip(rng.normal(50 + 20 * (rng.random(workers) < 0.2), 18, workers), 1, 100)
    cost = (MONTHLY_RUPIAH[: shape.bundles, None, :] * term[None, :, None]).reshape(-1, 3)
    need = Workers(
        village=village,
        occupation=occupation,
        bundle=bundle,
        months=months,
        start_month=rng.integers(0, 4, workers).astype(np.int32),
        priority=priority.astype(np.int32),
        sex=rng.integers(0, 3, workers).astype(np.int8),
        age=rng.integers(17, 75, workers).astype(np.int16),
        cost_class=(bundle * 12 + months - 1).astype(np.int32),
        current_fund=np.full(workers, NONE, dtype=np.int32),
    )
    total_rupiah = int(cost[need.cost_class, 0].sum() * shape.money)
    mean_rupiah = float(cost[need.cost_class, 0].mean()) if workers else 1.0
    drawn = _draw_funds(rng, funds, shape, district_of_village, total_rupiah, mean_rupiah)
    problem = AllocationProblem(need, drawn, district_of_village, shape.districts, cost)
    return problem


def _draw_funds(
    rng: np.random.Generator,
    funds: int,
    shape: Shape,
    district_of_village: np.ndarray,
    total_rupiah: int,
    mean_rupiah: float,
) -> Funds:
    apbd = max(1, round(funds * shape.apbd))
    kind = np.full(funds, FundKind.CSR, dtype=np.int8)
    kind[:apbd] = FundKind.APBD
    amount = np.empty(funds)
    amount[:apbd] = shape.apbd_money * _power_weights(rng, apbd, shape.skew)
    if funds > apbd:
        amount[apbd:] = (1 - shape.apbd_money) * _power_weights(rng, funds - apbd, shape.skew)
    amount_rupiah = np.maximum(1, (amount * total_rupiah)).astype(np.int64)
    csr = kind == FundKind.CSR

    def some(share: float) -> Bool:
        return np.asarray(csr & (rng.random(funds) < share))

    village_allowed = np.ones((funds, shape.villages), dtype=np.bool_)
    for fund in np.flatnonzero(some(shape.regional)):
        if rng.random() < 0.6:
            chosen = rng.choice(shape.districts, rng.integers(1, 4), replace=False)
            village_allowed[fund] = np.isin(district_of_village, chosen)
        else:
            village_allowed[fund] = False
            village_allowed[fund, rng.choice(shape.villages, rng.integers(3, 30), replace=False)] = True
    occupation_allowed = np.ones((funds, shape.occupations), dtype=np.bool_)
    for fund in np.flatnonzero(some(shape.by_occupation)):
        occupation_allowed[fund] = False
        occupation_allowed[fund, rng.choice(shape.occupations, rng.integers(1, 5), replace=False)] = True
    bundle_allowed = np.ones((funds, shape.bundles), dtype=np.bool_)
    for fund in np.flatnonzero(some(shape.by_bundle)):
        bundle_allowed[fund] = rng.random(shape.bundles) < 0.6
    affordable = np.maximum(1, amount_rupiah / mean_rupiah)
    sex_allowed = np.ones((funds, 3), dtype=np.bool_)
    sex_allowed[some(shape.by_sex)] = [False, False, True]
    age_from = np.where(some(shape.by_age), rng.integers(18, 40, funds), NONE).astype(np.int16)
    window_to = np.where(some(shape.with_window), rng.integers(4, 13, funds), NONE).astype(np.int32)
    expiry = np.where(some(shape.with_expiry), rng.integers(0, 12, funds), 12).astype(np.int32)
    return Funds(
        kind=kind,
        amount_rupiah=amount_rupiah,
        village_allowed=village_allowed,
        occupation_allowed=occupation_allowed,
        bundle_allowed=bundle_allowed,
        max_months=np.where(some(shape.month_limited), rng.integers(3, 12, funds), NONE).astype(np.int32),
        sex_allowed=sex_allowed,
        age_from=age_from,
        age_to=np.where((age_from != NONE) & (rng.random(funds) < 0.5), age_from + 25, NONE).astype(np.int16),
        window_from=np.full(funds, NONE, dtype=np.int32),
        window_to=window_to,
        head_count_cap=_limit(some(shape.head_capped), affordable * rng.uniform(0.3, 1.3, funds)),
        district_cap=_limit(some(shape.district_capped), affordable * rng.uniform(0.1, 0.5, funds)),
        min_workers=_limit(some(shape.with_minimum), affordable * rng.uniform(0.1, 0.9, funds)),
        heads_used=np.zeros((funds, shape.districts), dtype=np.int64),
        expiry_rank=expiry,
        cost_class=np.where(kind == FundKind.APBD, 1, np.where(some(shape.discounted), 2, 0)).astype(
            np.int32
        ),
    )


def _limit(has: Bool, value: np.ndarray) -> Int64:
    return np.where(has, np.maximum(1, value), NONE).astype(np.int64)


def _power_weights(rng: np.random.Generator, count: int, exponent: float) -> np.ndarray:
    return _normed(rng.permutation(1.0 / np.arange(1, count + 1) ** exponent))


def _normed(weights: np.ndarray) -> np.ndarray:
    return np.asarray(weights / weights.sum())
