"""Read the review queue: its batches, their lines, what changed since, and the decisions about them.

Everything is asked for by regency. Batches come from ``review_batch``, which triggers keep, so the queue
costs the same at a thousand and at a million lines.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Connection, Row, text

from models.database import stream_rows
from models.programme import bundle_of_mask, write_bundle
from workflow.review import Batch

#: How the queue and a batch's lines may be sorted: name -> SQL of this module's own.
QUEUE_SORTS: Final[Mapping[str, str]] = {
    "fund": "f.name",
    "district": "b.district_code",
    "lines": "b.open_lines",
    "amount": "b.open_rupiah",
    "since": "b.created_at",
}
LINE_SORTS: Final[Mapping[str, str]] = {
    "worker": "n.worker_id",
    "village": "n.village_code",
    "occupation": "w.occupation",
    "months": "p.months",
    "amount": "p.amount_rupiah",
    "priority": "n.priority",
    "lead": "p.alternative_points",
}
STATES: Final = ("free", "mine", "others")

LineReason = Literal["unrecorded", "only", "cheaper", "csr_first", "equal", "other_aim"]
#: Prices closer than this many points are as good as equal.
_EQUAL_POINTS: Final = 0.05

_HEAD = """
    SELECT b.id, b.run_id, f.code AS fund_code, f.name AS fund_name, f.funder, f.kind, b.district_code,
           b.open_lines, b.open_rupiah, b.confirming_lines, b.confirming_rupiah, b.created_at, b.changed_at,
           f.pledged_rupiah - f.reserved_rupiah - f.committed_rupiah - f.disbursed_rupiah - f.expired_rupiah
               AS available_rupiah,
           f.reserved_rupiah, f.committed_rupiah, f.four_eyes_above_rupiah,
           c.officer AS claimed_by, c.lapses_at AS claimed_until
"""
_QUEUE = """
    FROM review_batch b
    JOIN fund f ON f.id = b.fund_id
    LEFT JOIN batch_claim c ON c.run_id = b.run_id AND c.fund_id = b.fund_id
        AND c.district_code = b.district_code AND c.lapses_at > :now
    WHERE f.regency_code = :regency
"""
_NARROWED = """
    AND (:kind = '' OR f.kind = :kind)
    AND (:district = '' OR b.district_code = :district)
    AND (:second = '' OR (b.open_rupiah > f.four_eyes_above_rupiah) = (:second = 'yes'))
    AND (:state = '' OR :state = CASE WHEN c.officer IS NULL THEN 'free'
                                      WHEN c.officer = :officer THEN 'mine' ELSE 'others' END)
    AND (:search = '' OR strpos(lower(concat_ws(' ', f.code, f.name, f.funder)), lower(:search)) > 0)
    AND (:verified = '' OR (:verified = 'yes') = EXISTS (
        SELECT FROM proposal p
        JOIN coverage_need n ON n.id = p.need_id AND n.district_code = b.district_code
        JOIN need_verification v ON v.need_id = n.id AND v.outcome = 'confirmed' AND v.undone_at IS NULL
        WHERE p.run_id = b.run_id AND p.fund_id = b.fund_id AND p.state = 'proposed'))
"""
# From the batch's lines to their needs one by one. Left to itself the planner walks through the whole
# district or table: it counts the subqueries of row-level security against each step, though an officer's
# reading runs none of them. OFFSET 0 keeps it from that.
_BATCH_LINES = """
    FROM proposal p
    CROSS JOIN LATERAL (
        SELECT worker_id, district_code, village_code, programmes, start_month, priority, changed_at
        FROM coverage_need WHERE id = p.need_id OFFSET 0
    ) n
    JOIN fund f ON f.id = p.fund_id
"""
_IS_VERIFIED = """
    EXISTS (SELECT FROM need_verification v
            WHERE v.need_id = p.need_id AND v.outcome = 'confirmed' AND v.undone_at IS NULL)
"""
_OF_BATCH = "p.run_id = :run_id AND f.code = :fund_code AND n.district_code = :district"
_LINES = f"""
    SELECT p.id, n.worker_id, n.village_code, w.occupation, n.programmes, p.months, n.start_month,
           p.amount_rupiah, n.priority, p.state, p.asks_points, p.alternative_points,
           f.kind, a.name AS alternative, a.kind AS alternative_kind, n.changed_at > p.opened_at AS outdated,
           {_IS_VERIFIED} AS verified
    {_BATCH_LINES}
    JOIN worker w ON w.id = n.worker_id
    LEFT JOIN fund a ON a.id = p.alternative_fund_id
    WHERE {_OF_BATCH}
"""
_FOUND = """
    AND (strpos(lower(w.occupation), lower(:search)) > 0
         OR n.village_code = :search OR n.village_code = ANY(:villages))
"""
_VERIFIED = f"AND (:verified = 'yes') = {_IS_VERIFIED}"
# Closed, decided, taken back or reported anew since a moment: whatever an open page does not show yet.
_SINCE = """
    AND (p.closed_at > :since OR n.changed_at > :since OR p.id IN (
        SELECT l.proposal_id FROM decision d JOIN decision_line l ON l.decision_id = d.id
        WHERE d.run_id = :run_id AND d.fund_id = (SELECT id FROM fund WHERE code = :fund_code)
          AND (d.decided_at > :since OR d.closed_at > :since)))
"""
_DECISIONS = """
    SELECT d.id, d.action, f.code AS fund_code, f.name AS fund_name, f.kind, d.district_code, d.officer,
           d.reason, d.remark, d.lines, d.amount_rupiah, d.needs_second, d.state, d.second_officer,
           d.decided_at, d.closed_at, d.run_id,
           f.pledged_rupiah - f.reserved_rupiah - f.committed_rupiah - f.disbursed_rupiah - f.expired_rupiah
               AS available_rupiah
    FROM review_decision d JOIN fund f ON f.id = d.fund_id
    WHERE f.regency_code = :regency
"""


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """What of the queue is shown, and in which order; empty texts narrow nothing.

    ``verified``: ``yes`` for batches in which a village has confirmed at least one worker.
    """

    sort: str = "amount"
    descending: bool = True
    kind: str = ""
    district: str = ""
    state: str = ""
    second: str = ""
    verified: str = ""
    search: str = ""

    def order(self) -> str:
        """The ORDER BY; the id makes it the same on every page."""
        return f"{QUEUE_SORTS[self.sort]} {'DESC' if self.descending else 'ASC'}, b.id"


@dataclass(frozen=True, slots=True)
class Asker:
    """Who reads, where and when."""

    regency: str
    officer: str
    now: dt.datetime


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """A batch with what is undecided in it, its fund's balance in rupiah and who has opened it."""

    id: uuid.UUID
    run_id: uuid.UUID
    fund_code: str
    fund_name: str
    funder: str | None
    kind: str
    district_code: str
    open_lines: int
    open_rupiah: int
    confirming_lines: int
    confirming_rupiah: int
    created_at: dt.datetime
    changed_at: dt.datetime
    available_rupiah: int
    reserved_rupiah: int
    committed_rupiah: int
    four_eyes_above_rupiah: int
    claimed_by: str | None
    claimed_until: dt.datetime | None

    @property
    def batch(self) -> Batch:
        """Its name in a decision."""
        return Batch(self.run_id, self.fund_code, self.district_code)

    @property
    def needs_second(self) -> bool:
        """Whether approving all of it needs a second officer."""
        return self.open_rupiah > self.four_eyes_above_rupiah


@dataclass(frozen=True, slots=True)
class QueueTotals:
    """The queue as narrowed: batches, lines, rupiah, and batches made since a given moment."""

    batches: int
    lines: int
    amount_rupiah: int
    new: int


@dataclass(frozen=True, slots=True)
class LineChoice:
    """How a batch's lines are narrowed and sorted: ``search`` finds an occupation or village, ``villages``
    are codes it names; ``verified`` is ``yes`` for workers whom their village has confirmed, ``no`` for the
    others, empty for all."""

    sort: str = "priority"
    descending: bool = True
    search: str = ""
    villages: tuple[str, ...] = ()
    verified: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line as an officer sees it: no name, no NIK. Points are priority points."""

    id: int
    worker_id: int
    village_code: str
    occupation: str
    programmes: str
    months: int
    start_month: dt.date
    amount_rupiah: int
    priority: int
    state: str
    reason: LineReason
    asks_points: float | None
    alternative: str | None
    alternative_points: float | None
    outdated: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A decision, who took it and who signed second."""

    id: uuid.UUID
    action: str
    fund_code: str
    fund_name: str
    kind: str
    district_code: str
    officer: str
    reason: str | None
    remark: str | None
    lines: int
    amount_rupiah: int
    needs_second: bool
    state: str
    second_officer: str | None
    decided_at: dt.datetime
    closed_at: dt.datetime | None
    run_id: uuid.UUID
    available_rupiah: int


def read_queue(
    connection: Connection, asker: Asker, wanted: QueueFilter, limit: int | None = None, offset: int = 0
) -> list[QueuedBatch]:
    """The batches with open lines, narrowed and sorted."""
    statement, values = _select_queue(asker, wanted, limit, offset)
    return [QueuedBatch(*row) for row in connection.execute(text(statement), values)]


def stream_queue(connection: Connection, asker: Asker, wanted: QueueFilter) -> Iterator[QueuedBatch]:
    """All of :func:`read_queue`, fetched while they are read."""
    statement, values = _select_queue(asker, wanted, None, 0)
    for row in stream_rows(connection, text(statement), values):
        yield QueuedBatch(*tuple(row))


def _select_queue(
    asker: Asker, wanted: QueueFilter, limit: int | None, offset: int
) -> tuple[str, dict[str, Any]]:
    statement = f"""{_HEAD} {_QUEUE} AND b.open_lines > 0 {_NARROWED}
        ORDER BY {wanted.order()} LIMIT :limit OFFSET :offset"""
    return statement, _values(asker, wanted) | {"limit": limit, "offset": offset}


def count_queue(
    connection: Connection, asker: Asker, wanted: QueueFilter, since: dt.datetime | None = None
) -> QueueTotals:
    """How much the queue holds as narrowed."""
    statement = f"""
        SELECT count(*), coalesce(sum(b.open_lines), 0)::int8, coalesce(sum(b.open_rupiah), 0)::int8,
               count(*) FILTER (WHERE b.created_at > :since)
        {_QUEUE} AND b.open_lines > 0 {_NARROWED}
    """
    values = _values(asker, wanted) | {"since": since or asker.now}
    return QueueTotals(*connection.execute(text(statement), values).one())


def find_batch(connection: Connection, asker: Asker, batch_id: uuid.UUID) -> QueuedBatch | None:
    """One batch, decided or not."""
    values = {"regency": asker.regency, "now": asker.now, "id": batch_id}
    row = connection.execute(text(f"{_HEAD} {_QUEUE} AND b.id = :id"), values).one_or_none()
    return QueuedBatch(*row) if row is not None else None


def find_neighbours(
    connection: Connection, asker: Asker, wanted: QueueFilter, batch_id: uuid.UUID
) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """The batches before and after this one in the queue as narrowed; it need not be open itself."""
    statement = f"""
        SELECT before, after FROM (
            SELECT b.id, lag(b.id) OVER ordered AS before, lead(b.id) OVER ordered AS after
            {_QUEUE} AND (b.open_lines > 0 {_NARROWED} OR b.id = :id)
            WINDOW ordered AS (ORDER BY {wanted.order()})
        ) placed WHERE id = :id
    """
    row = connection.execute(text(statement), _values(asker, wanted) | {"id": batch_id}).one_or_none()
    return (row.before, row.after) if row is not None else (None, None)


def read_lines(
    connection: Connection,
    batch: Batch,
    choice: LineChoice | None = None,
    *,
    limit: int | None = None,
    offset: int = 0,
) -> list[Line]:
    """The batch's open lines, narrowed and sorted."""
    statement, values = _select_lines(batch, choice or LineChoice(), limit, offset)
    return [_line(row) for row in connection.execute(text(statement), values)]


def stream_lines(connection: Connection, batch: Batch, choice: LineChoice) -> Iterator[Line]:
    """All of :func:`read_lines`, fetched while they are read."""
    statement, values = _select_lines(batch, choice, None, 0)
    for row in stream_rows(connection, text(statement), values):
        yield _line(row)


def _select_lines(
    batch: Batch, choice: LineChoice, limit: int | None, offset: int
) -> tuple[str, dict[str, Any]]:
    order = f"{LINE_SORTS[choice.sort]} {'DESC' if choice.descending else 'ASC'} NULLS LAST, p.id"
    # Of ten thousand lines only those of this page are looked up in the other tables.
    of_worker = "JOIN worker w ON w.id = n.worker_id" if choice.search or choice.sort == "occupation" else ""
    narrowed = f"{_FOUND if choice.search else ''} {_VERIFIED if choice.verified else ''}"
    picked = f"""
        SELECT p.id {_BATCH_LINES} {of_worker}
        WHERE {_OF_BATCH} AND p.state = 'proposed' {narrowed}
        ORDER BY {order} LIMIT :limit OFFSET :offset
    """
    values = _place(batch) | {"limit": limit, "offset": offset}
    if choice.search:
        values |= {"search": choice.search, "villages": list(choice.villages)}
    if choice.verified:
        values["verified"] = choice.verified
    return f"{_LINES} AND p.id IN ({picked}) ORDER BY {order}", values


def read_changes(connection: Connection, batch: Batch, since: dt.datetime) -> list[Line]:
    """Lines of the batch that were closed, decided, taken back or reported anew since a moment."""
    statement = f"{_LINES} {_SINCE} ORDER BY p.id"
    rows = connection.execute(text(statement), _place(batch) | {"since": since})
    return [_line(row) for row in rows]


def read_lines_by_id(connection: Connection, batch: Batch, lines: list[int]) -> list[Line]:
    """These lines of the batch, whatever became of them."""
    statement = f"{_LINES} AND p.id = ANY(:lines) ORDER BY p.id"
    return [_line(row) for row in connection.execute(text(statement), _place(batch) | {"lines": lines})]


def read_decisions(
    connection: Connection, regency: str, state: str = "", limit: int = 200
) -> list[DecisionView]:
    """Decisions, the newest first; ``state`` empty for all."""
    statement = (
        f"{_DECISIONS} AND (:state = '' OR d.state = :state) ORDER BY d.decided_at DESC, d.id LIMIT :limit"
    )
    values = {"regency": regency, "state": state, "limit": limit}
    return [DecisionView(*row) for row in connection.execute(text(statement), values)]


def find_decision(connection: Connection, regency: str, decision_id: uuid.UUID) -> DecisionView | None:
    """One decision."""
    values = {"regency": regency, "id": decision_id}
    row = connection.execute(text(f"{_DECISIONS} AND d.id = :id"), values).one_or_none()
    return DecisionView(*row) if row is not None else None


def newest_decision(connection: Connection, regency: str) -> str:
    """A mark that differs after each decision, signature or undoing in the regency."""
    statement = f"SELECT count(*), max(q.decided_at), max(q.closed_at) FROM ({_DECISIONS}) q"
    row = connection.execute(text(statement), {"regency": regency}).one()
    return "_".join(str(part.timestamp() if isinstance(part, dt.datetime) else part or 0) for part in row)


def read_decision_lines(connection: Connection, decision: DecisionView, limit: int = 200) -> list[Line]:
    """The first lines of a decision."""
    statement = f"""{_LINES} AND p.id IN (SELECT proposal_id FROM decision_line WHERE decision_id = :id)
        ORDER BY p.id LIMIT :limit"""
    place = _place(Batch(decision.run_id, decision.fund_code, decision.district_code))
    rows = connection.execute(text(statement), place | {"id": decision.id, "limit": limit})
    return [_line(row) for row in rows]


def count_awaiting(connection: Connection, regency: str, officer: str) -> tuple[int, int]:
    """Decisions that wait for a second officer: those this officer may confirm, and the officer's own."""
    statement = f"""
        SELECT count(*) FILTER (WHERE q.officer <> :officer), count(*) FILTER (WHERE q.officer = :officer)
        FROM ({_DECISIONS} AND d.state = 'awaiting_second') q
    """
    row = connection.execute(text(statement), {"regency": regency, "officer": officer}).one()
    return row[0], row[1]


def _values(asker: Asker, wanted: QueueFilter) -> dict[str, Any]:
    return {
        "regency": asker.regency,
        "officer": asker.officer,
        "now": asker.now,
        "kind": wanted.kind,
        "district": wanted.district,
        "state": wanted.state,
        "second": wanted.second,
        "verified": wanted.verified,
        "search": wanted.search,
    }


def _place(batch: Batch) -> dict[str, Any]:
    return {"run_id": batch.run_id, "fund_code": batch.fund_code, "district": batch.district_code}


def _line(row: Row[Any]) -> Line:
    return Line(
        id=row.id,
        worker_id=row.worker_id,
        village_code=row.village_code,
        occupation=row.occupation,
        programmes=write_bundle(bundle_of_mask(row.programmes)),
        months=row.months,
        start_month=row.start_month,
        amount_rupiah=row.amount_rupiah,
        priority=row.priority,
        state=row.state,
        reason=_reason(row),
        asks_points=row.asks_points,
        alternative=row.alternative,
        alternative_points=row.alternative_points,
        outdated=row.outdated,
        verified=row.verified,
    )


def _reason(row: Row[Any]) -> LineReason:
    """Why this fund and not the next best; prices are those of the run that proposed the line."""
    if row.asks_points is None:
        return "unrecorded"
    if row.alternative_points is None:
        return "only"
    if row.alternative_points > _EQUAL_POINTS:
        return "cheaper"
    if row.alternative_points < -_EQUAL_POINTS:
        return "other_aim"
    return "csr_first" if (row.kind, row.alternative_kind) == ("csr", "apbd") else "equal"
