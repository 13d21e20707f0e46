"""Reconcile: the agency's answer to an enrolment file, line by line; every line has one outcome.

=====================  ==================================================================
answer                 outcome
=====================  ==================================================================
accepted, in full      enrolled; the line's money is disbursed
accepted, less money   enrolled; the rest returns to the fund
accepted, less months  enrolled for those; the other months are a waiting need again
accepted, more money   enrolled and disbursed up to the line; the surplus is in suspense
refused                the money returns to the fund; by reason the need closes or waits
same answer again      nothing moves (``repeated``)
other answer later     nothing moves; in suspense (``contradictory``)
unknown reference      nothing moves; in suspense (``unknown``)
=====================  ==================================================================
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from sqlalchemy import ARRAY, Connection, Engine, Text, bindparam, insert, select, text, update

from models.event import MAX_RUPIAH, CoverageEnrolled
from models.journal import Cause
from models.review_tables import EnrolmentAnswer, EnrolmentLine, SuspenseItem
from workflow.deadlock import ask_again
from workflow.import_files import read_content
from workflow.move_money import Movement, move_money
from workflow.outbox import enqueue_event
from workflow.record import record_action
from workflow.request import raise_signal

#: Reason of a refusal -> what becomes of the need. A closed need comes back by a new event only.
REFUSAL_REASONS: Final[dict[str, Literal["close", "return"]]] = {
    "already_insured": "close",
    "deceased": "close",
    "nik_mismatch": "close",
    "not_eligible": "close",
    "moved_away": "close",
    "data_incomplete": "return",
    "agency_error": "return",
    "other": "return",
}

#: Words of the agency's file, Indonesian or English.
_ANSWERS: Final = {"diterima": "accepted", "accepted": "accepted", "ditolak": "refused", "refused": "refused"}
_COLUMNS: Final = {
    "referensi": "reference",
    "reference": "reference",
    "status": "answer",
    "answer": "answer",
    "alasan": "reason",
    "reason": "reason",
    "jumlah_bulan": "months",
    "months": "months",
    "iuran_rupiah": "amount_rupiah",
    "amount_rupiah": "amount_rupiah",
}

_LOCK_LINES = text(
    """
    SELECT e.reference, e.proposal_id, e.answer, e.answer_reason, e.answer_months, e.answer_rupiah,
           p.amount_rupiah, p.months, p.fund_id, p.need_id, n.regency_code, f.code AS fund_code
    FROM enrolment_line e
    JOIN proposal p ON p.id = e.proposal_id
    JOIN coverage_need n ON n.id = p.need_id
    JOIN fund f ON f.id = p.fund_id
    WHERE e.reference = ANY(:references) AND (CAST(:regency AS text) IS NULL OR n.regency_code = :regency)
    ORDER BY n.id FOR UPDATE OF e, n, p
    """
).bindparams(bindparam("references", type_=ARRAY(Text)))

_DROP_MONTHS = text(
    """
    DELETE FROM funded_month m USING proposal p, coverage_need n
    WHERE m.proposal_id = :line AND p.id = m.proposal_id AND n.id = p.need_id
      AND m.month >= (n.start_month + make_interval(months => :kept))::date
    """
)

_REOPEN_MONTHS = text(
    """
    INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes, months,
                               start_month, priority, reported_at)
    SELECT worker_id, regency_code, district_code, village_code, programmes, :months,
           (start_month + make_interval(months => :kept))::date, priority, reported_at
    FROM coverage_need WHERE id = :need
    """
)


class AnswerUnreadableError(ValueError):
    """The file cannot be reconciled as it is; ``problems`` names row, column and what is expected."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(f"{len(problems)} wrong row(s); nothing was changed")
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class AnswerLine:
    """One row of an answer file. Empty months or amount of an accepted line mean "as sent"."""

    row: int
    reference: str
    answer: str
    reason: str | None
    months: int | None
    amount_rupiah: int | None


@dataclass(frozen=True, slots=True)
class ReconcileOutcome:
    """Rows by outcome, and the rupiah that moved. The same file again gives the same outcome."""

    answer_id: uuid.UUID
    outcomes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Standing:
    """An enrolment line as it stands, before or after rows of this file."""

    proposal_id: int
    need_id: int
    fund_id: int
    fund_code: str
    regency: str
    months: int
    amount_rupiah: int
    answered: tuple[str, str | None, int | None, int | None] | None


def read_answers(content: bytes) -> list[AnswerLine]:
    """The rows of an answer file that somebody handed in, CSV or XLSX.

    Raises ``DocumentRefusedError`` for a workbook that does harm, ``FileUnreadableError`` for what is no
    table, ``AnswerUnreadableError`` with every wrong row.
    """
    lines = parse_answers(read_content(content))
    if not lines:
        raise AnswerUnreadableError(["the file holds no answer"])
    return lines


def parse_answers(rows: Iterable[Mapping[str, object]], *, first_row: int = 2) -> list[AnswerLine]:
    """Check a table's rows; raises ``AnswerUnreadableError`` with every fault, the first hundred named."""
    lines: list[AnswerLine] = []
    problems: list[str] = []
    for number, row in enumerate(rows, start=first_row):
        cells = {_COLUMNS[name]: value for name, value in row.items() if name in _COLUMNS}
        if not {"reference", "answer"} <= cells.keys():
            raise AnswerUnreadableError(["row 1: the columns referensi and status are needed"])
        if str(row.get("no") or "").strip().upper() == "TOTAL" or not any(
            value not in (None, "") for value in cells.values()
        ):
            continue
        found = len(problems)
        reference = str(cells.get("reference") or "").strip()
        if not re.fullmatch(r"[0-9A-Za-z-]{1,40}", reference):
            problems.append(f"row {number}: reference: expected the reference of the enrolment file")
        answer = _ANSWERS.get(str(cells.get("answer") or "").strip().lower())
        if answer is None:
            problems.append(f"row {number}: status: expected diterima or ditolak")
        reason = str(cells.get("reason") or "").strip().lower() or None
        if answer == "refused" and reason not in REFUSAL_REASONS:
            problems.append(f"row {number}: reason: expected one of {', '.join(REFUSAL_REASONS)}")
        months = _read_whole(cells.get("months"), 12)
        if months == 0 or (months is None and cells.get("months") not in (None, "")):
            problems.append(f"row {number}: months: expected a whole number from 1 to 12")
        amount = _read_whole(cells.get("amount_rupiah"), MAX_RUPIAH)
        if amount is None and cells.get("amount_rupiah") not in (None, ""):
            problems.append(f"row {number}: amount_rupiah: expected whole rupiah, not negative")
        if len(problems) == found and answer is not None:
            lines.append(
                AnswerLine(number, reference, answer, reason if answer == "refused" else None, months, amount)
            )
    if problems:
        raise AnswerUnreadableError(problems)
    return lines


@ask_again
def reconcile_answers(
    engine: Engine,
    lines: Sequence[AnswerLine],
    officer: str,
    now: dt.datetime,
    *,
    regency: str | None = None,
) -> ReconcileOutcome:
    """Apply an answer file in one transaction; the same content again changes nothing.

    ``regency`` confines it to lines of that regency: to its officer all others are unknown.
    """
    content: list[object] = [_content(line) for line in lines]
    # An officer of elsewhere who hands a file in must not make it a repeat for the one whose it is.
    content += [] if regency is None else [regency]
    file_hash = hashlib.sha256(repr(content).encode()).digest()
    with engine.begin() as connection:
        connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 2))"), {"key": file_hash.hex()}
        )
        known = connection.execute(
            select(EnrolmentAnswer.id, EnrolmentAnswer.outcomes).where(EnrolmentAnswer.file_hash == file_hash)
        ).one_or_none()
        if known is not None:
            return ReconcileOutcome(known.id, known.outcomes)
        answer_id = uuid.uuid4()
        connection.execute(
            insert(EnrolmentAnswer).values(
                id=answer_id, file_hash=file_hash, officer=officer, outcomes={}, imported_at=now
            )
        )
        outcomes = _apply(connection, lines, answer_id, now, regency)
        connection.execute(
            update(EnrolmentAnswer).where(EnrolmentAnswer.id == answer_id).values(outcomes=dict(outcomes))
        )
        record_action(connection, officer, "import_answer", str(answer_id), dict(outcomes), now)
    return ReconcileOutcome(answer_id, outcomes)


def _apply(
    connection: Connection,
    lines: Sequence[AnswerLine],
    answer_id: uuid.UUID,
    now: dt.datetime,
    regency: str | None,
) -> Counter[str]:
    standing = {
        row.reference: _Standing(
            row.proposal_id,
            row.need_id,
            row.fund_id,
            row.fund_code,
            row.regency_code,
            row.months,
            row.amount_rupiah,
            None
            if row.answer is None
            else (row.answer, row.answer_reason, row.answer_months, row.answer_rupiah),
        )
        for row in connection.execute(
            _LOCK_LINES,
            {"references": sorted({line.reference for line in lines}), "regency": regency},
        )
    }
    outcomes: Counter[str] = Counter()
    disbursed: Counter[int] = Counter()
    refunded: Counter[int] = Counter()
    enrolled: Counter[int] = Counter()
    refused: Counter[int] = Counter()
    for line in lines:
        known = standing.get(line.reference)
        if known is None:
            outcomes["unknown"] += 1
            _suspend(connection, answer_id, line, "unknown", line.amount_rupiah or 0, "no such reference")
            continue
        if known.answered is not None:
            if known.answered == _content(line)[1:]:
                outcomes["repeated"] += 1
            else:
                outcomes["contradictory"] += 1
                detail = f"answered before as {known.answered[0]}"
                _suspend(connection, answer_id, line, "contradictory", line.amount_rupiah or 0, detail)
            continue
        standing[line.reference] = replace(known, answered=_content(line)[1:])
        if line.answer == "refused":
            outcomes["refused"] += 1
            refused[known.fund_id] += 1
            refunded[known.fund_id] += known.amount_rupiah
            _refuse(connection, known, line, answer_id, now)
            continue
        billed = known.amount_rupiah if line.amount_rupiah is None else line.amount_rupiah
        kept_months = min(line.months or known.months, known.months)
        paid = min(billed, known.amount_rupiah)
        if billed > known.amount_rupiah:
            outcomes["overpaid"] += 1
            surplus = billed - known.amount_rupiah
            _suspend(connection, answer_id, line, "overpaid", surplus, "billed above the approved line")
        else:
            outcomes[
                "partial" if paid < known.amount_rupiah or kept_months < known.months else "enrolled"
            ] += 1
        enrolled[known.fund_id] += 1
        disbursed[known.fund_id] += paid
        refunded[known.fund_id] += known.amount_rupiah - paid
        _enrol(connection, known, line, kept_months, paid, answer_id)
    movements = [Movement(fund, "disburse", rupiah) for fund, rupiah in sorted(disbursed.items()) if rupiah]
    movements += [Movement(fund, "refund", rupiah) for fund, rupiah in sorted(refunded.items()) if rupiah]
    move_money(connection, movements, cause=Cause("answer", answer_id), recorded_at=now)
    funds = {known.fund_id: known for known in standing.values()}
    for fund_id in sorted(set(enrolled) | set(refused)):
        enqueue_event(
            connection,
            "coverage.enrolled.v1",
            CoverageEnrolled(
                answer_id=str(answer_id),
                regency=funds[fund_id].regency,
                fund_id=funds[fund_id].fund_code,
                enrolled=enrolled[fund_id],
                refused=refused[fund_id],
                disbursed_rupiah=disbursed[fund_id],
                refunded_rupiah=refunded[fund_id],
            ),
            key=funds[fund_id].regency.encode(),
        )
    for regency in sorted({known.regency for known in funds.values()}):
        raise_signal(connection, regency)
    return outcomes


def _enrol(
    connection: Connection,
    known: _Standing,
    line: AnswerLine,
    kept_months: int,
    paid_rupiah: int,
    answer_id: uuid.UUID,
) -> None:
    connection.execute(
        text("UPDATE proposal SET state = 'enrolled', version = version + 1 WHERE id = :line"),
        {"line": known.proposal_id},
    )
    connection.execute(
        text("UPDATE coverage_need SET state = 'enrolled', version = version + 1 WHERE id = :need"),
        {"need": known.need_id},
    )
    if kept_months < known.months:
        connection.execute(_DROP_MONTHS, {"line": known.proposal_id, "kept": kept_months})
        connection.execute(
            _REOPEN_MONTHS,
            {"need": known.need_id, "kept": kept_months, "months": known.months - kept_months},
        )
    _write_answer(connection, line, answer_id, paid_rupiah, kept_months)


def _refuse(
    connection: Connection, known: _Standing, line: AnswerLine, answer_id: uuid.UUID, now: dt.datetime
) -> None:
    connection.execute(_DROP_MONTHS, {"line": known.proposal_id, "kept": 0})
    connection.execute(
        text(
            "UPDATE proposal SET state = 'refused', version = version + 1, closed_at = :now,"
            " closed_cause = 'answer', closed_cause_id = :answer WHERE id = :line"
        ),
        {"line": known.proposal_id, "answer": answer_id, "now": now},
    )
    closes = REFUSAL_REASONS[line.reason or "other"] == "close"
    connection.execute(
        text(
            "UPDATE coverage_need SET state = :state, unfunded_reason = :reason, version = version + 1"
            " WHERE id = :need"
        ),
        {"state": "closed" if closes else "waiting", "reason": line.reason, "need": known.need_id},
    )
    _write_answer(connection, line, answer_id, 0, None)


def _write_answer(
    connection: Connection,
    line: AnswerLine,
    answer_id: uuid.UUID,
    paid_rupiah: int,
    paid_months: int | None,
) -> None:
    connection.execute(
        update(EnrolmentLine)
        .where(EnrolmentLine.reference == line.reference)
        .values(
            answer=line.answer,
            answer_reason=line.reason,
            answer_months=line.months,
            answer_rupiah=line.amount_rupiah,
            paid_rupiah=paid_rupiah,
            paid_months=paid_months,
            answered_by=answer_id,
        )
    )


def _suspend(
    connection: Connection, answer_id: uuid.UUID, line: AnswerLine, kind: str, amount: int, detail: str
) -> None:
    connection.execute(
        insert(SuspenseItem).values(
            answer_id=answer_id,
            row_number=line.row,
            kind=kind,
            reference=line.reference,
            amount_rupiah=amount,
            detail=detail,
        )
    )


def _content(line: AnswerLine) -> tuple[str, str, str | None, int | None, int | None]:
    return line.reference, line.answer, line.reason, line.months, line.amount_rupiah


def _read_whole(value: object, highest: int) -> int | None:
    """A whole number from a cell, or ``None``; a spreadsheet's 12.0 is 12, its 12.5 is nothing."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else ""
    text_value = str(value).strip()
    if not re.fullmatch(r"\d{1,16}", text_value):
        return None
    number = int(text_value)
    return number if number <= highest else None
