"""Regions: provinces, regencies, districts and villages by Kemendagri code.

A code tells its ancestors: ``64.02.05.2001`` is a village of district ``64.02.05`` in regency
``64.02`` in province ``64``. The table is ``models/data/regions.csv``; see NOTICE for its source.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from sqlalchemy import Connection, select

from models.tables import Region as RegionRow

_FILE = "regions.csv"
_FORMER_DISTRICTS_FILE = "former_districts.csv"
_NIK_PLACES_FILE = "nik_places.csv"


@dataclass(frozen=True, slots=True)
class Region:
    """One row: ``level`` is province, regency, district or village; ``kind`` desa or kelurahan."""

    code: str
    name: str
    level: str
    parent: str | None
    kind: str | None = None


class RegionTable:
    """Look-up by code. Built once per process and handed around; immutable."""

    def __init__(
        self,
        regions: Iterable[Region],
        *,
        former_districts: Iterable[str] = (),
        nik_places: Iterable[str] = (),
    ) -> None:
        self._regions: Mapping[str, Region] = {region.code: region for region in regions}
        self._villages = frozenset(
            code for code, region in self._regions.items() if region.level == "village"
        )
        self._districts = frozenset(
            code for code, region in self._regions.items() if region.level == "district"
        )
        self._regencies_with_districts = frozenset(code[:5] for code in self._districts)
        self._former_districts = frozenset(former_districts)
        self._nik_places = frozenset(nik_places)

    @classmethod
    def load(cls) -> RegionTable:
        """The table that ships with Gotong. Raises ``FileNotFoundError`` when a data file is missing."""
        return cls(
            load_regions(),
            former_districts=(row["code"] for row in _read_csv(_FORMER_DISTRICTS_FILE)),
            nik_places=(row["code"] for row in _read_csv(_NIK_PLACES_FILE)),
        )

    @classmethod
    def read(cls, connection: Connection) -> RegionTable:
        """The table as the database has it, with the shipped notes on old codes."""
        rows = connection.execute(
            select(RegionRow.code, RegionRow.name, RegionRow.level, RegionRow.parent_code, RegionRow.kind)
        )
        return cls(
            (Region(*row) for row in rows),
            former_districts=(row["code"] for row in _read_csv(_FORMER_DISTRICTS_FILE)),
            nik_places=(row["code"] for row in _read_csv(_NIK_PLACES_FILE)),
        )

    def __len__(self) -> int:
        return len(self._regions)

    def known(self, code: str) -> bool:
        """Whether a region of any level has this code."""
        return code in self._regions

    def is_village(self, code: str) -> bool:
        """Whether this is the code of a village."""
        return code in self._villages

    def name(self, code: str) -> str:
        """The region's name. Raises ``KeyError`` for an unknown code."""
        return self._regions[code].name

    def region(self, code: str) -> Region:
        """The region itself. Raises ``KeyError`` for an unknown code."""
        return self._regions[code]

    def inside(self, prefix: str, level: str) -> list[Region]:
        """Regions of ``level`` at or below the region ``prefix``, by code."""
        return sorted(
            (
                region
                for region in self._regions.values()
                if region.level == level and (region.code == prefix or region.code.startswith(f"{prefix}."))
            ),
            key=lambda region: region.code,
        )

    @staticmethod
    def district_of(village: str) -> str:
        """``64.02.05`` of ``64.02.05.2001``."""
        return village[:8]

    @staticmethod
    def regency_of(code: str) -> str:
        """``64.02`` of any code inside that regency."""
        return code[:5]

    def issues_nik(self, district: str) -> bool:
        """Whether NIK may begin with ``district`` (``64.02.05``), as far as this table can tell.

        A regency whose districts are not in the table gets the benefit of the doubt. Codes of
        districts that were merged or renumbered are in ``former_districts.csv``: a NIK is for life.
        """
        return (
            district in self._districts
            or district in self._former_districts
            or district[:5] not in self._regencies_with_districts
        )

    def is_nik_place(self, regency: str) -> bool:
        """Whether ``regency`` (``64.02``) is known to issue NIK; python-stdnum knows the older ones."""
        return regency in self._nik_places or regency in self._regencies_with_districts


@cache
def load_regions() -> tuple[Region, ...]:
    """The rows of the shipped table, parents before children, read once. Raises ``FileNotFoundError``."""
    return tuple(
        Region(row["code"], row["name"], row["level"], row["parent"] or None, row["kind"] or None)
        for row in sorted(_read_csv(_FILE), key=lambda row: (len(row["code"]), row["code"]))
    )


def _read_csv(name: str) -> list[dict[str, str]]:
    text = (resources.files("models.data") / name).read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))
