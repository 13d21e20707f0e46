"""Audit: recompute every balance and line in one snapshot, and name what does not agree.

Read-only, REPEATABLE READ: the findings belong to one moment, however long the
reading takes and whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, select, text

from models.journal import CHAIN_START, EFFECTS, Cause, chain_entry
from models.review_tables import AuditRecord, LegalTransition
from models.state import NEED_TRANSITIONS, PROPOSAL_TRANSITIONS
from models.tables import Fund, JournalEntry
from workflow.record import seal_record

_BUCKETS = ("pledged", "reserved", "committed", "disbursed", "expired")


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement. ``check`` names the invariant, ``subject`` the fund, run or need.

    ``halts`` is false for what a person should look at but that leaves every balance right.
    """

    check: str
    subject: str
    difference_rupiah: int
    message: str
    halts: bool = True


def audit(engine: Engine) -> list[Finding]:
    """Every finding, empty when all invariants hold."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        connection.execute(text("SET TRANSACTION READ ONLY"))
        return [finding for check in CHECKS for finding in check(connection)]


def balances_equal_journal(connection: Connection) -> Iterator[Finding]:
    """Each bucket on the fund row is the fold of the fund's journal."""
    folds = ", ".join(
        "coalesce(sum(CASE j.kind "
        + " ".join(
            f"WHEN '{kind}' THEN {effects[place]:+d} * j.amount_rupiah"
            for kind, effects in EFFECTS.items()
            if effects[place]
        )
        + f" ELSE 0 END), 0)::int8 AS {bucket}"
        for place, bucket in enumerate(_BUCKETS)
    )
    rows = connection.execute(
        text(
            f"SELECT f.code, {', '.join(f'f.{bucket}_rupiah' for bucket in _BUCKETS)}, {folds}"
            " FROM fund f LEFT JOIN journal_entry j ON j.fund_id = f.id GROUP BY f.id ORDER BY f.code"
        )
    )
    for row in rows:
        for bucket in _BUCKETS:
            stands, journal = getattr(row, f"{bucket}_rupiah"), getattr(row, bucket)
            if stands != journal:
                yield Finding(
                    "balances_equal_journal",
                    row.code,
                    stands - journal,
                    f"{bucket} stands at {stands} rupiah, the journal adds up to {journal}",
                )


def no_fund_overdrawn(connection: Connection) -> Iterator[Finding]:
    """No bucket is negative and promises stay within the pledge, whatever became of the CHECKs."""
    for fund in connection.execute(select(Fund.__table__).order_by(Fund.code)):
        buckets = {bucket: getattr(fund, f"{bucket}_rupiah") for bucket in _BUCKETS}
        for bucket, amount in buckets.items():
            if amount < 0:
                yield Finding("no_fund_overdrawn", fund.code, amount, f"{bucket} is {amount} rupiah")
        promised = sum(buckets.values()) - buckets["pledged"]
        if promised > buckets["pledged"]:
            excess = promised - buckets["pledged"]
            yield Finding(
                "no_fund_overdrawn", fund.code, excess, f"promises exceed the pledge by {excess} rupiah"
            )


def lines_equal_entries(connection: Connection) -> Iterator[Finding]:
    """Per run (or event) and fund, the lines opened and closed sum to the journal's entries."""
    yield from _compare_lines(
        connection,
        "reserve",
        "SELECT run_id AS cause_id, fund_id, sum(amount_rupiah) AS total FROM proposal GROUP BY 1, 2",
    )
    yield from _compare_lines(
        connection,
        "release",
        "SELECT closed_cause_id AS cause_id, fund_id, sum(amount_rupiah) AS total FROM proposal"
        " WHERE state IN ('superseded', 'released', 'rejected', 'returned') GROUP BY 1, 2",
    )
    yield from _compare_lines(
        connection,
        "post",
        "SELECT d.id AS cause_id, p.fund_id, sum(p.amount_rupiah) AS total FROM decision d"
        " JOIN decision_line l ON l.decision_id = d.id JOIN proposal p ON p.id = l.proposal_id"
        " WHERE d.action = 'approve' AND d.state = 'done' GROUP BY 1, 2",
    )
    for kind, share in (("disburse", "e.paid_rupiah"), ("refund", "p.amount_rupiah - e.paid_rupiah")):
        yield from _compare_lines(
            connection,
            kind,
            f"SELECT e.answered_by AS cause_id, p.fund_id, sum({share}) AS total FROM enrolment_line e"
            " JOIN proposal p ON p.id = e.proposal_id WHERE e.answered_by IS NOT NULL GROUP BY 1, 2",
        )


def _compare_lines(connection: Connection, kind: str, lines: str) -> Iterator[Finding]:
    rows = connection.execute(
        text(
            f"""
            WITH lines AS ({lines}), entries AS (
                SELECT cause_id, fund_id, sum(amount_rupiah) AS total
                FROM journal_entry WHERE kind = :kind GROUP BY 1, 2
            )
            SELECT f.code, cause_id,
                   coalesce(l.total, 0)::int8 AS lines, coalesce(e.total, 0)::int8 AS entries
            FROM lines l FULL JOIN entries e USING (cause_id, fund_id) JOIN fund f ON f.id = fund_id
            WHERE coalesce(l.total, 0) <> coalesce(e.total, 0) ORDER BY f.code, cause_id
            """
        ),
        {"kind": kind},
    )
    for row in rows:
        yield Finding(
            "lines_equal_entries",
            row.code,
            row.lines - row.entries,
            f"{kind} by {row.cause_id}: lines sum to {row.lines} rupiah, journal entries to {row.entries}",
        )


def buckets_equal_lines(connection: Connection) -> Iterator[Finding]:
    """A fund's reserved and committed rupiah are those of its undecided and its approved lines."""
    for bucket, states in (("reserved", "'proposed', 'confirming'"), ("committed", "'approved'")):
        rows = connection.execute(
            text(
                f"""
                WITH lines AS (
                    SELECT fund_id, sum(amount_rupiah) AS total FROM proposal WHERE state IN ({states})
                    GROUP BY fund_id
                )
                SELECT f.code, f.{bucket}_rupiah AS stands, coalesce(l.total, 0)::int8 AS lines
                FROM fund f LEFT JOIN lines l ON l.fund_id = f.id
                WHERE f.{bucket}_rupiah <> coalesce(l.total, 0) ORDER BY f.code
                """
            )
        )
        for row in rows:
            yield Finding(
                "buckets_equal_lines",
                row.code,
                row.stands - row.lines,
                f"{bucket} is {row.stands} rupiah, its lines sum to {row.lines}",
            )


def states_agree(connection: Connection) -> Iterator[Finding]:
    """A need is proposed exactly when one of its lines is, and at most one line is live."""
    rows = connection.execute(
        text(
            """
            WITH live AS (
                SELECT need_id, CASE state WHEN 'confirming' THEN 'proposed' ELSE state END AS state
                FROM proposal WHERE state IN ('proposed', 'confirming', 'approved', 'enrolled')
            )
            SELECT n.id, n.state, coalesce(string_agg(p.state, '+'), 'none') AS lines
            FROM coverage_need n LEFT JOIN live p ON p.need_id = n.id
            GROUP BY n.id
            HAVING n.state <> coalesce(string_agg(p.state, '+'),
                                       CASE n.state WHEN 'closed' THEN 'closed' ELSE 'waiting' END)
            ORDER BY n.id
            """
        )
    )
    for row in rows:
        yield Finding(
            "states_agree", f"need {row.id}", 0, f"need is {row.state}, its live lines are {row.lines}"
        )


def rules_hold(connection: Connection) -> Iterator[Finding]:
    """Caps hold wherever somebody may still sign a line.

    A funder may lower a cap below what is committed already: then only further lines are wrong. A
    line whose worker has moved since cannot be signed, and the next run looks at it anew.
    """
    rows = connection.execute(
        text(
            """
            WITH heads AS (
                SELECT p.fund_id, n.district_code, count(*) AS heads,
                       count(*) FILTER (WHERE p.state IN ('proposed', 'confirming')) AS undecided
                FROM proposal p JOIN coverage_need n ON n.id = p.need_id
                WHERE p.state IN ('approved', 'enrolled')
                   OR p.state IN ('proposed', 'confirming') AND n.changed_at <= p.opened_at
                GROUP BY 1, 2
            )
            SELECT f.code, sum(h.heads) AS heads,
                   max(h.heads) FILTER (WHERE h.undecided > 0) AS district_heads,
                   f.head_count_cap, f.district_cap
            FROM fund f JOIN heads h ON h.fund_id = f.id GROUP BY f.id
            HAVING sum(h.undecided) > 0 AND sum(h.heads) > f.head_count_cap
                OR max(h.heads) FILTER (WHERE h.undecided > 0) > f.district_cap
            ORDER BY f.code
            """
        )
    )
    for row in rows:
        yield Finding(
            "rules_hold",
            row.code,
            0,
            f"{row.heads} workers (most in one district: {row.district_heads}) against caps"
            f" {row.head_count_cap} and {row.district_cap}",
        )


def months_follow_lines(connection: Connection) -> Iterator[Finding]:
    """Every approved or enrolled line holds exactly its programme months, and no other line any."""
    rows = connection.execute(
        text(
            """
            WITH owed AS (
                SELECT p.id AS line,
                       coalesce(e.paid_months, p.months) * bit_count(n.programmes::int::bit(4)) AS months
                FROM proposal p JOIN coverage_need n ON n.id = p.need_id
                LEFT JOIN enrolment_line e ON e.proposal_id = p.id
                WHERE p.state IN ('approved', 'enrolled')
            ), held AS (SELECT proposal_id AS line, count(*) AS months FROM funded_month GROUP BY 1)
            SELECT f.code, line, coalesce(o.months, 0) AS owed, coalesce(h.months, 0) AS held
            FROM owed o FULL JOIN held h USING (line)
            JOIN proposal p ON p.id = line JOIN fund f ON f.id = p.fund_id
            WHERE coalesce(o.months, 0) <> coalesce(h.months, 0) ORDER BY line
            """
        )
    )
    for row in rows:
        yield Finding(
            "months_follow_lines",
            row.code,
            0,
            f"line {row.line} pays {row.owed} programme months, {row.held} are on record",
        )


def chain_intact(connection: Connection) -> Iterator[Finding]:
    """Each entry's hash follows from its content and its predecessor, with no number missing."""
    entries = connection.execution_options(yield_per=5000).execute(
        select(JournalEntry.__table__, Fund.code.label("fund_code"))
        .join(Fund, Fund.id == JournalEntry.fund_id)
        .order_by(Fund.code, JournalEntry.number)
    )
    fund_code, number, previous_hash = "", 0, CHAIN_START
    for entry in entries:
        if entry.fund_code != fund_code:
            fund_code, number, previous_hash = entry.fund_code, 0, CHAIN_START
        if problem := _chain_break(entry, number + 1, previous_hash):
            yield Finding("chain_intact", fund_code, 0, f"journal entry {entry.number}: {problem}")
        number, previous_hash = entry.number, entry.hash


def _chain_break(entry: Row[tuple[object, ...]], number: int, previous_hash: bytes) -> str | None:
    if entry.number != number:
        return f"entry {number} is missing"
    if entry.previous_hash != previous_hash:
        return "does not follow its predecessor"
    sealed = chain_entry(
        entry.previous_hash,
        fund_code=entry.fund_code,
        number=entry.number,
        kind=entry.kind,
        amount_rupiah=entry.amount_rupiah,
        cause=Cause(entry.cause, entry.cause_id),
        recorded_at=entry.recorded_at,
    )
    return None if sealed == entry.hash else "its content was changed"


def records_intact(connection: Connection) -> Iterator[Finding]:
    """The records of what people did are numbered without a gap and sealed one to the other."""
    records = connection.execution_options(yield_per=5000).execute(
        select(AuditRecord.__table__).order_by(AuditRecord.number)
    )
    number, previous_hash = 0, CHAIN_START
    for record in records:
        if problem := _record_break(record, number + 1, previous_hash):
            yield Finding("records_intact", f"record {record.number}", 0, problem)
        number, previous_hash = record.number, record.hash


def _record_break(record: Row[Any], number: int, previous_hash: bytes) -> str | None:
    if record.number != number:
        return f"record {number} is missing"
    if record.previous_hash != previous_hash:
        return "does not follow its predecessor"
    sealed = seal_record(
        record.previous_hash,
        record.number,
        record.actor,
        record.action,
        record.subject,
        record.detail,
        record.recorded_at,
    )
    return None if sealed == record.hash else "its content was changed"


def events_have_one_outcome(connection: Connection) -> Iterator[Finding]:
    """No event was stored without its outcome, none both accepted and refused by one delivery.

    A refused event that was sent again later, or replayed, and then accepted had two deliveries.
    """
    unfinished = connection.execute(
        text(
            "SELECT source, event_id, outcome FROM inbox_event WHERE outcome = 'received' ORDER BY event_key"
        )
    )
    for row in unfinished:
        yield Finding(
            "events_have_one_outcome", f"event {row.event_id}", 0, f"from {row.source}: accepted, no outcome"
        )
    twice = connection.execute(
        text(
            """
            SELECT i.event_id, i.outcome, d.id, d.reason FROM dead_letter d
            JOIN inbox_event i ON i.event_key = d.event_key
            WHERE (d.log_id, d.topic, d.partition, d."offset") = (i.log_id, i.topic, i.partition, i."offset")
              AND d.reason <> 'event_id_conflict' AND d.replayed_at IS NULL
            ORDER BY d.id
            """
        )
    )
    for row in twice:
        yield Finding(
            "events_have_one_outcome",
            f"event {row.event_id}",
            0,
            f"accepted ({row.outcome}) and refused ({row.reason}, dead letter {row.id})",
        )


def intake_settles(connection: Connection) -> Iterator[Finding]:
    """What entered through Gotong has come to an outcome within the hour; it waits in the outbox if not."""
    rows = connection.execute(
        text(
            """
            SELECT topic, count(*) AS messages, min(created_at) AS oldest FROM outbox_message
            WHERE intake AND settled_at IS NULL AND created_at < clock_timestamp() - interval '1 hour'
            GROUP BY topic ORDER BY topic
            """
        )
    )
    for row in rows:
        yield Finding(
            "intake_settles",
            row.topic,
            0,
            f"{row.messages} message(s) without an outcome, the oldest since {row.oldest.isoformat()}",
            halts=False,
        )


def transitions_guarded(connection: Connection) -> Iterator[Finding]:
    """The triggers that refuse illegal steps and changes of the books stand and are switched on."""
    armed = set(
        connection.scalars(
            text("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')")
        )
    )
    for name in _TRIGGERS:
        if name not in armed:
            yield Finding("transitions_guarded", f"trigger {name}", 0, "is missing or switched off")
    stored = {
        (row.subject, row.from_state, row.to_state)
        for row in connection.execute(select(LegalTransition.__table__))
    }
    known = {("coverage_need", *pair) for pair in NEED_TRANSITIONS}
    known |= {("proposal", *pair) for pair in PROPOSAL_TRANSITIONS}
    for subject, before, after in sorted(stored ^ known):
        yield Finding(
            "transitions_guarded", f"{subject} {before} -> {after}", 0, "is legal in only one of two places"
        )


_TRIGGERS = (
    "audit_record_append_only",
    "coverage_need_transition",
    "journal_entry_append_only",
    "proposal_transition",
)

#: Every invariant, in the order an auditor would ask.
CHECKS = (
    balances_equal_journal,
    no_fund_overdrawn,
    lines_equal_entries,
    buckets_equal_lines,
    months_follow_lines,
    states_agree,
    rules_hold,
    chain_intact,
    records_intact,
    events_have_one_outcome,
    transitions_guarded,
    intake_settles,
)
