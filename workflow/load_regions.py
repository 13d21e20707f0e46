"""Load regions: bring the region table and the served regencies into the database.

Codes are official and outlive names, so a region is only ever added or renamed here, never removed: needs,
workers and funds refer to it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from functools import cache
from importlib import resources
from typing import Final

from sqlalchemy import Connection, Engine, text

#: Kalimantan Timur keeps Central Indonesia Time (WITA), which has no daylight saving.
TIMEZONE_OF_PROVINCE: Final = {"64": "Asia/Makassar"}

_LEVELS: Final = ("province", "regency", "district", "village")

_UPSERT_REGIONS = text(
    """
    INSERT INTO region AS known (code, name, level, parent_code, kind)
    SELECT code, name, level, nullif(parent, ''), nullif(kind, '')
    FROM unnest(CAST(:codes AS text[]), CAST(:names AS text[]), CAST(:levels AS text[]),
                CAST(:parents AS text[]), CAST(:kinds AS text[])) AS given(code, name, level, parent, kind)
    ON CONFLICT (code) DO UPDATE
        SET name = excluded.name, level = excluded.level, parent_code = excluded.parent_code,
            kind = excluded.kind
        WHERE (known.name, known.level, known.parent_code, known.kind)
            IS DISTINCT FROM (excluded.name, excluded.level, excluded.parent_code, excluded.kind)
    """
)

_UPSERT_REGENCIES = text(
    """
    INSERT INTO regency (code, timezone)
    SELECT * FROM unnest(CAST(:codes AS text[]), CAST(:timezones AS text[]))
    ON CONFLICT (code) DO UPDATE SET timezone = excluded.timezone
        WHERE regency.timezone IS DISTINCT FROM excluded.timezone
    """
)


@cache
def region_rows() -> tuple[dict[str, str], ...]:
    """Rows of models/data/regions.csv (code, name, level, parent, kind), parents before children."""
    table = resources.files("models.data").joinpath("regions.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(io.StringIO(table)))


def known_regencies() -> tuple[str, ...]:
    """Codes of the regencies and cities that can be served: their villages are in the table."""
    return tuple(row["code"] for row in region_rows() if row["level"] == "regency")


def load_regions(engine: Engine, regencies: Iterable[str]) -> int:
    """Upsert every region, and the served regencies with their time zone; return how many rows changed.

    Runs in one transaction and changes nothing when repeated. Raises ``ValueError`` for a regency outside the
    table.
    """
    served = tuple(dict.fromkeys(regencies))
    unknown = [code for code in served if code not in known_regencies()]
    if unknown:
        raise ValueError(f"no such regency in the region table: {', '.join(unknown)}")
    with engine.begin() as connection:
        changed = 0
        for level in _LEVELS:
            changed += _upsert_level(connection, [row for row in region_rows() if row["level"] == level])
        result = connection.execute(
            _UPSERT_REGENCIES,
            {"codes": list(served), "timezones": [TIMEZONE_OF_PROVINCE[code[:2]] for code in served]},
        )
    return changed + result.rowcount


def _upsert_level(connection: Connection, rows: Sequence[dict[str, str]]) -> int:
    columns = {"codes": "code", "names": "name", "levels": "level", "parents": "parent", "kinds": "kind"}
    given = {parameter: [row[column] for row in rows] for parameter, column in columns.items()}
    return connection.execute(_UPSERT_REGIONS, given).rowcount
