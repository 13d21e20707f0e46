"""The match as it stands in the database, in the form that explaining and what-if ask of a run.

Read-only. Needs and funds are those of this moment; prices, tiers and policy are the last
finished run's, so an answer is as fresh as that run.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection, Engine, Row, select

from models.tables import AllocationRun, Regency
from models.tariff import TariffTable
from optimizer.policy import DEFAULT_POLICY, Policy
from optimizer.problem import AllocationProblem
from optimizer.result import AllocationResult, Prices, Status, TierResult
from workflow.match_problem import MatchNames
from workflow.run_prices import read_prices
from workflow.snapshot import read_snapshot


@dataclass(frozen=True, slots=True, eq=False)
class StandingMatch:
    """A problem with its plan. From the database a worker is named by its need's id.

    ``start_month`` is set when the problem comes from files and all needs start in one month.
    """

    problem: AllocationProblem
    names: MatchNames
    policy: Policy
    result: AllocationResult
    start_month: int | None = None


def read_standing_match(
    engine: Engine, regency: str, tariffs: TariffTable, now: dt.datetime
) -> StandingMatch:
    """Read it in one snapshot. Raises ``LookupError`` for a regency that is not served."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        timezone = connection.scalar(select(Regency.timezone).where(Regency.code == regency))
        if timezone is None:
            raise LookupError(f"regency {regency} is not served here")
        snapshot = read_snapshot(connection, regency, tariffs, now.astimezone(ZoneInfo(timezone)).date())
        run = _read_last_run(connection, regency)
        prices = read_prices(connection, snapshot)
    problem = snapshot.problem
    funded = problem.workers.current_fund >= 0
    result = AllocationResult(
        status=Status.FEASIBLE if run is None else Status(run.status),
        fund_of_worker=problem.workers.current_fund,
        amount_rupiah=np.where(funded, snapshot.needs["proposed_rupiah"], 0).astype(np.int64),
        tiers=() if run is None else tuple(TierResult(**tier) for tier in run.tiers),
        prices=prices or _no_prices(problem),
        seconds={},
    )
    policy = DEFAULT_POLICY if run is None else Policy.from_mapping(run.policy)
    return StandingMatch(problem, snapshot.names, policy, result)


def _no_prices(problem: AllocationProblem) -> Prices:
    funds = len(problem.funds)
    return Prices(np.zeros(funds), np.zeros(funds), np.zeros((funds, problem.districts)))


def _read_last_run(connection: Connection, regency: str) -> Row[tuple[object, ...]] | None:
    return connection.execute(
        select(AllocationRun.status, AllocationRun.policy, AllocationRun.tiers)
        .where(AllocationRun.regency_code == regency, AllocationRun.status.in_(("OPTIMAL", "FEASIBLE")))
        .order_by(AllocationRun.generation.desc())
        .limit(1)
    ).one_or_none()
