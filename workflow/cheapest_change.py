"""Cheapest change: what would fund those who wait for one and the same reason.

For a hard rule: the one fund and the one rule whose widening lets most of the group in. For money,
caps and minimums: the fund that is nearest to each of them, and what it would take. Counted over the
whole group, or over an evenly spread sample of it where the group is large; the answer says which.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.database import open_engine
from models.tariff import default_table
from optimizer.problem import NONE, AllocationProblem, Int64
from optimizer.rules import PAIR_RULES, pair_cost_rupiah
from workflow.match_reasons import REASONS, find_reasons
from workflow.standing_match import StandingMatch, read_standing_match

_SAMPLE: Final = 2000


@dataclass(frozen=True, slots=True)
class Change:
    """A reason's group and the cheapest change found for it.

    ``rule`` of ``fund`` is what to widen (a pair rule's name), or ``amount_left``, ``head_count_cap``,
    ``district_cap``, ``min_workers``; both are ``None`` when there is no fund. ``helped`` of ``looked_at``
    needs would be let in, for ``cost_rupiah`` together; ``left_rupiah`` is what the fund still has.
    """

    reason: str
    needs: int
    looked_at: int
    fund: str | None
    rule: str | None
    helped: int
    cost_rupiah: int
    left_rupiah: int


def find_changes(database_url: str, regency: str, now: dt.datetime) -> tuple[Change, ...]:
    """For each reason why needs of the regency wait, largest group first. Raises ``LookupError``."""
    engine = open_engine(database_url, pool_size=1, application_name="gotong-changes")
    try:
        match = read_standing_match(engine, regency, default_table(), now)
    finally:
        engine.dispose()
    return compare_changes(match)


def compare_changes(match: StandingMatch) -> tuple[Change, ...]:
    """The same for a match at hand."""
    found = find_reasons(match.problem, match.policy, match.result)
    unfunded = match.result.fund_of_worker == NONE
    changes = []
    for code in np.unique(found.reason[unfunded]).tolist():
        group = np.flatnonzero(unfunded & (found.reason == code))
        sample = group[np.linspace(0, len(group) - 1, min(len(group), _SAMPLE)).astype(np.int64)]
        reason = REASONS[code]
        rules = [rule.__name__ for rule in PAIR_RULES]
        left = found.occupancy.left_rupiah
        if reason in rules:
            fund, rule, helped = _widen_one_rule(match.problem, sample, rules, left)
        else:
            nearest = found.fund[sample]
            known = nearest[nearest != NONE]
            fund = int(np.bincount(known).argmax()) if len(known) else NONE
            helped = sample[nearest == fund] if fund != NONE else sample[:0]
            rule = reason if reason in ("head_count_cap", "district_cap", "min_workers") else "amount_left"
        cost = pair_cost_rupiah(match.problem, helped, np.full(len(helped), fund)) if fund != NONE else helped
        changes.append(
            Change(
                reason=reason,
                needs=len(group),
                looked_at=len(sample),
                fund=match.names.funds[fund].fund_id if fund != NONE else None,
                rule=rule if fund != NONE else None,
                helped=len(helped),
                cost_rupiah=int(cost.sum()),
                left_rupiah=int(left[fund]) if fund != NONE else 0,
            )
        )
    return tuple(sorted(changes, key=lambda change: (-change.needs, change.reason)))


def _widen_one_rule(
    problem: AllocationProblem, sample: Int64, rules: list[str], left_rupiah: Int64
) -> tuple[int, str | None, Int64]:
    """The fund and rule that alone keep most of the sample out; of equals the fund with most money left."""
    funds = np.arange(len(problem.funds))
    refused = np.stack([~rule(problem, sample[:, None], funds[None, :]) for rule in PAIR_RULES])
    alone = refused & (refused.sum(axis=0) == 1)  # rules x needs x funds
    helped = alone.sum(axis=1)  # rules x funds
    if not helped.any():
        return NONE, None, sample[:0]
    rule, fund = max(
        np.argwhere(helped > 0).tolist(), key=lambda at: (int(helped[at[0], at[1]]), int(left_rupiah[at[1]]))
    )
    return fund, rules[rule], sample[alone[rule, :, fund]]
