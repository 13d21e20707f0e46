"""Snapshot: read one regency's open needs and funds, and state them as a problem.

Rows leave PostgreSQL as a binary COPY of integers straight into a NumPy array:
a million needs are read in about the time of a sequential scan, without a
million Python tuples. Binary format: PostgreSQL documentation, "COPY", File
Formats; every column is cast to ``int8`` and never NULL, so rows have one width.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select, text

from models.programme import bundle_of_mask
from models.tables import Fund
from models.tariff import (
    FundCostKey,
    Payer,
    TariffTable,
    WorkerCostKey,
    month_of,
    sector_of_occupation,
)
from optimizer.problem import NONE, AllocationProblem, FundKind, Funds, Int64, Sex, Workers

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
    SELECT p.fund_id, n.district_code, count(*) AS heads
    FROM proposal p JOIN coverage_need n ON n.id = p.need_id
    LEFT JOIN batch_claim c ON c.run_id = p.run_id AND c.fund_id = p.fund_id
        AND c.district_code = n.district_code AND c.lapses_at > now()
    WHERE n.regency_code = :regency
        AND (p.state IN ('confirming', 'approved', 'enrolled')
             OR p.state = 'proposed' AND c.run_id IS NOT NULL)
    GROUP BY p.fund_id, n.district_code
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

    ``needs`` has one record per worker of the problem, fields as in ``_NEED_COLUMNS``.
    ``reasons`` maps the hash in ``needs["reason"]`` to its text.
    """

    regency: str
    problem: AllocationProblem
    needs: npt.NDArray[np.void]
    fund_ids: Int64
    fund_codes: tuple[str, ...]
    fund_revisions: tuple[int, ...]
    villages: tuple[str, ...]
    districts: tuple[str, ...]
    occupations: tuple[str, ...]
    reasons: dict[int, str]


def read_snapshot(connection: Connection, regency: str, tariffs: TariffTable, today: dt.date) -> Snapshot:
    """Read the regency's open needs and its funds as they stand in this transaction.

    The caller opens the transaction REPEATABLE READ, so that needs and funds belong together.
    ``today`` is the regency's own date (ages are counted on it).
    """
    villages = connection.scalars(
        text("SELECT code FROM region WHERE level = 'village' AND code LIKE :under ORDER BY code"),
        {"under": f"{regency}.%"},
    ).all()
    districts = sorted({code[:8] for code in villages})
    needs = _copy_integers(connection, _NEEDS.format(regency=_checked(regency)), _NEED_COLUMNS)
    occupations = _texts_by_hash(connection, "SELECT DISTINCT occupation FROM worker")
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
    used = np.zeros((len(funds), len(districts)), dtype=np.int64)
    fund_at = {fund.id: index for index, fund in enumerate(funds)}
    district_at = {code: index for index, code in enumerate(districts)}
    for row in connection.execute(_USED_HEADS, {"regency": regency}):
        used[fund_at[row.fund_id], district_at[row.district_code]] = row.heads

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
    worker_keys = [
        WorkerCostKey(bundle_of_mask(mask), months, start, sector_words[where], base)
        for mask, months, start, where, base in classes.tolist()
    ]
    fund_keys = [
        FundCostKey(
            Payer(fund.kind),
            switches=_CSR_DISCOUNT if fund.jkk_jkm_discount else frozenset(),
        )
        for fund in funds
    ]
    distinct_keys = list(dict.fromkeys(fund_keys))
    held = np.zeros(len(funds), dtype=np.int64)
    sits = needs["fund_id"] >= 0
    current = np.full(len(needs), NONE, dtype=np.int32)
    current[sits] = np.searchsorted(fund_ids, needs["fund_id"][sits])
    np.add.at(held, current[sits], needs["proposed_rupiah"][sits])
    available = np.array(
        [
            fund.pledged_rupiah
            - fund.reserved_rupiah
            - fund.committed_rupiah
            - fund.disbursed_rupiah
            - fund.expired_rupiah
            for fund in funds
        ],
        dtype=np.int64,
    )
    known_year = needs["birth_year"] > 0
    age = np.where(known_year, today.year - needs["birth_year"], NONE).astype(np.int16)
    occupation_allowed = _allowed(
        [fund.occupations for fund in funds], occupation_words, lambda word, listed: word == listed
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
    for word, *refusing in kinds:
        column = occupation_allowed[:, [word]].copy()
        column[refusing] = False
        occupation_allowed = np.hstack([occupation_allowed, column])
        occupation_words.append(occupation_words[word])
    problem = AllocationProblem(
        workers=Workers(
            village=np.searchsorted(village_numbers, needs["village"]).astype(np.int32),
            occupation=occupation.astype(np.int32),
            bundle=bundle.reshape(-1).astype(np.int32),
            months=needs["months"].astype(np.int32),
            start_month=needs["start_month"].astype(np.int32),
            priority=needs["priority"].astype(np.int32),
            sex=needs["sex"].astype(np.int8),
            age=age,
            cost_class=cost_class.reshape(-1).astype(np.int32),
            current_fund=current,
        ),
        funds=Funds(
            kind=np.array(
                [FundKind.APBD if fund.kind == "apbd" else FundKind.CSR for fund in funds], dtype=np.int8
            ),
            amount_rupiah=available + held,
            village_allowed=_allowed(
                [fund.regions for fund in funds],
                villages,
                lambda code, prefix: code == prefix or code.startswith(prefix + "."),
            ),
            occupation_allowed=occupation_allowed,
            bundle_allowed=np.array(
                [[not fund.programmes or (mask & ~fund.programmes) == 0 for mask in masks] for fund in funds],
                dtype=np.bool_,
            ).reshape(len(funds), len(masks)),
            max_months=_or_none([fund.max_months for fund in funds], np.int32),
            sex_allowed=np.array(
                [
                    [not fund.sexes or (sex.name in fund.sexes) for sex in (Sex.UNKNOWN, Sex.L, Sex.P)]
                    for fund in funds
                ],
                dtype=np.bool_,
            ).reshape(len(funds), 3),
            age_from=_or_none([fund.age_from for fund in funds], np.int16),
            age_to=_or_none([fund.age_to for fund in funds], np.int16),
            window_from=_or_none([month_of(fund.window_from) for fund in funds], np.int32),
            window_to=_or_none([month_of(fund.window_to) for fund in funds], np.int32),
            head_count_cap=_or_none([fund.head_count_cap for fund in funds], np.int64),
            district_cap=_or_none([fund.district_cap for fund in funds], np.int64),
            min_workers=_or_none([fund.min_workers for fund in funds], np.int64),
            heads_used=used,
            expiry_rank=np.unique([month_of(fund.window_to) for fund in funds], return_inverse=True)[1]
            .reshape(-1)
            .astype(np.int32),
            cost_class=np.array([distinct_keys.index(key) for key in fund_keys], dtype=np.int32),
        ),
        district_of_village=np.array([district_at[code[:8]] for code in villages], dtype=np.int32),
        districts=len(districts),
        cost_rupiah=tariffs.cost_matrix(worker_keys, distinct_keys),
    )
    return Snapshot(
        regency,
        problem,
        needs,
        fund_ids,
        tuple(fund.code for fund in funds),
        tuple(fund.revision for fund in funds),
        tuple(villages),
        tuple(districts),
        tuple(occupation_words),
        reasons,
    )


def _copy_integers(connection: Connection, query: str, columns: Sequence[str]) -> npt.NDArray[np.void]:
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


def _checked(regency: str) -> str:
    """The code, proven to be nothing but digits and dots: COPY takes no parameters."""
    if not regency.replace(".", "").isdigit():
        raise ValueError(f"not a regency code: {regency!r}")
    return regency


def _allowed(
    lists: Sequence[Sequence[str]], values: Sequence[str], accepts: Callable[[str, str], bool]
) -> npt.NDArray[np.bool_]:
    """Shape len(lists) x len(values): an empty allow-list accepts every value."""
    return np.array(
        [
            [not listed or any(accepts(value, entry) for entry in listed) for value in values]
            for listed in lists
        ],
        dtype=np.bool_,
    ).reshape(len(lists), len(values))


def _or_none(values: Sequence[int | None], kind: type[np.signedinteger]) -> npt.NDArray[np.signedinteger]:
    return np.array([NONE if value is None else value for value in values], dtype=kind)
