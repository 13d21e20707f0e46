"""Propose: reserve the money of a verified plan, as far as the world still is as the plan saw it.

One transaction: the generation fence, the needs (by version), the lines, the
journal and the announcing event. Whatever changed since the snapshot is left
alone for the next run; if what is left would break a fund's rule, the whole
plan is given up and nothing is written.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import ARRAY, REAL, BigInteger, Connection, Integer, Text, bindparam, select, text, update

from models.journal import Cause, OverdrawnError
from models.tables import AllocationRun, Fund, Regency
from optimizer.result import AllocationResult
from workflow.match_reasons import MatchReasons
from workflow.move_money import Movement, lock_funds, move_money
from workflow.snapshot import Snapshot

# In id order, as review locks them: a run and an officer never wait for each other in a ring.
_LOCK_NEEDS = text("SELECT id FROM coverage_need WHERE id = ANY(:ids) ORDER BY id FOR UPDATE").bindparams(
    bindparam("ids", type_=ARRAY(BigInteger))
)

_UPDATE_NEEDS = text(
    """
    UPDATE coverage_need n
    SET state = u.state, unfunded_reason = nullif(u.reason, ''), version = n.version + 1
    FROM unnest(:ids, :versions, :states, :reasons) AS u(id, version, state, reason)
    WHERE n.id = u.id AND n.version = u.version AND n.state IN ('waiting', 'proposed')
    RETURNING n.id
    """
).bindparams(
    bindparam("ids", type_=ARRAY(BigInteger)),
    bindparam("versions", type_=ARRAY(Integer)),
    bindparam("states", type_=ARRAY(Text)),
    bindparam("reasons", type_=ARRAY(Text)),
)

_CLOSE_LINES = text(
    """
    UPDATE proposal SET state = 'superseded', version = version + 1,
        closed_at = :now, closed_cause = 'run', closed_cause_id = :run_id
    WHERE id = ANY(:ids) AND state = 'proposed'
    RETURNING id, fund_id, amount_rupiah
    """
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_OPEN_LINES = text(
    """
    INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah, asks_points, alternative_fund_id,
                          alternative_points)
    SELECT u.need_id, u.fund_id, :run_id, u.months, u.amount, u.asks, nullif(u.other, 0),
           CASE WHEN u.other <> 0 THEN u.more END
    FROM unnest(:needs, :funds, :months, :amounts, :asks, :others, :more)
        AS u(need_id, fund_id, months, amount, asks, other, more)
    """
).bindparams(
    bindparam("needs", type_=ARRAY(BigInteger)),
    bindparam("funds", type_=ARRAY(BigInteger)),
    bindparam("months", type_=ARRAY(Integer)),
    bindparam("amounts", type_=ARRAY(BigInteger)),
    bindparam("asks", type_=ARRAY(REAL)),
    bindparam("others", type_=ARRAY(BigInteger)),
    bindparam("more", type_=ARRAY(REAL)),
)

_LIVE_HEADS = text(
    """
    SELECT p.fund_id, n.district_code, count(*) AS heads
    FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    WHERE p.fund_id = ANY(:funds) AND p.state IN ('proposed', 'confirming', 'approved', 'enrolled')
    GROUP BY p.fund_id, n.district_code
    """
).bindparams(bindparam("funds", type_=ARRAY(BigInteger)))


class PlanOutdatedError(Exception):
    """The plan no longer fits what the database holds; run again from a new snapshot."""


@dataclass(frozen=True, slots=True)
class FundMovement:
    """What one run moved at one fund, in rupiah, and how many workers it newly proposed there."""

    fund_code: str
    reserved_rupiah: int
    released_rupiah: int
    opened: int


@dataclass(frozen=True, slots=True)
class ProposeOutcome:
    """How a plan was stored: lines opened and closed, needs left for the next run, money by fund."""

    opened: int
    closed: int
    skipped: int
    funds: tuple[FundMovement, ...]


def propose(
    connection: Connection,
    snapshot: Snapshot,
    result: AllocationResult,
    reasons: Sequence[str],
    found: MatchReasons,
    *,
    run_id: uuid.UUID,
    generation: int,
    now: dt.datetime,
) -> ProposeOutcome:
    """Turn ``result`` into proposals and reservations in the caller's transaction.

    ``reasons`` has one text per need: why it is unfunded, or empty when it is funded. ``found`` tells
    what each line beat; that is kept with the line, for whoever decides it.
    Raises ``PlanOutdatedError`` when another run has started since (fencing), the regency was halted,
    a fund's rules changed, or the lines that can still be written would break a fund's rule.
    """
    home = connection.execute(
        select(Regency.generation, Regency.halted_reason)
        .where(Regency.code == snapshot.regency)
        .with_for_update(key_share=True)  # reports come in meanwhile: their rows refer to this one
    ).one()
    if home.generation != generation:
        raise PlanOutdatedError(f"generation {generation} was overtaken by {home.generation}")
    if home.halted_reason is not None:
        raise PlanOutdatedError("the regency was halted while the plan was made")

    needs, before, after = snapshot.needs, snapshot.problem.workers.current_fund, result.fund_of_worker
    stays = (before == after) & (
        (after < 0)
        | (
            (needs["proposed_rupiah"] == result.amount_rupiah)
            & (needs["proposed_months"] == snapshot.problem.workers.months)
            & (needs["outdated"] == 0)  # what an officer signs must be what is known of the worker now
        )
    )
    known_reason = np.array([snapshot.reasons.get(key, "") for key in needs["reason"].tolist()], dtype=object)
    wanted_reason = np.array(reasons, dtype=object)
    touched = np.flatnonzero(~stays | (known_reason != wanted_reason))
    applied = _update_needs(connection, snapshot, after, wanted_reason, touched)

    moves = applied & ~stays
    closing = np.flatnonzero(moves & (before >= 0))
    opening = np.flatnonzero(moves & (after >= 0))
    fund_ids = snapshot.fund_ids
    locked = lock_funds(
        connection,
        np.unique(np.concatenate([fund_ids[before[closing]], fund_ids[after[opening]]])).tolist(),
    )
    seen = dict(zip(fund_ids.tolist(), snapshot.fund_revisions, strict=True))
    for fund in locked.values():
        if fund.revision != seen[fund.id]:
            raise PlanOutdatedError(f"fund {fund.code} changed while the plan was made")

    released: Counter[int] = Counter()
    closed = connection.execute(
        _CLOSE_LINES, {"ids": needs["proposal_id"][closing].tolist(), "now": now, "run_id": run_id}
    ).all()
    if len(closed) != len(closing):
        raise PlanOutdatedError("a line was decided while the plan was made")
    for line in closed:
        released[line.fund_id] += line.amount_rupiah
    reserved: Counter[int] = Counter()
    opened_at: Counter[int] = Counter()
    for fund_id, amount in zip(
        fund_ids[after[opening]].tolist(), result.amount_rupiah[opening].tolist(), strict=True
    ):
        reserved[fund_id] += amount
        opened_at[fund_id] += 1
    if len(opening):
        connection.execute(
            _OPEN_LINES,
            {
                "needs": needs["id"][opening].tolist(),
                "funds": fund_ids[after[opening]].tolist(),
                "months": snapshot.problem.workers.months[opening].tolist(),
                "amounts": result.amount_rupiah[opening].tolist(),
                "run_id": run_id,
                **_beaten(found, opening, fund_ids),
            },
        )
    try:
        move_money(
            connection,
            [Movement(fund_id, "release", amount) for fund_id, amount in sorted(released.items())]
            + [Movement(fund_id, "reserve", amount) for fund_id, amount in sorted(reserved.items())],
            cause=Cause("run", run_id),
            recorded_at=now,
        )
    except OverdrawnError as error:
        raise PlanOutdatedError(f"money moved while the plan was made: {error}") from error
    _check_heads(connection, sorted(locked))
    return ProposeOutcome(
        opened=len(opening),
        closed=len(closing),
        skipped=len(touched) - int(applied.sum()),
        funds=tuple(
            FundMovement(locked[key].code, reserved[key], released[key], opened_at[key])
            for key in sorted(locked)
        ),
    )


def _beaten(
    found: MatchReasons, opening: npt.NDArray[np.int64], fund_ids: npt.NDArray[np.int64]
) -> dict[str, list[int] | list[float]]:
    """The price of each opened line, the best other fund (0 for none) and how much more that one asks."""
    other = found.alternative[opening]
    none = other < 0
    more = np.where(none, 0.0, found.alternative_asks[opening] - found.asks[opening])
    return {
        "asks": found.asks[opening].round(2).tolist(),
        "others": np.where(none, 0, fund_ids[other]).tolist(),
        "more": more.round(2).tolist(),
    }


def _update_needs(
    connection: Connection,
    snapshot: Snapshot,
    after: np.ndarray[tuple[int], np.dtype[np.int32]],
    reasons: np.ndarray[tuple[int], np.dtype[np.object_]],
    touched: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Move the touched needs to their new state; the mask says which had not changed meanwhile."""
    applied = np.zeros(len(after), dtype=np.bool_)
    if not len(touched):
        return applied
    ids = snapshot.needs["id"][touched]
    connection.execute(_LOCK_NEEDS, {"ids": ids.tolist()})
    done = connection.scalars(
        _UPDATE_NEEDS,
        {
            "ids": ids.tolist(),
            "versions": snapshot.needs["version"][touched].tolist(),
            "states": np.where(after[touched] >= 0, "proposed", "waiting").tolist(),
            "reasons": reasons[touched].tolist(),
        },
    ).all()
    applied[touched] = np.isin(ids, np.array(done, dtype=np.int64))
    return applied


def _check_heads(connection: Connection, fund_ids: list[int]) -> None:
    """Caps and minimums, re-counted from the lines now in the database."""
    ruled = connection.execute(
        select(Fund.id, Fund.code, Fund.head_count_cap, Fund.district_cap, Fund.min_workers)
        .where(Fund.id.in_(fund_ids))
        .where(
            Fund.head_count_cap.is_not(None) | Fund.district_cap.is_not(None) | Fund.min_workers.is_not(None)
        )
    ).all()
    if not ruled:
        return
    heads: dict[int, list[int]] = {}
    for row in connection.execute(_LIVE_HEADS, {"funds": [fund.id for fund in ruled]}):
        heads.setdefault(row.fund_id, []).append(row.heads)
    for fund in ruled:
        by_district = heads.get(fund.id, [])
        total = sum(by_district)
        if fund.head_count_cap is not None and total > fund.head_count_cap:
            raise PlanOutdatedError(f"fund {fund.code}: {total} workers exceed head_count_cap")
        if fund.district_cap is not None and max(by_district, default=0) > fund.district_cap:
            raise PlanOutdatedError(f"fund {fund.code}: a district exceeds district_cap")
        if fund.min_workers is not None and 0 < total < fund.min_workers:
            raise PlanOutdatedError(f"fund {fund.code}: {total} workers miss min_workers")


def close_run(
    connection: Connection, run_id: uuid.UUID, status: str, values: dict[str, object], now: dt.datetime
) -> None:
    """Write a run's end; ``values`` are further columns of ``allocation_run``."""
    connection.execute(
        update(AllocationRun)
        .where(AllocationRun.id == run_id)
        .values(status=status, finished_at=now, **values)
    )
