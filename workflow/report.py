"""Report: the figures that the demo, the status command and the portal show alike."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select, text

from models.tables import AllocationRun
from workflow.run_progress import RunProgress, read_progress

_EVENTS = text(
    """
    SELECT outcome, count(*) FROM inbox_event WHERE type = 'coverage.worker-uncovered.v1' GROUP BY outcome
    """
)
_DEAD_LETTERS = text(
    "SELECT reason, count(*) FROM dead_letter WHERE replayed_at IS NULL GROUP BY reason ORDER BY 1"
)
_NEEDS = text("SELECT state, count(*) FROM coverage_need WHERE regency_code = :regency GROUP BY state")
_FUNDS = text(
    """
    SELECT f.code, f.name, f.kind, f.pledged_rupiah, f.reserved_rupiah, f.committed_rupiah,
           f.disbursed_rupiah, f.expired_rupiah, f.window_to, coalesce(p.workers, 0) AS workers
    FROM fund f
    LEFT JOIN (SELECT fund_id, count(*) AS workers FROM proposal
               WHERE state IN ('proposed', 'confirming', 'approved', 'enrolled')
               GROUP BY fund_id) p ON p.fund_id = f.id
    WHERE f.regency_code = :regency
    ORDER BY f.kind, f.code
    """
)
_DISTRICTS = text(
    """
    SELECT r.code, r.name, coalesce(n.workers, 0) AS workers, coalesce(n.covered, 0) AS covered
    FROM region r
    LEFT JOIN (SELECT district_code, count(*) AS workers,
                      count(*) FILTER (WHERE state IN ('proposed', 'approved', 'enrolled')) AS covered
               FROM coverage_need WHERE regency_code = :regency AND state <> 'closed'
               GROUP BY district_code) n ON n.district_code = r.code
    WHERE r.parent_code = :regency
    ORDER BY r.code
    """
)


@dataclass(frozen=True, slots=True)
class FundFigures:
    """One fund's money in rupiah and the workers its live lines carry."""

    code: str
    name: str
    kind: str
    pledged_rupiah: int
    reserved_rupiah: int
    committed_rupiah: int
    disbursed_rupiah: int
    expired_rupiah: int
    window_to: dt.date
    workers: int

    @property
    def available_rupiah(self) -> int:
        """What may still be reserved."""
        promised = self.reserved_rupiah + self.committed_rupiah + self.disbursed_rupiah + self.expired_rupiah
        return self.pledged_rupiah - promised


@dataclass(frozen=True, slots=True)
class DistrictFigures:
    """A district's known workers in need, and those for whom a fund stands ready."""

    code: str
    name: str
    workers: int
    covered: int

    @property
    def ratio(self) -> float | None:
        """Covered share, or ``None`` where nobody is known to need cover."""
        return self.covered / self.workers if self.workers else None


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The newest finished run; ``gap`` is the coverage tier's relative distance to its bound."""

    status: str
    gap: float
    finished_at: dt.datetime
    needs: int
    proposed: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Overview:
    """A regency at one moment."""

    regency: str
    events_received: int
    outcomes: dict[str, int]
    registered: int
    rejected: int
    waiting: int
    proposed: int
    reserved_rupiah: int
    funds: tuple[FundFigures, ...]
    districts: tuple[DistrictFigures, ...]
    last_run: RunFigures | None
    under_way: RunProgress | None
    dead_letters: dict[str, int]


def read_overview(engine: Engine, regency: str) -> Overview:
    """Read all figures in one snapshot, so that they agree with each other."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        outcomes = {row[0]: row[1] for row in connection.execute(_EVENTS)}
        dead_letters = {row[0]: row[1] for row in connection.execute(_DEAD_LETTERS)}
        needs = {row[0]: row[1] for row in connection.execute(_NEEDS, {"regency": regency})}
        funds = tuple(FundFigures(*row) for row in connection.execute(_FUNDS, {"regency": regency}))
        districts = tuple(
            DistrictFigures(*row) for row in connection.execute(_DISTRICTS, {"regency": regency})
        )
        last_run = read_last_run(connection, regency)
        under_way = read_progress(connection, regency)
    rejected = sum(dead_letters.values())
    return Overview(
        regency=regency,
        events_received=sum(outcomes.values()) + rejected,
        outcomes=outcomes,
        registered=sum(needs.values()),
        rejected=rejected,
        waiting=needs.get("waiting", 0),
        proposed=needs.get("proposed", 0),
        reserved_rupiah=sum(fund.reserved_rupiah for fund in funds),
        funds=funds,
        districts=districts,
        last_run=last_run,
        under_way=under_way,
        dead_letters=dead_letters,
    )


def read_last_run(connection: Connection, regency: str) -> RunFigures | None:
    """The newest run that ended with a match."""
    run = connection.execute(
        select(AllocationRun.__table__)
        .where(
            AllocationRun.regency_code == regency,
            AllocationRun.status.in_(("OPTIMAL", "FEASIBLE")),
        )
        .order_by(AllocationRun.generation.desc())
        .limit(1)
    ).one_or_none()
    if run is None:
        return None
    coverage = next((tier for tier in run.tiers if tier["name"] == "coverage"), None)
    return RunFigures(
        status=run.status,
        gap=coverage["gap"] if coverage else 0.0,
        finished_at=run.finished_at,
        needs=run.needs,
        proposed=run.proposed,
        seconds=(run.finished_at - run.started_at).total_seconds(),
    )
