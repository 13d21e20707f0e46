"""Register: a batch of uncovered workers becomes workers and coverage needs, in one transaction.

The batch travels as columns (one array per column), so the number of statements does not depend on
its size. What keeps two processes from registering one worker twice is the upsert of the worker's
row: it locks the row until the transaction ends, and every later statement sees what the other
process committed. Rows are sorted by one key for all, so that two batches never wait for each other
in a circle.

Which event wins, for one worker:

* The report with the newest event time describes the worker; of two with the same time the later
  arrival does.
* A need that shares a programme and a month with the event is the same need. If it is approved or
  enrolled, or an officer has signed it, the event is ``already_funded``. If it waits or is proposed,
  the event changes it (``updated``) unless it is older (``stale``). Without such a need one is made
  (``registered``).
* An event that spans several open needs is refused: merging them would leave one of them behind
  with money reserved for it.

A worker who moves to another regency takes a need along that is only proposed; the line there is
released, because that regency's runs do not see the need any more.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, Engine, Row, text
from sqlalchemy.exc import DataError, IntegrityError

from models.journal import Cause
from models.message import EventEnvelope, InboundMessage, Refusal, refuse_event
from models.pg_array import write_bytes, write_codes, write_numbers, write_texts
from models.region import RegionTable
from workflow.context import IntakeContext
from workflow.dead_letter import record_dead_letters
from workflow.move_money import Movement, move_money
from workflow.outbox import settle_messages
from workflow.outcome import REFUSED, BatchOutcome, watch_availability
from workflow.validate import WorkerReport, validate_workers

_ATTEMPTS: Final = 3

# The rows wanted are a few among many and in memory: an index finds them sooner than the default
# costs make PostgreSQL believe.
_PREFER_INDEXES = text("SET LOCAL random_page_cost = 1.1")

_SERVED_REGENCIES = text("SELECT code FROM regency")

_KNOWN_EVENTS = text(
    "SELECT event_key, content_hash FROM inbox_event WHERE event_key = ANY(CAST(:keys AS uuid[]))"
)

# Locks the row of a worker who is known, whether or not anything about it will change.
_LOCK_WORKERS = text(
    """
    INSERT INTO worker (nik_hash, nik_encrypted, nik_key_id, name_encrypted, village_code, occupation,
                        sex, birth_year, declared_base_rupiah, reported_at)
    SELECT * FROM unnest(
        CAST(:nik_hashes AS bytea[]), CAST(:niks AS bytea[]), CAST(:key_ids AS text[]),
        CAST(:names AS bytea[]), CAST(:villages AS text[]), CAST(:occupations AS text[]),
        CAST(:sexes AS text[]), CAST(:birth_years AS int2[]), CAST(:bases AS int8[]),
        CAST(:times AS timestamptz[]))
    ON CONFLICT (nik_hash) DO UPDATE SET reported_at = excluded.reported_at WHERE false
    """
)

# One statement decides, writes need, inbox and signals, and tells what it decided. ``decided`` carries
# everything the writers need: joining it to ``event`` again would cost more than the width.
_REGISTER = text(
    """
    WITH event AS MATERIALIZED (
        SELECT u.*, w.id AS worker_id,
               w.reported_at <= u.time
               AND (w.reported_at, w.village_code, w.occupation, w.sex, w.birth_year, w.declared_base_rupiah)
                   IS DISTINCT FROM (u.time, u.village, u.occupation, u.sex, u.birth_year, u.base)
                   AS describes
        FROM unnest(
            CAST(:nik_hashes AS bytea[]), CAST(:villages AS text[]), CAST(:occupations AS text[]),
            CAST(:sexes AS text[]), CAST(:birth_years AS int2[]), CAST(:bases AS int8[]),
            CAST(:times AS timestamptz[]), CAST(:programmes AS int2[]), CAST(:months AS int2[]),
            CAST(:start_months AS date[]), CAST(:priorities AS int2[]), CAST(:keys AS uuid[]),
            CAST(:types AS text[]), CAST(:sources AS text[]), CAST(:ids AS text[]), CAST(:hashes AS bytea[]),
            CAST(:logs AS text[]), CAST(:topics AS text[]), CAST(:partitions AS int4[]),
            CAST(:offsets AS int8[])
        ) AS u (nik_hash, village, occupation, sex, birth_year, base, time, programmes, months, start_month,
                priority, event_key, type, source, event_id, content_hash, log_id, topic, partition, "offset")
        JOIN worker w ON w.nik_hash = u.nik_hash
    ), overlap AS MATERIALIZED (
        SELECT e.event_key, e.time, n.id, n.reported_at, n.regency_code,
               n.state NOT IN ('waiting', 'proposed') OR EXISTS (
                   SELECT 1 FROM proposal p WHERE p.need_id = n.id AND p.state = 'confirming') AS signed
        FROM event e JOIN coverage_need n ON n.worker_id = e.worker_id
        WHERE n.state <> 'closed' AND n.programmes & e.programmes <> 0
          AND n.start_month < e.start_month + make_interval(months => e.months)
          AND e.start_month < n.start_month + make_interval(months => n.months)
        ORDER BY n.id
        FOR UPDATE OF n
    ), decided AS MATERIALIZED (
        SELECT e.*, o.need_id, o.old_regency, coalesce(o.outcome, 'registered') AS outcome
        FROM event e LEFT JOIN (
            SELECT event_key, min(id) AS need_id, min(regency_code) AS old_regency,
                   CASE WHEN bool_or(signed) THEN 'already_funded'
                        WHEN count(*) > 1 THEN 'overlaps_several_needs'
                        WHEN bool_and(reported_at <= time) THEN 'updated'
                        ELSE 'stale' END AS outcome
            FROM overlap GROUP BY event_key
        ) AS o USING (event_key)
    ), registered AS (
        INSERT INTO coverage_need (worker_id, regency_code, district_code, village_code, programmes, months,
                                   start_month, priority, reported_at)
        SELECT worker_id, left(village, 5), left(village, 8), village, programmes, months, start_month,
               priority, time
        FROM decided WHERE outcome = 'registered'
    ), updated AS (
        UPDATE coverage_need n
        SET regency_code = left(d.village, 5), district_code = left(d.village, 8), village_code = d.village,
            programmes = d.programmes, months = d.months, start_month = d.start_month,
            priority = d.priority, reported_at = d.time, changed_at = clock_timestamp(),
            version = n.version + 1
        FROM decided d
        WHERE n.id = d.need_id AND d.outcome = 'updated'
    ), received AS (
        INSERT INTO inbox_event (event_key, type, source, event_id, content_hash, log_id, topic, partition,
                                 "offset", outcome)
        SELECT event_key, type, source, event_id, content_hash, log_id, topic, partition, "offset", outcome
        FROM decided WHERE outcome <> 'overlaps_several_needs'
        ORDER BY event_key
    ), signalled AS (
        INSERT INTO allocation_signal (regency_code)
        SELECT left(village, 5) FROM decided WHERE outcome IN ('registered', 'updated')
        UNION
        SELECT old_regency FROM decided WHERE outcome = 'updated'
    )
    SELECT event_key, outcome, describes, need_id, old_regency FROM decided
    WHERE outcome <> 'registered' OR describes
    """
)

_DESCRIBE_WORKERS = text(
    """
    UPDATE worker w
    SET nik_encrypted = u.nik, nik_key_id = u.key_id, name_encrypted = coalesce(u.name, w.name_encrypted),
        village_code = u.village, occupation = u.occupation, sex = u.sex, birth_year = u.birth_year,
        declared_base_rupiah = u.base, reported_at = u.time
    FROM unnest(
        CAST(:nik_hashes AS bytea[]), CAST(:niks AS bytea[]), CAST(:key_ids AS text[]),
        CAST(:names AS bytea[]), CAST(:villages AS text[]), CAST(:occupations AS text[]),
        CAST(:sexes AS text[]), CAST(:birth_years AS int2[]), CAST(:bases AS int8[]),
        CAST(:times AS timestamptz[])
    ) AS u (nik_hash, nik, key_id, name, village, occupation, sex, birth_year, base, time)
    WHERE w.nik_hash = u.nik_hash
    """
)

_RELEASE_LINE = text(
    """
    WITH released AS (
        UPDATE proposal SET state = 'released', closed_at = :now, closed_cause = 'event',
               closed_cause_id = :event_key, version = version + 1
        WHERE need_id = :need_id AND state IN ('proposed', 'confirming')
        RETURNING need_id, fund_id, amount_rupiah
    ), returned AS (
        UPDATE coverage_need n SET state = 'waiting', version = n.version + 1, unfunded_reason = NULL
        FROM released r WHERE n.id = r.need_id
    )
    SELECT fund_id, amount_rupiah FROM released
    """
)


@dataclass(slots=True)
class _Entry:
    """An event or early refusal on its way through the batch, and what became of it."""

    message: InboundMessage
    checked: WorkerReport | Refusal
    outcome: str = REFUSED
    refusal: Refusal | None = None


_Fresh = list[tuple[_Entry, WorkerReport]]


def register_workers(
    engine: Engine,
    context: IntakeContext,
    envelopes: Sequence[EventEnvelope],
    refusals: Sequence[Refusal] = (),
) -> BatchOutcome:
    """Store the batch: inbox, worker, coverage need, allocation signal, dead letters, outbox.

    Outcomes: ``registered``, ``updated``, ``stale``, ``already_funded``, ``repeated``, ``refused``.
    All envelopes and refusals of one message must come in one call. Repeats change nothing.
    Raises ``workflow.outcome.Unavailable`` when the database is away, and
    ``workflow.pause_intake.IntakePausedError`` when the topic stands still; nothing is stored then, or a
    leading part of the batch, and calling again with the same batch is right.
    """
    checked = validate_workers(context, envelopes)
    early = [_Entry(refusal.message, refusal) for refusal in refusals]
    entries = [_Entry(envelope.message, result) for envelope, result in zip(envelopes, checked, strict=True)]
    with watch_availability():
        _store_or_isolate(engine, context, early + entries)
    refused = Counter(entry.refusal.reason for entry in early + entries if entry.refusal is not None)
    return BatchOutcome([entry.outcome for entry in entries], refused)


def _store_or_isolate(engine: Engine, context: IntakeContext, entries: list[_Entry]) -> None:
    """Store all in one transaction; if a row's data makes that fail, halve until the row is alone.

    Halves are stored in order. A message is settled with the last of its events.
    """
    last_of = {id(entry.message): entry for entry in entries}
    pending = [entries]
    while pending:
        part = pending.pop()
        settled = [entry.message for entry in part if last_of[id(entry.message)] is entry]
        try:
            _store(engine, context, part, settled)
        except (DataError, IntegrityError) as error:
            if len(part) > 1:
                middle = len(part) // 2
                pending += [part[middle:], part[:middle]]
            else:
                _poison(part[0], error)
                _store(engine, context, part, settled)


def _poison(entry: _Entry, error: DataError | IntegrityError) -> None:
    """Turn the event nobody could store into a refusal; a dead letter that fails itself is raised."""
    if isinstance(entry.checked, Refusal):
        raise error
    state = getattr(error.orig, "sqlstate", "unknown")
    entry.checked = refuse_event(
        entry.checked.envelope, "not_storable", f"the database refused the event: SQLSTATE {state}"
    )


def _store(
    engine: Engine, context: IntakeContext, entries: Sequence[_Entry], settled: Iterable[InboundMessage]
) -> None:
    """One transaction for all. Raises ``DataError`` or ``IntegrityError`` when a row cannot be stored."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with engine.begin() as connection:
                _store_within(connection, context, entries)
                settle_messages(connection, settled)
        except IntegrityError as error:
            # Another process received one of these events at the same moment: now it is a repeat.
            if attempt < _ATTEMPTS and _lost_race(error):
                continue
            raise
        return


def _lost_race(error: IntegrityError) -> bool:
    cause = error.orig
    return isinstance(cause, UniqueViolation) and cause.diag.constraint_name == "pk_inbox_event"


def _store_within(connection: Connection, context: IntakeContext, entries: Sequence[_Entry]) -> None:
    fresh: _Fresh = []
    for entry in entries:
        entry.outcome = REFUSED
        entry.refusal = None
        if isinstance(entry.checked, Refusal):
            entry.refusal = entry.checked
        else:
            fresh.append((entry, entry.checked))
    if fresh:
        _plan_for_this_batch(connection)
        known = _read_known_events(connection, fresh)
        served = set(connection.execute(_SERVED_REGENCIES).scalars())
        for part in _split_rounds(fresh):
            _register(connection, context, _drop_repeats(_drop_unserved(part, served), known), known)
    refusals = [entry.refusal for entry in entries if entry.refusal is not None]
    record_dead_letters(connection, context.vault, refusals)
    context.guard.judge(connection, [entry.message for entry in entries], refusals)


def _plan_for_this_batch(connection: Connection) -> None:
    """Have every batch planned for its own size.

    The plan of a prepared statement would assume arrays of ten and join a thousand events in nested
    loops. (``plan_cache_mode`` is no way out: foreign keys would be planned again for every row.)
    """
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.prepare_threshold = None
    connection.execute(_PREFER_INDEXES)


def _read_known_events(connection: Connection, fresh: _Fresh) -> dict[uuid.UUID, bytes]:
    """Content hashes of those events that were accepted before."""
    keys = write_codes(report.event_key.hex for _, report in fresh)
    return {row[0]: row[1] for row in connection.execute(_KNOWN_EVENTS, {"keys": keys})}


def _split_rounds(fresh: _Fresh) -> list[_Fresh]:
    """Parts in which no worker and no event occurs twice; what comes later for one is in a later part.

    So a set-based statement does what handling the events one by one would do.
    """
    rounds: list[_Fresh] = []
    seen: dict[object, int] = {}
    for entry, report in fresh:
        number = max(seen.get(report.nik_hash, -1), seen.get(report.event_key, -1)) + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append((entry, report))
        seen[report.nik_hash] = seen[report.event_key] = number
    return rounds


def _drop_unserved(fresh: _Fresh, served: set[str]) -> _Fresh:
    left: _Fresh = []
    for entry, report in fresh:
        regency = RegionTable.regency_of(report.village)
        if regency in served:
            left.append((entry, report))
        else:
            _refuse(entry, report, "regency_not_served", f"village: regency {regency} is not served here")
    return left


def _drop_repeats(fresh: _Fresh, known: dict[uuid.UUID, bytes]) -> _Fresh:
    left: _Fresh = []
    for entry, report in fresh:
        content_hash = known.get(report.event_key)
        if content_hash is None:
            left.append((entry, report))
        elif content_hash == report.content_hash:
            entry.outcome = "repeated"
        else:
            _refuse(
                entry,
                report,
                "event_id_conflict",
                "an event with this source and id but other content was accepted",
            )
    return left


def _register(
    connection: Connection, context: IntakeContext, fresh: _Fresh, known: dict[uuid.UUID, bytes]
) -> None:
    """Write one round; every entry leaves with its outcome, every accepted event is added to ``known``."""
    if not fresh:
        return
    # Every process locks workers in this order.
    reports = sorted([report for _, report in fresh], key=lambda report: report.nik_hash)
    who, what = _write_worker_columns(reports), _write_event_columns(reports)
    connection.execute(_LOCK_WORKERS, who)
    # A new need of a worker whose description stands is the rule, and is not reported back.
    decided = {row.event_key: row for row in connection.execute(_REGISTER, {**who, **what})}
    described: list[WorkerReport] = []
    for entry, report in fresh:
        decision = decided.get(report.event_key)
        entry.outcome = "registered" if decision is None else decision.outcome
        if entry.outcome == "overlaps_several_needs":
            _refuse(entry, report, entry.outcome, "the months span several needs of this worker")
            continue
        known[report.event_key] = report.content_hash
        if decision is None:
            continue
        if decision.describes:
            described.append(report)
        if entry.outcome == "updated" and decision.old_regency != RegionTable.regency_of(report.village):
            _release_line(connection, decision, context.now())
    if described:
        connection.execute(_DESCRIBE_WORKERS, _write_worker_columns(described))


def _release_line(connection: Connection, decision: Row[Any], now: dt.datetime) -> None:
    lines = connection.execute(
        _RELEASE_LINE, {"need_id": decision.need_id, "event_key": decision.event_key, "now": now}
    )
    movements = [Movement(line.fund_id, "release", line.amount_rupiah) for line in lines]
    if movements:
        move_money(connection, movements, cause=Cause("event", decision.event_key), recorded_at=now)


def _refuse(entry: _Entry, report: WorkerReport, reason: str, detail: str) -> None:
    entry.outcome = REFUSED
    entry.refusal = refuse_event(report.envelope, reason, detail)


def _write_worker_columns(reports: Sequence[WorkerReport]) -> dict[str, str]:
    return {
        "nik_hashes": write_bytes([report.nik_hash for report in reports]),
        "niks": write_bytes([report.nik_encrypted for report in reports]),
        "key_ids": write_codes([report.nik_key_id for report in reports]),
        "names": write_bytes([report.name_encrypted for report in reports]),
        "villages": write_codes([report.village for report in reports]),
        "occupations": write_texts([report.occupation for report in reports]),
        "sexes": write_codes([report.sex for report in reports]),
        "birth_years": write_numbers([report.birth_year for report in reports]),
        "bases": write_numbers([report.declared_base_rupiah for report in reports]),
        "times": write_codes([report.envelope.time.isoformat() for report in reports]),
    }


def _write_event_columns(reports: Sequence[WorkerReport]) -> dict[str, str]:
    envelopes = [report.envelope for report in reports]
    messages = [envelope.message for envelope in envelopes]
    return {
        "programmes": write_numbers([report.programmes for report in reports]),
        "months": write_numbers([report.months for report in reports]),
        "start_months": write_codes([f"{report.start_month}-01" for report in reports]),
        "priorities": write_numbers([report.priority for report in reports]),
        "keys": write_codes([report.event_key.hex for report in reports]),
        "types": write_texts([envelope.type for envelope in envelopes]),
        "sources": write_texts([envelope.source for envelope in envelopes]),
        "ids": write_texts([envelope.id for envelope in envelopes]),
        "hashes": write_bytes([report.content_hash for report in reports]),
        "logs": write_texts([message.log_id for message in messages]),
        "topics": write_texts([message.topic for message in messages]),
        "partitions": write_numbers([message.partition for message in messages]),
        "offsets": write_numbers([message.offset for message in messages]),
    }
