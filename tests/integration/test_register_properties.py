"""Whatever arrives, in whatever batches, repeated or late: registration does what one page of Python says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from models.database import open_engine
from models.message import EventEnvelope
from tests.builders import KUKAR
from tests.event_builders import CONTEXT, NOW, VAULT, message, nik_of, worker_data, worker_event
from workflow.load_regions import load_regions
from workflow.register import register_workers

BUNDLES = (("JKK",), ("JKK", "JKM"), ("JKN",))
STARTS = ("2026-11", "2027-01", "2027-02", "2027-04")
MONTH_OF = {start: int(start[:4]) * 12 + int(start[5:]) - 1 for start in STARTS}
SEALED = {number: worker_data(number, name=None) for number in range(3)}


@dataclass(frozen=True)
class Report:
    """One event in the small: who, what, when, under which id."""

    worker: int
    bundle: tuple[str, ...]
    start: str
    months: int
    day: int
    event_id: int
    priority: int


@dataclass
class Need:
    worker: int
    bundle: tuple[str, ...]
    start: int
    months: int
    day: int
    priority: int
    state: str = "waiting"

    def overlaps(self, report: Report) -> bool:
        start = MONTH_OF[report.start]
        return (
            self.worker == report.worker
            and bool(set(self.bundle) & set(report.bundle))
            and self.start < start + report.months
            and start < self.start + self.months
        )


@dataclass
class Model:
    """What registration should do, one event at a time."""

    accepted: dict[int, Report] = field(default_factory=dict)
    needs: list[Need] = field(default_factory=list)
    latest: dict[int, int] = field(default_factory=dict)

    def receive(self, report: Report) -> str:
        known = self.accepted.get(report.event_id)
        if known is not None:
            return "repeated" if replace(known, day=0) == replace(report, day=0) else "refused"
        overlapping = [need for need in self.needs if need.overlaps(report)]
        if any(need.state == "approved" for need in overlapping):
            outcome = "already_funded"
        elif len(overlapping) > 1:
            return "refused"
        elif not overlapping:
            outcome = "registered"
            self.needs.append(self._need(report))
        elif overlapping[0].day <= report.day:
            outcome = "updated"
            overlapping[0].__dict__.update(self._need(report).__dict__)
        else:
            outcome = "stale"
        self.accepted[report.event_id] = report
        self.latest[report.worker] = max(report.day, self.latest.get(report.worker, report.day))
        return outcome

    @staticmethod
    def _need(report: Report) -> Need:
        return Need(
            report.worker, report.bundle, MONTH_OF[report.start], report.months, report.day, report.priority
        )


reports = st.builds(
    Report,
    worker=st.integers(0, 2),
    bundle=st.sampled_from(BUNDLES),
    start=st.sampled_from(STARTS),
    months=st.integers(1, 4),
    day=st.integers(0, 3),
    event_id=st.integers(0, 12),
    priority=st.sampled_from((10, 90)),
)
#: A step is a batch, delivered once or twice in a row, or the approval of the n-th need.
steps = st.lists(
    st.tuples(st.lists(reports, min_size=1, max_size=6), st.booleans()) | st.integers(0, 3),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def engine(module_database_url: str) -> Iterator[Engine]:
    engine = open_engine(module_database_url)
    load_regions(engine, [KUKAR])
    yield engine
    engine.dispose()


def event(report: Report) -> EventEnvelope:
    data = SEALED[report.worker] | {
        "programmes": list(report.bundle),
        "start_month": report.start,
        "months": report.months,
        "priority": report.priority,
    }
    built = worker_event(report.worker, event_id=str(report.event_id), **data)
    return replace(built, time=NOW + dt.timedelta(hours=report.day), message=message(built.data))


def read_needs(engine: Engine) -> set[tuple[object, ...]]:
    query = text(
        "SELECT w.nik_hash, n.programmes, n.start_month, n.months, n.priority, n.state"
        " FROM coverage_need n JOIN worker w ON w.id = n.worker_id"
    )
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(query)]
    assert len(set(rows)) == len(rows)
    return set(rows)


MASKS = {("JKK",): 1, ("JKK", "JKM"): 3, ("JKN",): 8}


def expected_need(need: Need) -> tuple[object, ...]:
    return (
        VAULT.hash_nik(nik_of(need.worker)),
        MASKS[need.bundle],
        dt.date(need.start // 12, need.start % 12 + 1, 1),
        need.months,
        need.priority,
        need.state,
    )


def approve(engine: Engine, model: Model, number: int) -> None:
    if number >= len(model.needs) or model.needs[number].state == "approved":
        return
    nik_hash, programmes, start_month, *_ = expected_need(model.needs[number])
    model.needs[number].state = "approved"
    for state in ("proposed", "approved"):
        with engine.begin() as connection:
            changed = connection.execute(
                text(
                    "UPDATE coverage_need n SET state = :state, version = n.version + 1 FROM worker w"
                    " WHERE w.id = n.worker_id AND w.nik_hash = :nik_hash"
                    " AND n.programmes = :programmes AND n.start_month = :start_month"
                ),
                {
                    "state": state,
                    "nik_hash": nik_hash,
                    "programmes": programmes,
                    "start_month": start_month,
                },
            )
            assert changed.rowcount == 1


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps)
def test_any_sequence_of_batches_ends_where_one_event_at_a_time_would(
    engine: Engine, sequence: list[tuple[list[Report], bool] | int]
) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE worker, coverage_need, inbox_event, dead_letter CASCADE"))
    model = Model()
    for step in sequence:
        if isinstance(step, int):
            approve(engine, model, step)
            continue
        batch, twice = step
        events = [event(report) for report in batch]
        for _ in range(1 + twice):
            outcome = register_workers(engine, CONTEXT, events)
            assert list(outcome.outcomes) == [model.receive(report) for report in batch]
    assert read_needs(engine) == {expected_need(need) for need in model.needs}
    with engine.connect() as connection:
        accepted = connection.execute(text("SELECT event_id FROM inbox_event")).scalars()
        assert {int(event_id) for event_id in accepted} == set(model.accepted)
        times = connection.execute(text("SELECT nik_hash, reported_at FROM worker")).all()
    assert {row.nik_hash: row.reported_at for row in times} == {
        VAULT.hash_nik(nik_of(worker)): NOW + dt.timedelta(hours=day) for worker, day in model.latest.items()
    }
