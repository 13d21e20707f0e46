"""Snapshot: read one regency's open needs and funds, and state them as a problem.

Rows leave PostgreSQL as a binary COPY of integers straight into a NumPy array:
a million needs are read in about the time of a sequential scan, without a
million Python tuples. Binary format: PostgreSQL documentation, "COPY", File
Formats; every column is cast to ``int8`` and never NULL, so rows have one width.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sqlalchemy import Connection, Row, select, text

from models.programme import bundle_of_mask
from models.tables import Fund
from models.tariff import Payer, TariffTable, WorkerCostKey, month_of, sector_of_occupation
from optimizer.problem import NONE, AllocationProblem, Int64, Workers
from workflow.match_problem import FundTerms, MatchNames, build_funds

#: The switch of models/data/tariffs.csv that a pledge with ``jkk_jkm_discount`` turns on.
_CSR_DISCOUNT = frozenset({"pp50_csr"})

_NEED_COLUMNS = (
    "id",
    "version",
    "village",
    "occupation",
    "sex",
    "birth_year",
    "programmes",
    "months",
    "start_month",
    "priority",
    "base_rupiah",
    "reason",
    "proposal_id",
    "fund_id",
    "proposed_rupiah",
    "proposed_months",
    "outdated",
)

# Occupations and reasons travel as 64-bit hashes and are matched back to their few distinct texts.
_NEEDS = """
    SELECT n.id, n.version, replace(n.village_code, '.', '')::int8, hashtextextended(w.occupation, 0),
           CASE w.sex WHEN 'L' THEN 1 WHEN 'P' THEN 2 ELSE 0 END, coalesce(w.birth_year, -1),
           n.programmes, n.months,
           (extract(year FROM n.start_month) * 12 + extract(month FROM n.start_month) - 1)::int8,
           n.priority, w.declared_base_rupiah, hashtextextended(coalesce(n.unfunded_reason, ''), 0),
           coalesce(p.id, -1), coalesce(p.fund_id, -1), coalesce(p.amount_rupiah, 0), coalesce(p.months, 0),
           coalesce((n.changed_at > p.opened_at)::int, 0)
    FROM coverage_need n
    JOIN worker w ON w.id = n.worker_id
    LEFT JOIN proposal p ON p.need_id = n.id AND p.state IN ('proposed', 'confirming')
    LEFT JOIN batch_claim c ON c.run_id = p.run_id AND c.fund_id = p.fund_id
        AND c.district_code = n.district_code AND c.lapses_at > now()
    WHERE n.regency_code = '{regency}' AND n.state IN ('waiting', 'proposed')
        AND (p.id IS NULL OR p.state = 'proposed' AND c.run_id IS NULL)
    ORDER BY n.id
"""

_USED_HEADS = text(
    """
    SELECT f.code AS fund_code, n.district_code, count(*) AS heads
    FROM proposal p
    JOIN coverage_need n ON n.id = p.need_id
    JOIN fund f ON f.id = p.fund_id
    LEFT JOIN batch_claim c ON c.run_id = p.run_id AND c.fund_id = p.fund_id
        AND c.district_code = n.district_code AND c.lapses_at > now()
    WHERE n.regency_code = :regency
        AND (p.state IN ('confirming', 'approved', 'enrolled')
             OR p.state = 'proposed' AND c.run_id IS NOT NULL)
    GROUP BY f.code, n.district_code
    """
)

# A rejection stands while neither the fund's rules nor what is known of the worker have changed.
_REJECTED = text(
    """
    SELECT r.need_id, array_agg(r.fund_id ORDER BY r.fund_id) AS fund_ids
    FROM rejected_match r
    JOIN fund f ON f.id = r.fund_id AND f.revision = r.fund_revision
    JOIN coverage_need n ON n.id = r.need_id AND n.reported_at = r.need_reported_at
    WHERE n.regency_code = :regency AND n.state IN ('waiting', 'proposed')
    GROUP BY r.need_id
    """
)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """A problem and the way back from its indices to the database's rows.

    ``names`` says what the indices mean (a worker is named by its need's id).
    ``needs`` has one record per worker of the problem, fields as in ``_NEED_COLUMNS``.
    ``reasons`` maps the hash in ``needs["reason"]`` to its text.
    """

    regency: str
    problem: AllocationProblem
    names: MatchNames
    needs: npt.NDArray[np.void]
    fund_ids: Int64
    fund_codes: tuple[str, ...]
    fund_revisions: tuple[int, ...]
    reasons: dict[int, str]


def read_snapshot(connection: Connection, regency: str, tariffs: TariffTable, today: dt.date) -> Snapshot:
    """Read the regency's open needs and its funds as they stand in this transaction.

    The caller opens the transaction REPEATABLE READ, so that needs and funds belong together.
    ``today`` is the regency's own date (ages are counted on it).
    """
    villages = read_villages(connection, regency)
    districts = sorted({code[:8] for code in villages})
    needs = copy_integers(connection, _NEEDS.format(regency=checked_regency(regency)), _NEED_COLUMNS)
    occupations = read_occupations(connection)
    reasons = _texts_by_hash(
        connection,
        "SELECT DISTINCT unfunded_reason FROM coverage_need WHERE unfunded_reason IS NOT NULL"
        " AND state IN ('waiting', 'proposed')",
    )
    reasons |= _texts_by_hash(connection, "SELECT ''")
    funds = connection.execute(
        select(Fund.__table__).where(Fund.regency_code == regency).order_by(Fund.id)
    ).all()
    fund_ids = np.array([fund.id for fund in funds], dtype=np.int64)
    fund_at = {fund.id: index for index, fund in enumerate(funds)}
    district_at = {code: index for index, code in enumerate(districts)}
    used: dict[str, dict[str, int]] = {}
    for row in connection.execute(_USED_HEADS, {"regency": regency}):
        used.setdefault(row.fund_code, {})[row.district_code] = row.heads

    village_numbers = np.array([int(code.replace(".", "")) for code in villages], dtype=np.int64)
    occupation_hashes = np.array(sorted(occupations), dtype=np.int64)
    occupation_words = [occupations[key] for key in occupation_hashes.tolist()]
    rejected = connection.execute(_REJECTED, {"regency": regency}).all()
    masks, bundle = np.unique(needs["programmes"], return_inverse=True)
    occupation = np.searchsorted(occupation_hashes, needs["occupation"])
    sectors = [sector_of_occupation(word) for word in occupation_words]
    sector_words = sorted(set(sectors))
    sector_of = np.array([sector_words.index(sector) for sector in sectors], dtype=np.int64)
    sector = sector_of[occupation] if len(needs) else np.zeros(0, dtype=np.int64)
    classes, cost_class = np.unique(
        np.stack(
            [needs["programmes"], needs["months"], needs["start_month"], sector, needs["base_rupiah"]], axis=1
        ),
        axis=0,
        return_inverse=True,
    )
    # Needs that some funds must not be offered again become occupations of their own kind, which
    # those funds do not accept: the optimiser needs no rule about single needs.
    kinds: dict[tuple[int, ...], int] = {}
    for row in rejected:
        at = int(np.searchsorted(needs["id"], row.need_id))
        if at == len(needs) or needs["id"][at] != row.need_id:
            continue
        kind = (int(occupation[at]), *(fund_at[fund_id] for fund_id in row.fund_ids))
        occupation[at] = kinds.setdefault(kind, len(occupation_words) + len(kinds))

    sits = needs["fund_id"] >= 0
    current = np.full(len(needs), NONE, dtype=np.int32)
    current[sits] = np.searchsorted(fund_ids, needs["fund_id"][sits])
    held = np.zeros(len(funds), dtype=np.int64)
    np.add.at(held, current[sits], needs["proposed_rupiah"][sits])
    terms = tuple(
        read_terms(fund, movable_rupiah) for fund, movable_rupiah in zip(funds, held.tolist(), strict=True)
    )
    names = MatchNames(
        worker_ids=pa.array(needs["id"]).cast(pa.string()),
        funds=terms,
        villages=tuple(villages),
        districts=tuple(districts),
        occupations=tuple(occupation_words + [occupation_words[word] for word, *_ in kinds]),
        bundles=tuple(bundle_of_mask(mask) for mask in masks.tolist()),
        worker_costs=tuple(
            WorkerCostKey(bundle_of_mask(mask), months, start, sector_words[where], base)
            for mask, months, start, where, base in classes.tolist()
        ),
        fund_costs=tuple(dict.fromkeys(fund.cost_key for fund in terms)),
        tariffs=tariffs,
        heads_used=used,
    )
    built = build_funds(terms, names)
    for column, (_, *refusing) in enumerate(kinds, start=len(occupation_words)):
        built.occupation_allowed[refusing, column] = False
    known_year = needs["birth_year"] > 0
    problem = AllocationProblem(
        workers=Workers(
            village=np.searchsorted(village_numbers, needs["village"]).astype(np.int32),
            occupation=occupation.astype(np.int32),
            bundle=bundle.reshape(-1).astype(np.int32),
            months=needs["months"].astype(np.int32),
            start_month=needs["start_month"].astype(np.int32),
            priority=needs["priority"].astype(np.int32),
            sex=needs["sex"].astype(np.int8),
            age=np.where(known_year, today.year - needs["birth_year"], NONE).astype(np.int16),
            cost_class=cost_class.reshape(-1).astype(np.int32),
            current_fund=current,
        ),
        funds=built,
        district_of_village=np.array([district_at[code[:8]] for code in villages], dtype=np.int32),
        districts=len(districts),
        cost_rupiah=tariffs.cost_matrix(names.worker_costs, names.fund_costs),
    )
    return Snapshot(
        regency,
        problem,
        names,
        needs,
        fund_ids,
        tuple(fund.code for fund in funds),
        tuple(fund.revision for fund in funds),
        reasons,
    )


def read_villages(connection: Connection, regency: str) -> Sequence[str]:
    """Codes of the regency's villages, in order."""
    return connection.scalars(
        text("SELECT code FROM region WHERE level = 'village' AND code LIKE :under ORDER BY code"),
        {"under": f"{regency}.%"},
    ).all()


def read_occupations(connection: Connection) -> dict[int, str]:
    """Every occupation a worker was ever reported with, by the 64-bit hash that rows carry."""
    return _texts_by_hash(connection, "SELECT DISTINCT occupation FROM worker")


def read_terms(fund: Row[tuple[object, ...]], movable_rupiah: int) -> FundTerms:
    """A fund's row as terms. What a run may spend: the available balance, and what may still move."""
    promised_rupiah = (
        fund.reserved_rupiah + fund.committed_rupiah + fund.disbursed_rupiah + fund.expired_rupiah
    )
    return FundTerms(
        fund_id=fund.code,
        payer=Payer(fund.kind),
        amount_rupiah=fund.pledged_rupiah - promised_rupiah + movable_rupiah,
        regions=tuple(fund.regions),
        occupations=tuple(fund.occupations),
        programmes=bundle_of_mask(fund.programmes),
        sexes=tuple(fund.sexes),
        age_from=fund.age_from,
        age_to=fund.age_to,
        max_months=fund.max_months,
        head_count_cap=fund.head_count_cap,
        district_cap=fund.district_cap,
        min_workers=fund.min_workers,
        window_from=month_of(fund.window_from),
        window_to=month_of(fund.window_to),
        expires=fund.window_to,
        switches=_CSR_DISCOUNT if fund.jkk_jkm_discount else frozenset(),
    )


def copy_integers(connection: Connection, query: str, columns: Sequence[str]) -> npt.NDArray[np.void]:
    """Rows of ``query`` (integers, none NULL) as a structured array with ``columns`` of int64."""
    casts = ", ".join(f"c{number}::int8" for number in range(len(columns)))
    names = ", ".join(f"c{number}" for number in range(len(columns)))
    statement = f"COPY (SELECT {casts} FROM ({query}) AS q({names})) TO STDOUT (FORMAT BINARY)"  # noqa: S608 - our own text
    driver = connection.connection.driver_connection
    assert driver is not None
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        received = b"".join(bytes(part) for part in copy)
    fields: list[tuple[str, str]] = [("width", ">i2")]
    for name in columns:
        fields += [(f"length_{name}", ">i4"), (name, ">i8")]
    layout = np.dtype(fields)
    body = received[_COPY_HEADER_BYTES:-_COPY_TRAILER_BYTES]
    if len(body) % layout.itemsize:
        raise ValueError(f"binary COPY of {len(body)} bytes is not made of rows of {layout.itemsize} bytes")
    raw = np.frombuffer(body, dtype=layout)
    rows = np.empty(len(raw), dtype=[(name, np.int64) for name in columns])
    for name in columns:
        rows[name] = raw[name]
    return rows


_COPY_HEADER_BYTES = 19  # 11 of signature, 4 of flags, 4 of header extension length (0)
_COPY_TRAILER_BYTES = 2


def _texts_by_hash(connection: Connection, query: str) -> dict[int, str]:
    """Distinct texts by their 64-bit hash; raises ``ValueError`` should two ever share one."""
    statement = f"SELECT q.t, hashtextextended(q.t, 0) FROM ({query}) AS q(t)"  # noqa: S608 - our own text
    rows = connection.execute(text(statement)).all()
    by_hash = {row[1]: row[0] for row in rows}
    if len(by_hash) != len(rows):
        raise ValueError("two texts share a 64-bit hash")
    return by_hash


def checked_regency(regency: str) -> str:
    """The code, proven to be nothing but digits and dots: COPY takes no parameters."""
    if not regency.replace(".", "").isdigit():
        raise ValueError(f"not a regency code: {regency!r}")
    return regency
