"""Load regions: bring the region table and the served regencies into the database.

Codes are official and outlive names, so a region is only ever added or renamed here, never removed: needs,
workers and funds refer to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection, Engine, text

from models.region import Region
from models.region import load_regions as read_regions

#: Kalimantan Timur keeps Central Indonesia Time (WITA), which has no daylight saving.
TIMEZONE_OF_PROVINCE: Final = {"64": "Asia/Makassar"}

_LEVELS: Final = ("province", "regency", "district", "village")

_UPSERT_REGIONS = text(
    """
    INSERT INTO region AS known (code, name, level, parent_code, kind)
    SELECT code, name, level, parent, kind
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


def known_regencies() -> tuple[str, ...]:
    """Codes of the regencies and cities that can be served: their villages are in the table."""
    return tuple(region.code for region in read_regions() if region.level == "regency")


def load_regions(engine: Engine, regencies: Iterable[str]) -> int:
    """Upsert every region, and the served regencies with their time zone; return how many rows changed.

    Runs in one transaction and changes nothing when repeated. Raises ``ValueError`` for a regency outside the
    table.
    """
    served = tuple(dict.fromkeys(regencies))
    regions = read_regions()
    known = {region.code for region in regions if region.level == "regency"}
    unknown = [code for code in served if code not in known]
    if unknown:
        raise ValueError(f"no such regency in the region table: {', '.join(unknown)}")
    with engine.begin() as connection:
        changed = 0
        for level in _LEVELS:
            changed += _upsert_level(connection, [region for region in regions if region.level == level])
        result = connection.execute(
            _UPSERT_REGENCIES,
            {"codes": list(served), "timezones": [TIMEZONE_OF_PROVINCE[code[:2]] for code in served]},
        )
    return changed + result.rowcount


def _upsert_level(connection: Connection, regions: list[Region]) -> int:
    columns = {"codes": "code", "names": "name", "levels": "level", "parents": "parent", "kinds": "kind"}
    given = {
        parameter: [getattr(region, column) for region in regions] for parameter, column in columns.items()
    }
    return connection.execute(_UPSERT_REGIONS, given).rowcount
