"""Allocate: match a regency's open needs to its funds, and propose what was found.

request → generation → snapshot → solve → verify → propose. A run owns its
regency by generation number: whoever starts later fences everyone before, so a
worker that slept through its lease cannot write an old plan over a new one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import OperationalError

from models.event import AllocationProposed, FundProposal, TierOutcome
from models.tables import AllocationRequest, AllocationRun, AllocationSignal, Regency
from models.tariff import TariffTable
from optimizer.policy import Policy
from optimizer.result import AllocationResult, Status
from optimizer.verify import verify
from workflow.cancel_match import is_cancelled
from workflow.deadlock import is_deadlock
from workflow.match_reasons import BINDING, REASONS, MatchReasons, find_reasons
from workflow.outbox import enqueue_event
from workflow.propose import PlanOutdatedError, ProposeOutcome, close_run, propose
from workflow.request import raise_signal
from workflow.run_prices import read_prices, write_prices
from workflow.run_progress import write_progress
from workflow.snapshot import Snapshot, read_snapshot
from workflow.solver import Solver


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What came of a request: ``status`` is the run's, or why there was none.

    ``ANSWERED``: an earlier delivery did the work. ``HALTED``: an audit breach stopped the
    regency. ``ABANDONED``: the world moved on; a new signal asks for another run. ``CANCELLED``: an officer
    stopped it, and what stood proposed stands.
    """

    status: str
    run_id: uuid.UUID | None = None
    needs: int = 0
    proposed: int = 0
    moved: ProposeOutcome | None = None


def allocate_regency(
    engine: Engine,
    regency: str,
    *,
    solver: Solver,
    policy: Policy,
    tariffs: TariffTable,
    time_limit_seconds: float,
    request_number: int | None = None,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> RunOutcome:
    """Run one allocation for ``regency`` (code such as ``64.02``).

    With ``request_number``, a request that is already answered is left alone, so a repeated
    message costs one query. Raises ``LookupError`` for a regency that Gotong does not serve;
    a failing solver leaves the run ``FAILED``, the request unanswered and its error raised.
    """
    begun = _begin_run(engine, regency, policy, request_number)
    if isinstance(begun, RunOutcome):
        return begun
    run_id, generation, timezone = begun
    try:
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            snapshot = read_snapshot(connection, regency, tariffs, now().astimezone(timezone).date())
            previous = read_prices(connection, snapshot)
        result = solver(
            snapshot.problem,
            policy,
            previous=previous,
            time_limit_seconds=time_limit_seconds,
            on_progress=lambda progress: write_progress(engine, run_id, progress),
            cancelled=lambda: is_cancelled(engine, run_id),
        )
        if result.status is Status.CANCELLED:
            with engine.begin() as connection:
                close_run(connection, run_id, "CANCELLED", {}, now())
                _answer_request(connection, regency, request_number, now())
            return RunOutcome("CANCELLED", run_id, len(snapshot.needs))
        verify(snapshot.problem, policy, result)
        found = find_reasons(snapshot.problem, policy, result)
        with engine.begin() as connection:
            moment = now()
            moved = propose(
                connection,
                snapshot,
                result,
                _unfunded_reasons(result, found),
                found,
                run_id=run_id,
                generation=generation,
                now=moment,
            )
            figures = _run_figures(snapshot, result, moved)
            figures["marginal_values"] = _marginal_values(snapshot, found)
            close_run(connection, run_id, result.status.value, figures, moment)
            _announce(connection, snapshot, result, moved, run_id, generation, policy)
            _answer_request(connection, regency, request_number, moment)
    except (PlanOutdatedError, OperationalError) as error:
        if isinstance(error, OperationalError) and not is_deadlock(error):
            _fail_run(engine, run_id, now())
            raise
        with engine.begin() as connection:
            reason = str(error) if isinstance(error, PlanOutdatedError) else "met another transaction"
            close_run(connection, run_id, "ABANDONED", {"progress": {"reason": reason}}, now())
            raise_signal(connection, regency)
            _answer_request(connection, regency, request_number, now())
        return RunOutcome("ABANDONED", run_id)
    except Exception:
        _fail_run(engine, run_id, now())
        raise
    funded = int((result.fund_of_worker >= 0).sum())
    return RunOutcome(result.status.value, run_id, len(snapshot.needs), funded, moved)


def _begin_run(
    engine: Engine, regency: str, policy: Policy, request_number: int | None
) -> tuple[uuid.UUID, int, ZoneInfo] | RunOutcome:
    """Take the next generation and the signals seen so far; ends runs that a crash left open."""
    with engine.begin() as connection:
        home = connection.execute(
            select(Regency.timezone, Regency.halted_reason)
            .where(Regency.code == regency)
            .with_for_update(key_share=True)
        ).one_or_none()
        if home is None:
            raise LookupError(f"regency {regency} is not served here")
        if request_number is not None and not connection.scalar(
            select(AllocationRequest.number).where(
                AllocationRequest.regency_code == regency,
                AllocationRequest.number == request_number,
                AllocationRequest.answered_at.is_(None),
            )
        ):
            return RunOutcome("ANSWERED")
        if home.halted_reason is not None:
            return RunOutcome("HALTED")
        # Only signals that are visible now: one that commits later belongs to the next run.
        connection.execute(delete(AllocationSignal).where(AllocationSignal.regency_code == regency))
        generation = connection.scalar(
            update(Regency)
            .where(Regency.code == regency)
            .values(generation=Regency.generation + 1)
            .returning(Regency.generation)
        )
        assert generation is not None
        connection.execute(
            update(AllocationRun)
            .where(AllocationRun.regency_code == regency, AllocationRun.status == "RUNNING")
            .values(status="ABANDONED", progress={"reason": f"overtaken by generation {generation}"})
        )
        run_id = uuid.uuid4()
        connection.execute(
            insert(AllocationRun).values(
                id=run_id,
                regency_code=regency,
                generation=generation,
                policy=policy.to_mapping(),
                status="RUNNING",
            )
        )
    return run_id, generation, ZoneInfo(home.timezone)


def _fail_run(engine: Engine, run_id: uuid.UUID, now: dt.datetime) -> None:
    """Leave a trace of a failed run; when the database is away, the next run closes this one."""
    with contextlib.suppress(OperationalError), engine.begin() as connection:
        close_run(connection, run_id, "FAILED", {}, now)
        regency = connection.scalar(select(AllocationRun.regency_code).where(AllocationRun.id == run_id))
        assert regency is not None
        raise_signal(connection, regency)


def _answer_request(
    connection: Connection, regency: str, request_number: int | None, now: dt.datetime
) -> None:
    if request_number is None:
        return
    connection.execute(
        update(AllocationRequest)
        .where(AllocationRequest.regency_code == regency, AllocationRequest.number == request_number)
        .values(answered_at=now)
    )


def _run_figures(snapshot: Snapshot, result: AllocationResult, moved: ProposeOutcome) -> dict[str, object]:
    return {
        "needs": len(snapshot.needs),
        "proposed": int((result.fund_of_worker >= 0).sum()),
        "changed": moved.opened + moved.closed,
        "tiers": [asdict(tier) for tier in result.tiers],
        "seconds": dict(result.seconds),
        "prices": write_prices(snapshot, result.prices),
    }


def _announce(
    connection: Connection,
    snapshot: Snapshot,
    result: AllocationResult,
    moved: ProposeOutcome,
    run_id: uuid.UUID,
    generation: int,
    policy: Policy,
) -> None:
    """Announce the run: ``allocation.proposed.v1``, without a word about any single worker."""
    enqueue_event(
        connection,
        "allocation.proposed.v1",
        AllocationProposed(
            run_id=str(run_id),
            regency=snapshot.regency,
            generation=generation,
            policy=policy.name,
            status="OPTIMAL" if result.status is Status.OPTIMAL else "FEASIBLE",
            needs=len(snapshot.needs),
            proposed=int((result.fund_of_worker >= 0).sum()),
            tiers=tuple(
                TierOutcome(name=tier.name, value=tier.value, bound=tier.bound, gap=tier.gap)
                for tier in result.tiers
            ),
            funds=tuple(
                FundProposal(
                    fund_id=fund.fund_code,
                    reserved_rupiah=fund.reserved_rupiah,
                    released_rupiah=fund.released_rupiah,
                    workers=fund.opened,
                )
                for fund in moved.funds
            ),
        ),
        key=snapshot.regency.encode(),
    )


def _unfunded_reasons(result: AllocationResult, found: MatchReasons) -> list[str]:
    """One reason code per need, empty for funded ones."""
    codes = found.reason.tolist()
    return [
        "" if fund >= 0 else REASONS[code]
        for fund, code in zip(result.fund_of_worker.tolist(), codes, strict=True)
    ]


def _marginal_values(snapshot: Snapshot, found: MatchReasons) -> dict[str, dict[str, object]]:
    """Per fund what a further Rp 1,000,000 would gain in score, and what keeps it from covering more."""
    return {
        code: {"score_per_million_rupiah": value, "binds": BINDING[binds]}
        for code, value, binds in zip(
            snapshot.fund_codes, found.score_per_million_rupiah.tolist(), found.binds.tolist(), strict=True
        )
    }
