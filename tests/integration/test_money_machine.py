"""The life of a rupiah under a random history, held step by step against a model in plain Python.

Real events, runs, decisions, files and answers on a real PostgreSQL; at any commit the process may
"die" and the step is asked again. After every step the audit is clean and the database says what
the model says. GOTONG_SEED repeats a run, GOTONG_EXAMPLES sets its size.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    get_state_machine_test,
    initialize,
    invariant,
    precondition,
    rule,
)
from sqlalchemy import Connection, Engine, text

from models.database import open_engine
from models.message import EventEnvelope
from models.tariff import default_table
from optimizer.policy import DEFAULT_POLICY
from tests.builders import KUKAR, NOW, budget, pledge
from tests.event_builders import CONTEXT, VAULT, envelope, nik_of, worker_event
from tests.faults.rounds import add_line
from tests.integration.test_allocate import solve_here
from tests.money_model import Fact, Model, ModelDecision, Place, RefusedError
from workflow.allocate import allocate_regency
from workflow.audit import audit
from workflow.enrol import NothingToEnrolError, export_enrolment, repeat_export
from workflow.expire import expire_funds
from workflow.fund_change import change_funds
from workflow.load_regions import load_regions
from workflow.reconcile import parse_answers, reconcile_answers
from workflow.register import register_workers
from workflow.review import (
    Batch,
    BatchView,
    DecisionAnswer,
    DecisionRequest,
    ReviewRefusedError,
    claim_batch,
    confirm,
    decide,
    read_batch,
    undo,
)

BERAU = "64.03"
VILLAGES = ("64.02.05.2001", "64.02.05.2002", "64.02.06.2012", "64.03.01.2001")
OFFICERS = ("siti", "budi", "ani")
THRESHOLDS = {"csr-1": 0, "csr-2": 60_000, "apbd-1": 50_000_000}
AMOUNTS = (0, 20_000, 50_400, 80_000, 120_000, 200_000, 500_000)
#: What a repeated run empties; the audit trail's triggers stand aside for that alone.
TABLES = (
    *(
        "suspense_item",
        "funded_month",
        "enrolment_line",
        "enrolment_answer",
        "enrolment_batch",
        "terms_change",
    ),
    *(
        "decision_line",
        "decision",
        "rejected_match",
        "batch_claim",
        "review_batch",
        "proposal",
        "journal_entry",
    ),
    *("audit_record", "allocation_run", "allocation_request", "allocation_signal", "coverage_need"),
    *("fund", "worker", "inbox_event", "outbox_message", "dead_letter"),
)

Result = TypeVar("Result")


class Killed(BaseException):
    """The process is gone: nobody catches this."""


class Crash:
    """Lets the process die just before or just after its n-th COMMIT."""

    def __init__(self, engine: Engine) -> None:
        self.when: tuple[str, int] | None = None
        commit = engine.dialect.do_commit

        def do_commit(connection: Any) -> None:
            when, number = self.when or ("", 0)
            self.when = (when, number - 1) if number > 1 else None
            if when == "before" and number == 1:
                raise Killed
            commit(connection)
            if when == "after" and number == 1:
                raise Killed

        engine.dialect.do_commit = do_commit  # type: ignore[method-assign, assignment]


crashes = st.none() | st.tuples(st.sampled_from(("before", "after")), st.sampled_from((1, 2)))
picks = st.integers(0, 40)


class MoneyMachine(RuleBasedStateMachine):
    """One history. ``engine`` and ``folder`` are set by the test that runs it."""

    engine: Engine
    crash: Crash
    folder: Path

    def __init__(self) -> None:
        super().__init__()
        empty_database(self.engine)
        self.model = Model()
        self.sent: list[tuple[str, Fact]] = []
        self.fund_events: list[dict[str, Any]] = []
        self.requests: list[tuple[DecisionRequest, tuple[tuple[int, int], ...]]] = []
        self.ids: dict[str, Any] = {}
        self.views: list[tuple[Place, str, tuple[tuple[int, int], ...]]] = []
        self.rows: list[tuple[str, str, str | None, int | None, int | None]] = []
        self.month = "2026-11"
        self.number = 0

    def fresh(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}-{self.number}"

    def call(self, crash: tuple[str, int] | None, step: Callable[[], Result]) -> tuple[Result, bool]:
        """The step's result, asked again if it died; and whether the first time had been stored."""
        self.crash.when = crash
        try:
            return step(), False
        except Killed:
            self.crash.when = None
            return step(), crash is not None and crash[0] == "after"
        finally:
            self.crash.when = None

    # --- the start: a history has got this far when its random part begins

    @initialize(depth=st.integers(0, 4), workers=st.integers(1, 5), amount=st.sampled_from(AMOUNTS))
    def begin(self, depth: int, workers: int, amount: int) -> None:
        if depth >= 1:
            self.send_fund("csr-1", amount, 0, None, None, withdrawn=False, crash=None)
            self.send_fund("csr-2", 200_000, 0, None, None, withdrawn=False, crash=None)
            facts = [
                Fact(number, VILLAGES[number % 3], 3, 3, 2026 * 12 + 11, 50, NOW) for number in range(workers)
            ]
            self.register([(self.fresh("event"), fact) for fact in facts], None)
        if depth >= 2:
            self.run_allocation(KUKAR, None)
        if depth >= 3:
            for place in self.places():
                self.ask(self.fresh("key"), "siti", "approve", place, self.read(place), (), None, None)
            for key in list(self.ids):
                self.second(key, "budi", None)
        if depth >= 4:
            for code in list(self.model.funds):
                self.export(code, None)

    # --- events

    @rule(
        people=st.lists(
            st.tuples(
                st.integers(0, 5),
                st.sampled_from(VILLAGES),
                st.sampled_from((3, 7, 4)),
                st.integers(1, 3),
                st.integers(0, 3),
                st.integers(1, 100),
                st.integers(-90, 1),
            ),
            min_size=1,
            max_size=3,
        ),
        crash=crashes,
    )
    def new_events(self, people: list[tuple[int, str, int, int, int, int, int]], crash: Any) -> None:
        """New workers and new reports of known ones, some of them up to 90 days late."""
        facts = [
            Fact(who, village, bits, months, 2026 * 12 + 11 + start, priority, NOW + dt.timedelta(days=days))
            for who, village, bits, months, start, priority, days in people
        ]
        self.register([(self.fresh("event"), fact) for fact in facts], crash)

    @precondition(lambda self: self.sent)
    @rule(pick=picks, crash=crashes)
    def duplicate_event(self, pick: int, crash: Any) -> None:
        self.register([self.sent[pick % len(self.sent)]], crash)

    @precondition(lambda self: self.sent)
    @rule(pick=picks, crash=crashes)
    def conflicting_event(self, pick: int, crash: Any) -> None:
        event_id, fact = self.sent[pick % len(self.sent)]
        other = Fact(
            fact.worker, fact.village, fact.programmes, 4, fact.start, fact.priority, fact.time
        )  # nobody else asks for four months
        self.register([(event_id, other)], crash)

    def register(self, events: list[tuple[str, Fact]], crash: Any) -> None:
        envelopes = [worker_envelope(event_id, fact) for event_id, fact in events]
        accepted = [self.model.register(event_id, fact) for event_id, fact in events]
        outcome, stored = self.call(crash, lambda: register_workers(self.engine, CONTEXT, envelopes))
        expected = ["repeated" if stored and word != "refused" else word for word in accepted]
        assert list(outcome.outcomes) == expected
        self.sent += events
        self.model.name_needs(self.read_needs())

    # --- money comes and goes

    @rule(
        code=st.sampled_from(tuple(THRESHOLDS)),
        amount=st.sampled_from(AMOUNTS),
        behind=st.sampled_from((0, 0, 0, 1)),
        window_to=st.sampled_from((None, None, None, "2027-01", "2027-03")),
        cap=st.sampled_from((None, None, 1, 2)),
        withdrawn=st.sampled_from((False, False, False, True)),
        crash=crashes,
    )
    def change_fund(
        self,
        code: str,
        amount: int,
        behind: int,
        window_to: str | None,
        cap: int | None,
        withdrawn: bool,
        crash: Any,
    ) -> None:
        """A pledge or budget line is made, topped up, cut, re-ruled or withdrawn, or the report is late."""
        self.send_fund(code, amount, behind, window_to, cap, withdrawn=withdrawn, crash=crash)

    def send_fund(
        self,
        code: str,
        amount: int,
        behind: int,
        window_to: str | None,
        cap: int | None,
        *,
        withdrawn: bool,
        crash: Any,
    ) -> None:
        known = self.model.funds.get(code)
        revision = 1 if known is None else max(1, known.revision + 1 - behind)
        rules = {
            "regency": KUKAR,
            "window_from": "2026-01",
            "window_to": window_to or "2027-12",
            "head_count_cap": cap,
            "district_cap": None if cap is None else 1,
        }
        event = {
            "event_id": self.fresh("fund"),
            "code": code,
            "kind": "apbd" if code.startswith("apbd") else "csr",
            "revision": revision,
            "amount": amount,
            "rules": rules,
            "withdrawn": withdrawn and not code.startswith("apbd"),
        }
        self.fund_events.append(event)
        self.apply_fund_event(event, crash)

    @precondition(lambda self: self.fund_events)
    @rule(pick=picks, conflicting=st.booleans(), crash=crashes)
    def repeat_fund_event(self, pick: int, conflicting: bool, crash: Any) -> None:
        event = self.fund_events[pick % len(self.fund_events)]
        self.apply_fund_event(event | ({"amount": 7} if conflicting else {}), crash)

    def apply_fund_event(self, event: dict[str, Any], crash: Any) -> None:
        code = event["code"]
        created = code not in self.model.funds
        accepted = self.model.change_fund(**event, four_eyes_above_rupiah=THRESHOLDS[code])
        message = fund_envelope(event)
        outcome, stored = self.call(crash, lambda: change_funds(self.engine, CONTEXT, [message]))
        assert outcome.outcomes == ["repeated" if stored and accepted != "refused" else accepted]
        if created and code in self.model.funds:
            with self.engine.begin() as connection:
                connection.execute(
                    text("UPDATE fund SET four_eyes_above_rupiah = :rupiah WHERE code = :code"),
                    {"rupiah": THRESHOLDS[code], "code": code},
                )

    @precondition(lambda self: self.model.funds)
    @rule(month=st.sampled_from(("2027-02", "2027-04", "2028-01")), crash=crashes)
    def expire(self, month: str, crash: Any) -> None:
        """The clock passes the end of windows and fiscal years."""
        moment = dt.datetime.fromisoformat(f"{month}-01T00:00:00+08:00")
        expected = self.model.expire(month)
        expired, _ = self.call(crash, lambda: expire_funds(self.engine, moment))
        assert set(expired) <= set(expected)
        assert crash is not None or sorted(expired) == expected
        self.month = max(self.month, month)

    # --- runs

    @rule(regency=st.sampled_from((KUKAR, KUKAR, KUKAR, BERAU)), crash=crashes)
    def allocate(self, regency: str, crash: Any) -> None:
        self.run_allocation(regency, crash)

    def run_allocation(self, regency: str, crash: Any) -> None:
        outcome, _ = self.call(
            crash,
            lambda: allocate_regency(
                self.engine,
                regency,
                solver=solve_here,
                policy=DEFAULT_POLICY,
                tariffs=default_table(),
                time_limit_seconds=10,
            ),
        )
        assert outcome.status in ("OPTIMAL", "FEASIBLE")
        self.model.take_run(self.read_lines(), regency, proven=outcome.status == "OPTIMAL")

    # --- review

    def places(self) -> list[Place]:
        return sorted(
            {self.model.place_of(line) for line in self.model.lines.values() if line.state == "proposed"}
        )

    def read(self, place: Place) -> str:
        with self.engine.connect() as connection:
            return read_batch(connection, batch_of(place)).token

    @precondition(lambda self: self.places())
    @rule(pick=picks, officer=st.sampled_from(OFFICERS), lasts=st.booleans(), crash=crashes)
    def claim(self, pick: int, officer: str, lasts: bool, crash: Any) -> None:
        """An officer opens a batch: frozen while the claim lasts."""
        place = self.places()[pick % len(self.places())]
        now = dt.datetime.now(dt.UTC)

        def open_it() -> BatchView:
            return claim_batch(self.engine, batch_of(place), officer, now)

        try:
            self.model.claim(place, officer, lasts=lasts)
        except RefusedError as refusal:
            self.refused(refusal.reason, open_it)
            return
        view, _ = self.call(crash, open_it)
        assert tuple(line[:2] for line in view.lines) == self.model.token(place)
        if not lasts:  # half an hour passes for this one
            with self.engine.begin() as connection:
                connection.execute(
                    text(
                        "UPDATE batch_claim SET lapses_at = lapses_at - interval '31 minutes'"
                        " WHERE (run_id, district_code) = (:run, :district)"
                        " AND fund_id = (SELECT id FROM fund WHERE code = :fund)"
                    ),
                    {"run": uuid.UUID(place[0]), "fund": place[1], "district": place[2]},
                )
        self.views.append((place, view.token, self.model.token(place)))

    @precondition(lambda self: self.places())
    @rule(pick=picks)
    def look(self, pick: int) -> None:
        """An officer reads a batch; what is decided later may rest on this old reading."""
        place = self.places()[pick % len(self.places())]
        self.views.append((place, self.read(place), self.model.token(place)))

    @precondition(lambda self: self.places())
    @rule(
        pick=picks,
        officer=st.sampled_from(OFFICERS),
        action=st.sampled_from(("approve", "approve", "approve", "reject", "return")),
        first_only=st.booleans(),
        stale=st.sampled_from((False, False, True)),
        old_key=st.sampled_from((False, False, False, True)),
        crash=crashes,
    )
    def decide(
        self, pick: int, officer: str, action: str, first_only: bool, stale: bool, old_key: bool, crash: Any
    ) -> None:
        if stale and self.views:
            place, token, known = self.views[pick % len(self.views)]
        else:
            place = self.places()[pick % len(self.places())]
            token, known = self.read(place), self.model.token(place)
        lines = (known[0][0],) if first_only and known else ()
        key = (
            self.requests[pick % len(self.requests)][0].idempotency_key if old_key and self.requests else None
        )
        self.ask(key or self.fresh("key"), officer, action, place, token, lines, known, crash)

    @precondition(lambda self: self.requests)
    @rule(pick=picks, crash=crashes)
    def repeat_decision(self, pick: int, crash: Any) -> None:
        request, known = self.requests[pick % len(self.requests)]
        self.send_decision(request, known, crash)

    def ask(
        self,
        key: str,
        officer: str,
        action: str,
        place: Place,
        token: str,
        lines: tuple[int, ...],
        known: tuple[tuple[int, int], ...] | None,
        crash: Any,
    ) -> None:
        request = DecisionRequest(
            idempotency_key=key,
            officer=officer,
            action=action,  # type: ignore[arg-type]
            batch=batch_of(place),
            token=token,
            lines=lines,
            reason="not_eligible" if action == "reject" else None,
        )
        seen = self.model.token(place) if known is None else known
        self.requests.append((request, seen))
        self.send_decision(request, seen, crash)

    def send_decision(self, request: DecisionRequest, known: tuple[tuple[int, int], ...], crash: Any) -> None:
        batch = request.batch
        now = dt.datetime.now(dt.UTC)
        try:
            expected = self.model.decide(
                request.idempotency_key,
                request.officer,
                request.action,
                (str(batch.run_id), batch.fund_code, batch.district_code),
                known,
                request.lines,
                request.reason,
            )
        except RefusedError as refusal:
            self.refused(refusal.reason, lambda: decide(self.engine, request, now))
            return
        answer, _ = self.call(crash, lambda: decide(self.engine, request, now))
        self.ids[request.idempotency_key] = answer.decision_id
        check_answer(answer, expected)

    @precondition(lambda self: self.ids)
    @rule(pick=picks, officer=st.sampled_from(OFFICERS), crash=crashes)
    def confirm(self, pick: int, officer: str, crash: Any) -> None:
        self.second(self.pick_decision(pick), officer, crash)

    def second(self, key: str, officer: str, crash: Any) -> None:
        try:
            expected = self.model.confirm(key, officer)
        except RefusedError as refusal:
            self.refused(refusal.reason, lambda: confirm(self.engine, self.ids[key], officer, NOW))
            return
        answer, _ = self.call(crash, lambda: confirm(self.engine, self.ids[key], officer, NOW))
        check_answer(answer, expected)

    @precondition(lambda self: self.ids)
    @rule(pick=picks, officer=st.sampled_from(OFFICERS), crash=crashes)
    def undo(self, pick: int, officer: str, crash: Any) -> None:
        key = self.pick_decision(pick)
        try:
            expected = self.model.undo(key)
        except RefusedError as refusal:
            self.refused(refusal.reason, lambda: undo(self.engine, self.ids[key], officer, NOW))
            return
        answer, _ = self.call(crash, lambda: undo(self.engine, self.ids[key], officer, NOW))
        check_answer(answer, expected)

    def pick_decision(self, pick: int) -> str:
        """Rather one that waits for its second officer."""
        waiting = [key for key in self.ids if self.model.decisions[key].state == "awaiting_second"]
        keys = waiting if waiting and pick % 3 else list(self.ids)
        return keys[pick % len(keys)]

    # --- enrolment

    @precondition(lambda self: any(self.model.unsent(code) for code in self.model.funds))
    @rule(pick=picks, crash=crashes)
    def export_files(self, pick: int, crash: Any) -> None:
        codes = [code for code in self.model.funds if self.model.unsent(code)]
        self.export(codes[pick % len(codes)], crash)

    def export(self, code: str, crash: Any) -> None:
        unsent = self.model.unsent(code)

        self.number += 1
        now = NOW + dt.timedelta(seconds=self.number)  # the latest batch is known by its time

        def send() -> Any:
            return export_enrolment(self.engine, VAULT, code, "siti", self.folder, now)

        if not unsent:
            with pytest.raises(NothingToEnrolError):
                send()
            return
        try:
            files, _ = self.call(crash, send)
        except NothingToEnrolError:
            # It died after storing the batch: what is stored can be written at any time.
            assert crash == ("after", 1)
            files = repeat_export(self.engine, VAULT, code, "siti", self.folder, now)
        assert files.lines == len(unsent)
        assert files.total_rupiah == sum(self.model.lines[number].amount for number in unsent)
        files.csv_path.unlink()
        files.xlsx_path.unlink()
        with self.engine.connect() as connection:
            for row in connection.execute(text("SELECT reference, proposal_id FROM enrolment_line")):
                self.model.lines[row.proposal_id].reference = row.reference

    @precondition(lambda self: any(line.reference for line in self.model.lines.values()))
    @rule(
        answers=st.lists(
            st.tuples(
                picks,
                st.sampled_from(("full", "full", "less", "over", "months", "refused", "returned", "unknown")),
            ),
            min_size=1,
            max_size=3,
        ),
        crash=crashes,
    )
    def answer(self, answers: list[tuple[int, str]], crash: Any) -> None:
        """The agency answers in full, in part, too much, twice, against itself, about strangers."""
        self.import_answer([self.make_row(pick, kind) for pick, kind in answers], crash)

    def make_row(self, pick: int, kind: str) -> tuple[str, str, str | None, int | None, int | None]:
        sent = [line for line in self.model.lines.values() if line.reference]
        line = sent[pick % len(sent)]
        reference = line.reference or ""
        match kind:
            case "less":
                return reference, "accepted", None, None, line.amount - 100
            case "over":
                return reference, "accepted", None, None, line.amount + 700
            case "months":
                return reference, "accepted", None, 1, line.amount // line.months
            case "refused":
                return reference, "refused", "deceased", None, None
            case "returned":
                return reference, "refused", "data_incomplete", None, None
            case "unknown":
                return "nobody-000001", "accepted", None, None, 99
        return reference, "accepted", None, None, None

    @precondition(lambda self: self.rows)
    @rule(picked=st.lists(picks, min_size=1, max_size=2), crash=crashes)
    def repeat_answer(self, picked: list[int], crash: Any) -> None:
        self.import_answer([self.rows[pick % len(self.rows)] for pick in picked], crash)

    def import_answer(
        self, rows: list[tuple[str, str, str | None, int | None, int | None]], crash: Any
    ) -> None:
        table = [
            {
                "referensi": row[0],
                "status": row[1],
                "alasan": row[2],
                "jumlah_bulan": row[3],
                "iuran_rupiah": row[4],
            }
            for row in rows
        ]
        self.rows += rows
        expected = self.model.answer(rows)
        outcome, _ = self.call(
            crash, lambda: reconcile_answers(self.engine, parse_answers(table), "siti", NOW)
        )
        assert dict(outcome.outcomes) == expected
        self.model.name_needs(self.read_needs())

    # --- what must hold after every step

    def refused(self, reason: str, step: Callable[[], object]) -> None:
        with pytest.raises(ReviewRefusedError) as refusal:
            step()
        assert refusal.value.reason == reason

    @invariant()
    def database_says_what_the_model_says(self) -> None:
        with self.engine.connect() as connection:
            assert self.needs_in(connection) == {
                number: need.content for number, need in self.model.needs.items()
            }
            assert self.lines_in(connection) == {
                number: (line.need, line.fund, line.run, line.months, line.amount, line.state)
                for number, line in self.model.lines.items()
            }
            rows = connection.execute(
                text(
                    "SELECT code, revision, pledged_rupiah, reserved_rupiah, committed_rupiah,"
                    " disbursed_rupiah, expired_rupiah FROM fund"
                    " UNION ALL SELECT 'suspense ' || kind, count(*), 0, 0, 0, 0, 0 FROM suspense_item"
                    " GROUP BY kind"
                )
            )
            funds = {
                fund.code: (
                    fund.revision,
                    fund.pledged,
                    fund.reserved,
                    fund.committed,
                    fund.disbursed,
                    fund.expired,
                )
                for fund in self.model.funds.values()
            }
            suspense = {
                f"suspense {kind}": (count, 0, 0, 0, 0, 0) for kind, count in self.model.suspense.items()
            }
            assert {row[0]: tuple(row[1:]) for row in rows} == funds | suspense
            decisions = connection.execute(text("SELECT idempotency_key, state FROM decision"))
            assert {row[0]: row[1] for row in decisions} == {
                key: decision.state for key, decision in self.model.decisions.items()
            }

    @invariant()
    def audit_is_clean(self) -> None:
        assert audit(self.engine) == []

    def read_needs(self) -> dict[int, tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return self.needs_in(connection)

    def read_lines(self) -> dict[int, tuple[int, str, str, int, int, str]]:
        with self.engine.connect() as connection:
            return self.lines_in(connection)

    @staticmethod
    def needs_in(connection: Connection) -> dict[int, tuple[Any, ...]]:
        rows = connection.execute(
            text(
                "SELECT n.id, w.nik_hash, n.village_code, n.programmes, n.months, n.start_month,"
                " n.priority, n.reported_at, n.state FROM coverage_need n JOIN worker w ON w.id = n.worker_id"
            )
        )
        return {
            row[0]: (
                WORKER_OF_HASH[bytes(row[1])],
                *row[2:5],
                row[5].year * 12 + row[5].month - 1,
                *row[6:],
            )
            for row in rows
        }

    @staticmethod
    def lines_in(connection: Connection) -> dict[int, tuple[int, str, str, int, int, str]]:
        rows = connection.execute(
            text(
                "SELECT p.id, p.need_id, f.code, p.run_id::text, p.months, p.amount_rupiah, p.state"
                " FROM proposal p JOIN fund f ON f.id = p.fund_id"
            )
        )
        return {row[0]: (row[1], row[2], row[3], row[4], row[5], row[6]) for row in rows}


WORKER_OF_HASH = {VAULT.hash_nik(nik_of(number)): number for number in range(6)}


def check_answer(answer: DecisionAnswer, expected: ModelDecision) -> None:
    assert (answer.state, answer.lines, answer.amount_rupiah) == (
        expected.state,
        len(expected.lines),
        expected.amount,
    )


def batch_of(place: Place) -> Batch:
    return Batch(uuid.UUID(place[0]), place[1], place[2])


def worker_envelope(event_id: str, fact: Fact) -> EventEnvelope:
    codes = [code for bit, code in ((1, "JKK"), (2, "JKM"), (4, "JHT")) if fact.programmes & bit]
    return worker_event(
        fact.worker,
        days=(fact.time - NOW).days,
        event_id=event_id,
        village=fact.village,
        programmes=codes,
        months=fact.months,
        start_month=f"{fact.start // 12}-{fact.start % 12 + 1:02d}",
        priority=fact.priority,
    )


def fund_envelope(event: dict[str, Any]) -> EventEnvelope:
    rules = dict(event["rules"])
    changes: dict[str, Any] = {
        "revision": event["revision"],
        "window_to": rules["window_to"],
        "rules": {name: rules[name] for name in ("head_count_cap", "district_cap")},
    }
    if event["kind"] == "csr":
        data = pledge(event["code"], event["amount"], withdrawn=event["withdrawn"], **changes)
        kind = "funding.pledge-changed.v1"
    else:
        data = budget(event["code"], event["amount"] + 1_000, released_rupiah=event["amount"], **changes)  # type: ignore[assignment]
        kind = "funding.budget-changed.v1"
    return envelope(
        data.model_dump_json(exclude_none=True).encode(),
        event_id=event["event_id"],
        event_type=kind,
        topic=kind,
    )


def empty_database(engine: Engine) -> None:
    """Delete every row in one round trip: for a few rows far cheaper than TRUNCATE or a new database."""
    guarded = ("journal_entry", "audit_record")
    statements = [f"ALTER TABLE {table} DISABLE TRIGGER {table}_append_only" for table in guarded]
    statements += [f"DELETE FROM {table}" for table in TABLES]
    statements += [f"ALTER TABLE {table} ENABLE TRIGGER {table}_append_only" for table in guarded]
    with engine.begin() as connection:
        connection.execute(text("; ".join(statements)))


@pytest.fixture
def machine(database_url: str, tmp_path: Path) -> Iterator[type[MoneyMachine]]:
    engine = open_engine(database_url)
    load_regions(engine, [KUKAR, BERAU])

    class Machine(MoneyMachine):
        pass

    Machine.engine, Machine.crash, Machine.folder = engine, Crash(engine), tmp_path
    yield Machine
    engine.dispose()


def run_machine(machine: type[MoneyMachine], examples: int, steps: int) -> tuple[int, int]:
    """Returns the seed and the number of histories; raises at the first difference."""
    number = int(os.environ.get("GOTONG_SEED") or secrets.randbelow(2**32))
    examples = int(os.environ.get("GOTONG_EXAMPLES") or examples)
    print(f"money machine: GOTONG_SEED={number} GOTONG_EXAMPLES={examples}")  # noqa: T201 - to repeat a failure
    test = get_state_machine_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            print_blob=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
    seed(number)(test)()
    return number, examples


@pytest.mark.timeout(600)
def test_money_follows_the_model(machine: type[MoneyMachine]) -> None:
    run_machine(machine, examples=200, steps=8)


@pytest.mark.long
@pytest.mark.timeout(12 * 3600)
def test_money_follows_the_model_for_long(machine: type[MoneyMachine]) -> None:
    number, examples = run_machine(machine, examples=20_000, steps=25)
    add_line({"histories": examples, "seed": number})
