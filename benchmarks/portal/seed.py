"""A regency of a million workers and 200 funds, made in the database by set-based statements.

Every table that a page reads is filled the way the steps of ``workflow`` would have left it: lines and
their decisions, months, enrolment files and answers, one journal with its chain, the chain of records,
alerts judged from the figures. ``workflow.audit`` finds nothing to say about it. Foreign keys and indexes of
the large tables are taken off and put back, which checks them against every row at once. Only the verifier's
village has names and NIKs that open; everywhere else stand random bytes of a similar length.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import orjson
from sqlalchemy import Connection, Engine, text

from benchmarks.intake.events import nik_of
from models.journal import CHAIN_START, Cause, chain_entry, fold_entries
from models.vault import Vault, decode_base64
from optimizer.policy import Policy
from workflow.alert_schedule import judge_minute
from workflow.load_regions import load_regions
from workflow.policy_versions import read_policy_in_force
from workflow.raise_alert import lock_scope
from workflow.record import seal_record

REGENCY: Final = "64.02"
VILLAGE: Final = "64.02.05.2001"
COMPANY: Final = "0013000666091000"
FUNDS: Final = 200
#: Each of these funds has proposed lines of one district alone: one batch of ``BATCH_LINES`` each.
BATCH_FUNDS: Final = 12
BATCH_LINES: Final = 10_000
#: Of those, the last ones let one officer sign alone.
SIGNED_ALONE: Final = 4

_RUNS: Final = 12
_COMPANY_FUNDS: Final = 3
_LARGE: Final = (
    "worker",
    "coverage_need",
    "proposal",
    "funded_month",
    "decision_line",
    "enrolment_line",
    "inbox_event",
)

_OCCUPATIONS: Final = (
    "ARRAY['farmer','fisher','labourer','driver','trader','religious_worker','village_worker','gardener']"
)

# Of a hundred workers of each village 30 wait, 30 are proposed, 20 approved, 18 enrolled, 2 closed.
_PLAN: Final = f"""
    CREATE TEMP TABLE plan AS
    WITH place AS (
        SELECT code, left(code, 8) AS district, row_number() OVER (ORDER BY code) - 1 AS n,
               count(*) OVER () AS places
        FROM region WHERE level = 'village' AND code LIKE '{REGENCY}.%'
    ), need AS (
        SELECT i, p.code AS village, p.district, i / p.places AS serial,
               ((i::int8 * 2654435761) >> 7) % {FUNDS - BATCH_FUNDS} AS spread
        FROM generate_series(0, :workers - 1) AS i JOIN place p ON p.n = i % p.places
    ), stated AS (
        SELECT *, CASE WHEN serial % 100 < 30 THEN 'waiting' WHEN serial % 100 < 60 THEN 'proposed'
                       WHEN serial % 100 < 80 THEN 'approved' WHEN serial % 100 < 98 THEN 'enrolled'
                       ELSE 'closed' END AS state,
               (ARRAY[3,3,3,3,3,6,6,6,6,12])[1 + spread % 10] AS months
        FROM need
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY district, state ORDER BY i) AS rank FROM stated
    ), large AS (
        SELECT district, row_number() OVER (ORDER BY count(*) DESC, district) AS place
        FROM place GROUP BY district
    )
    SELECT r.i, r.i + 1 AS id, r.village, r.district, r.state, r.months, r.spread,
           CASE WHEN r.state IN ('waiting', 'closed') THEN NULL
                WHEN r.state = 'proposed' AND r.rank <= {BATCH_LINES} AND l.place <= {BATCH_FUNDS}
                THEN l.place ELSE {BATCH_FUNDS + 1} + r.spread END AS fund,
           CASE r.state WHEN 'proposed' THEN {_RUNS} - (r.rank > {BATCH_LINES})::int * (r.spread % 2)
                        WHEN 'approved' THEN 7 + r.spread % 4
                        WHEN 'enrolled' THEN 1 + r.spread % 6 END AS run
    FROM ranked r JOIN large l USING (district)
"""
_STATEMENTS: Final = (
    "SET LOCAL maintenance_work_mem = '512MB'",
    "SET LOCAL work_mem = '256MB'",
    _PLAN,
    "ANALYZE plan",
    """
    CREATE TEMP TABLE run AS
    SELECT r AS number, gen_random_uuid() AS id, :now - make_interval(days => 5 * (:runs - r + 1)) AS at
    FROM generate_series(1, :runs) AS r
    """,
    """
    INSERT INTO allocation_run (id, regency_code, generation, policy, status, needs, proposed, changed, tiers,
                                started_at, finished_at)
    SELECT id, :regency, number, CAST(:policy AS jsonb), 'FEASIBLE', :workers, :workers / 3, :workers / 10,
           '[{"name": "coverage", "value": 38581819, "bound": 38612676, "gap": 0.0008,'
           ' "seconds": 10.4, "proven": false}]',
           at - interval '40 s', at
    FROM run
    """,
    "UPDATE regency SET generation = :runs WHERE code = :regency",
    """
    INSERT INTO fund (code, regency_code, kind, name, funder, npwp, fiscal_year, account_code, ceiling_rupiah,
                      released_rupiah, revision, window_from, window_to, regions, occupations, programmes,
                      sexes, four_eyes_above_rupiah)
    SELECT CASE WHEN budget THEN 'APBD-' ELSE 'CSR-' END || to_char(n, 'FM000'), :regency,
           CASE WHEN budget THEN 'apbd' ELSE 'csr' END,
           CASE WHEN budget THEN 'Pos anggaran ' ELSE 'PT Contoh ' END || n,
           CASE WHEN NOT budget THEN 'PT Contoh ' || CASE WHEN own THEN 'Utama' ELSE n::text END END,
           CASE WHEN own THEN CAST(:company AS text)
                WHEN NOT budget THEN to_char(20000000000000 + n, 'FM0000000000000000') END,
           CASE WHEN budget THEN 2026 END, CASE WHEN budget THEN '5.1.02.' || n END,
           CASE WHEN budget THEN 0 END, CASE WHEN budget THEN 0 END, 1, date '2026-01-01', date '2027-12-01',
           '{}', '{}', 0, '{}',
           CASE WHEN n BETWEEN :alone AND :batch_funds THEN 1000000000000
                WHEN n < :alone THEN 1000000 ELSE 50000000 END
    FROM (SELECT n, n > :funds - 4 AS budget, n BETWEEN :batch_funds AND :last_own AS own
          FROM generate_series(1, :funds) AS n) AS numbered
    ORDER BY n
    """,
    f"""
    INSERT INTO worker (id, nik_hash, nik_encrypted, nik_key_id, name_encrypted, village_code, occupation,
                        sex,                         birth_year, declared_base_rupiah, reported_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, sha256(convert_to(i::text, 'UTF8')), sha256(convert_to('n' || i, 'UTF8')), 'seeded',
           sha256(convert_to('name' || i, 'UTF8')), village, ({_OCCUPATIONS})[1 + i % 8],
           CASE WHEN i % 3 = 0 THEN 'P' ELSE 'L' END, 1960 + i % 45, 1000000,
           :now - make_interval(days => 30 + (i % 90)::int)
    FROM plan ORDER BY i
    """,
    """
    INSERT INTO coverage_need (id, worker_id, regency_code, district_code, village_code, programmes, months,
                               start_month, priority, state, version, unfunded_reason, reported_at,
                               registered_at, changed_at)
    OVERRIDING SYSTEM VALUE
    SELECT id, id, :regency, district, village, CASE WHEN spread % 4 = 0 THEN 7 ELSE 3 END, months,
           CASE state WHEN 'enrolled' THEN date '2026-06-01' ELSE date '2026-12-01' END, 1 + i % 100, state,
           3, CASE state WHEN 'waiting'
                         THEN (ARRAY['outbid','region_accepted','months_within_limit'])[1 + i % 3]
                         WHEN 'closed' THEN 'moved_away' END,
           at, at, at
    FROM (SELECT *, :now - make_interval(days => 70 + (i % 50)::int) AS at FROM plan) AS planned ORDER BY i
    """,
    "ANALYZE coverage_need",
    """
    INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah, state, version, opened_at,
                          asks_points, alternative_fund_id, alternative_points)
    SELECT p.id, p.fund, r.id, p.months,
           p.months * CASE WHEN p.spread % 4 = 0 THEN 36800 ELSE 16800 END, p.state, 1, r.at,
           20 + p.i % 50, CASE WHEN p.i % 5 > 0 THEN 1 + (p.fund + 6) % :funds END,
           CASE WHEN p.i % 5 > 0 THEN (p.i % 7) - 1 END
    FROM plan p JOIN run r ON r.number = p.run ORDER BY p.i
    """,
    # Some lines moved from fund to fund before: the history that today's page reads.
    """
    INSERT INTO proposal (need_id, fund_id, run_id, months, amount_rupiah, state, version, opened_at,
                          closed_at, closed_cause, closed_cause_id)
    SELECT p.id, 1 + (p.fund + 40) % :funds, r.id, p.months, p.months * 16800, 'superseded', 2, r.at, n.at,
           'run', n.id
    FROM plan p JOIN run r ON r.number = p.run - 1 JOIN run n ON n.number = p.run
    WHERE p.i % 7 = 0 AND p.fund IS NOT NULL
    """,
    "ANALYZE proposal",
    """
    INSERT INTO decision (id, idempotency_key, content_hash, action, fund_id, district_code, run_id, officer,
                          lines, amount_rupiah, needs_second, state, second_officer, decided_at, closed_at)
    SELECT gen_random_uuid(), 'seed:' || p.run_id || p.fund_id || n.district_code, sha256('seed'), 'approve',
           p.fund_id, n.district_code, p.run_id, 'petugas.satu@contoh.id', count(*), sum(p.amount_rupiah),
           true, 'done', 'petugas.dua@contoh.id', min(p.opened_at) + interval '2 h',
           min(p.opened_at) + interval '3 h'
    FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    WHERE p.state IN ('approved', 'enrolled') GROUP BY p.run_id, p.fund_id, n.district_code
    """,
    "ANALYZE decision",
    """
    INSERT INTO decision_line (decision_id, proposal_id)
    SELECT d.id, p.id FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    JOIN decision d ON d.run_id = p.run_id AND d.fund_id = p.fund_id AND d.district_code = n.district_code
    WHERE p.state IN ('approved', 'enrolled') ORDER BY d.id, p.id
    """,
    """
    INSERT INTO funded_month (worker_id, programme, month, proposal_id)
    SELECT n.worker_id, b.programme, (n.start_month + make_interval(months => m.month))::date, p.id
    FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    JOIN (VALUES (1), (2), (4), (8)) AS b(programme) ON n.programmes & b.programme <> 0
    CROSS JOIN LATERAL generate_series(0, p.months - 1) AS m(month)
    WHERE p.state IN ('approved', 'enrolled')
    """,
    """
    INSERT INTO enrolment_batch (id, fund_id, officer, lines, total_rupiah, exported_at)
    SELECT gen_random_uuid(), fund_id, 'petugas.satu@contoh.id', count(*), sum(amount_rupiah),
           max(opened_at) + interval '1 day'
    FROM proposal WHERE state = 'enrolled' GROUP BY fund_id
    """,
    """
    INSERT INTO enrolment_answer (id, file_hash, officer, outcomes, imported_at)
    SELECT gen_random_uuid(), sha256(convert_to(id::text, 'UTF8')), officer, '{}',
           exported_at + interval '1 day'
    FROM enrolment_batch
    """,
    """
    INSERT INTO enrolment_line (reference, batch_id, number, proposal_id, answer, answer_months,
                                answer_rupiah, paid_rupiah, paid_months, answered_by)
    SELECT left(b.id::text, 8) || '-' || to_char(row_number() OVER of_batch, 'FM000000'), b.id,
           row_number() OVER of_batch, p.id, 'accepted', p.months, p.amount_rupiah, p.amount_rupiah,
           p.months, a.id
    FROM proposal p JOIN enrolment_batch b ON b.fund_id = p.fund_id
    JOIN enrolment_answer a ON a.file_hash = sha256(convert_to(b.id::text, 'UTF8'))
    WHERE p.state = 'enrolled'
    WINDOW of_batch AS (PARTITION BY b.id ORDER BY p.id)
    """,
    """
    INSERT INTO inbox_event (event_key, type, source, event_id, content_hash, log_id, topic, partition,
                             "offset", outcome, received_at)
    SELECT md5(i::text)::uuid, 'coverage.worker-uncovered.v1', '/registry', i::text, sha256('seed'), 'seed',
           'coverage.worker-uncovered.v1', i % 12, i / 12, 'registered',
           :now - make_interval(days => 70 + (i % 50)::int)
    FROM plan
    """,
    """
    INSERT INTO dead_letter (log_id, topic, partition, "offset", position, reason, detail, headers_encrypted,
                             payload_encrypted, received_at)
    SELECT 'seed', 'coverage.worker-uncovered.v1', 0, 10000000 + n, 0,
           (ARRAY['nik_invalid','village_unknown','malformed_json'])[1 + n % 3], 'seeded', '\\x00', '\\x00',
           :now - make_interval(mins => n)
    FROM generate_series(1, 5000) AS n
    """,
    """
    INSERT INTO pledge_offer (id, funder, funder_name, regency_code, name, amount_rupiah, window_from,
                              window_to, programmes, offered_by, offered_at)
    SELECT gen_random_uuid(), npwp, funder, :regency, 'Tambahan ' || n, 100000000, date '2027-01-01',
           date '2027-12-01', 3, 'orang@contoh.id', :now - make_interval(hours => n)
    FROM fund CROSS JOIN generate_series(1, 2) AS n WHERE kind = 'csr' AND id % 5 = 0 OR npwp = :company
    """,
)


def seed(engine: Engine, vault: Vault, workers: int, now: dt.datetime) -> None:
    """Fill an empty, migrated database. ``workers`` well below a million leave some batches short."""
    load_regions(engine, [REGENCY])
    values = {
        "workers": workers,
        "now": now,
        "runs": _RUNS,
        "regency": REGENCY,
        "policy": orjson.dumps(_policy(engine).to_mapping()).decode(),
        "funds": FUNDS,
        "company": COMPANY,
        "batch_funds": BATCH_FUNDS,
        "alone": BATCH_FUNDS - SIGNED_ALONE + 1,
        "last_own": BATCH_FUNDS + _COMPANY_FUNDS - 1,
    }
    with engine.begin() as connection:
        with _without_checks(connection):
            for statement in _STATEMENTS:
                connection.execute(text(statement), _named_in(statement, values))
            _seal_village(connection, vault)
        for table in ("worker", "coverage_need"):
            connection.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")
            )
        _write_journal(connection, now)
        _write_records(connection)
        lock_scope(connection, REGENCY)
        judge_minute(connection, REGENCY, now)
        connection.execute(_PAST_ALERTS, {"now": now})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE)"))


_PAST_ALERTS = text(
    """
    INSERT INTO alert (id, rule_id, scope, kind, subject, period, severity, state, value, fire, facts,
                       opened_at, resolved_at, resolved_why)
    SELECT gen_random_uuid(), rule_id, scope, kind, subject, period, severity, 'resolved', value, fire, facts,
           :now - make_interval(days => n), :now - make_interval(days => n - 1), 'cleared'
    FROM alert CROSS JOIN generate_series(2, 11) AS n
    """
)


def _policy(engine: Engine) -> Policy:
    return read_policy_in_force(engine, REGENCY)


def _named_in(statement: str, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if f":{name}" in statement}


@contextmanager
def _without_checks(connection: Connection) -> Iterator[None]:
    """Keys and plain indexes of the large tables come back when the rows stand, and check them all."""
    keys = connection.execute(
        text(
            "SELECT conrelid::regclass::text AS owner, conname, pg_get_constraintdef(oid) AS definition"
            " FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text = ANY(:tables)"
        ),
        {"tables": list(_LARGE)},
    ).all()
    indexes = connection.execute(
        text(
            "SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition"
            " FROM pg_index i"
            " WHERE indrelid::regclass::text = ANY(:tables)"
            " AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)"
        ),
        {"tables": list(_LARGE)},
    ).all()
    for key in keys:
        connection.exec_driver_sql(f"ALTER TABLE {key.owner} DROP CONSTRAINT {key.conname}")
    for index in indexes:
        connection.exec_driver_sql(f"DROP INDEX {index.name}")
    yield
    for index in indexes:
        connection.exec_driver_sql(index.definition)
    for key in keys:
        connection.exec_driver_sql(f"ALTER TABLE {key.owner} ADD CONSTRAINT {key.conname} {key.definition}")


def _seal_village(connection: Connection, vault: Vault) -> None:
    """Names and NIKs of the verifier's village, as intake would have sealed them."""
    ids = connection.scalars(
        text("SELECT id FROM worker WHERE village_code = :village"), {"village": VILLAGE}
    ).all()
    rows = []
    for number in ids:
        sealed = vault.seal_worker(nik_of(number), f"Pekerja Contoh {number}")
        assert sealed["name_encrypted"] is not None
        rows.append(
            (
                number,
                bytes.fromhex(sealed["nik_hash"]),
                decode_base64(sealed["nik_encrypted"]),
                sealed["nik_key_id"],
                decode_base64(sealed["name_encrypted"]),
            )
        )
    connection.exec_driver_sql(
        "CREATE TEMP TABLE sealed (id int8, nik_hash bytea, nik bytea, key_id text, name bytea)"
        " ON COMMIT DROP"
    )
    _copy(connection, "sealed", ("id", "nik_hash", "nik", "key_id", "name"), rows)
    connection.exec_driver_sql(
        "UPDATE worker w SET nik_hash = s.nik_hash, nik_encrypted = s.nik, nik_key_id = s.key_id,"
        " name_encrypted = s.name FROM sealed s WHERE s.id = w.id"
    )


# What moved a fund's money, in the order in which it happened.
_MOVEMENTS = text(
    """
    SELECT p.fund_id, 'reserve' AS kind, 'run' AS cause, p.run_id AS cause_id, min(p.opened_at) AS at,
           sum(p.amount_rupiah)::int8 AS amount, 1 AS place
    FROM proposal p GROUP BY p.fund_id, p.run_id
    UNION ALL
    SELECT fund_id, 'release', 'run', closed_cause_id, min(closed_at), sum(amount_rupiah)::int8, 0
    FROM proposal WHERE state = 'superseded' GROUP BY fund_id, closed_cause_id
    UNION ALL
    SELECT fund_id, 'post', 'decision', id, closed_at, amount_rupiah, 2 FROM decision WHERE state = 'done'
    UNION ALL
    SELECT b.fund_id, 'disburse', 'answer', e.answered_by, min(b.exported_at) + interval '1 day',
           sum(e.paid_rupiah)::int8, 3
    FROM enrolment_line e JOIN enrolment_batch b ON b.id = e.batch_id GROUP BY b.fund_id, e.answered_by
    ORDER BY fund_id, at, place, cause_id
    """
)


def _write_journal(connection: Connection, now: dt.datetime) -> None:
    """The entries that the lines add up to, sealed in their chains, and the balances they fold to."""
    moved: defaultdict[int, list[tuple[str, str, uuid.UUID, dt.datetime, int]]] = defaultdict(list)
    for row in connection.execute(_MOVEMENTS):
        moved[row.fund_id].append((row.kind, row.cause, row.cause_id, row.at, row.amount))
    entries: list[tuple[Any, ...]] = []
    balances = []
    for fund_id, code in connection.execute(text("SELECT id, code FROM fund ORDER BY id")).all():
        reserved = sum(amount for kind, *_, amount in moved[fund_id] if kind == "reserve")
        # Some funds are nearly used up, others hardly begun.
        pledge = reserved * (102 + fund_id % 60) // 100 // 1000 * 1000 + 1_000_000
        first = ("pledge", "event", uuid.uuid4(), now - dt.timedelta(days=120), pledge)
        previous = CHAIN_START
        for number, (kind, cause, cause_id, moment, amount) in enumerate((first, *moved[fund_id]), 1):
            sealed = chain_entry(
                previous,
                fund_code=code,
                number=number,
                kind=kind,
                amount_rupiah=amount,
                cause=Cause(cause, cause_id),
                recorded_at=moment,
            )
            entries.append((fund_id, number, kind, amount, cause, cause_id, moment, previous, sealed))
            previous = sealed
        stands = fold_entries((entry[0], entry[4]) for entry in (first, *moved[fund_id]))
        balances.append({"id": fund_id, **{name: getattr(stands, name) for name in stands.__slots__}})
    columns = ("fund_id", "number", "kind", "amount_rupiah", "cause", "cause_id", "recorded_at")
    _copy(connection, "journal_entry", (*columns, "previous_hash", "hash"), entries)
    connection.execute(
        text(
            "UPDATE fund SET pledged_rupiah = :pledged_rupiah, reserved_rupiah = :reserved_rupiah,"
            " committed_rupiah = :committed_rupiah, disbursed_rupiah = :disbursed_rupiah,"
            " expired_rupiah = :expired_rupiah,"
            " ceiling_rupiah = CASE WHEN kind = 'apbd' THEN :pledged_rupiah END,"
            " released_rupiah = CASE WHEN kind = 'apbd' THEN :pledged_rupiah END WHERE id = :id"
        ),
        balances,
    )


def _write_records(connection: Connection) -> None:
    """Both officers' signatures, in one chain."""
    decisions = connection.execute(
        text(
            "SELECT d.id, d.officer, d.second_officer, d.lines, d.amount_rupiah, d.district_code,"
            " d.decided_at,"
            " d.closed_at, f.code FROM decision d JOIN fund f ON f.id = d.fund_id"
        )
    )
    acts = []
    for row in decisions:
        detail = {"fund": row.code, "district": row.district_code, "lines": row.lines}
        acts.append((row.decided_at, row.officer, "approve", row.id, detail))
        acts.append((row.closed_at, row.second_officer, "confirm", row.id, {"lines": row.lines}))
    records: list[tuple[Any, ...]] = []
    previous = CHAIN_START
    for number, (moment, actor, action, subject, detail) in enumerate(
        sorted(acts, key=lambda act: act[0]), 1
    ):
        sealed = seal_record(previous, number, actor, action, str(subject), detail, moment)
        stored = orjson.dumps(detail).decode()
        records.append((number, actor, action, str(subject), stored, moment, previous, sealed))
        previous = sealed
    columns = ("number", "actor", "action", "subject", "detail", "recorded_at", "previous_hash", "hash")
    _copy(connection, "audit_record", columns, records)


def _copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """COPY by way of a temporary table: one with row-level security takes none itself."""
    names = ", ".join(columns)
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE fresh ON COMMIT DROP AS SELECT {names} FROM {table} LIMIT 0"
    )
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor().copy(f"COPY fresh ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    connection.exec_driver_sql(f"INSERT INTO {table} ({names}) SELECT {names} FROM fresh")
    connection.exec_driver_sql("DROP TABLE fresh")
