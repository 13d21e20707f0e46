"""Derive models/data/regions.csv from the npm package idn-area-data (data: ODbL 1.0, see NOTICE).

    npm pack idn-area-data@4.0.1
    python tools/derive_regions.py idn-area-data-4.0.1.tgz

East Kalimantan (64) is kept whole: the province, its regencies and cities, their districts
and villages. The fourth part of a Kemendagri village code says what the village is: 1xxx a
kelurahan, 2xxx a desa.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tarfile
from pathlib import Path

PROVINCES = ("64",)
COLUMNS = ("code", "name", "level", "parent", "kind")
LEVELS = (  # file, level, column of the parent
    ("provinces.csv", "province", None),
    ("regencies.csv", "regency", "province_code"),
    ("districts.csv", "district", "regency_code"),
    ("villages.csv", "village", "district_code"),
)
KINDS = {"1": "kelurahan", "2": "desa"}


def derive_regions(package: Path, provinces: tuple[str, ...] = PROVINCES) -> list[tuple[str, ...]]:
    """Rows of ``COLUMNS`` for the provinces, ordered by code, so that a parent precedes its children."""
    rows: list[tuple[str, ...]] = []
    with tarfile.open(package) as archive:
        for file_name, level, parent_column in LEVELS:
            member = archive.extractfile(f"package/data/{file_name}")
            if member is None:
                raise SystemExit(f"{package} holds no {file_name}")
            for row in csv.DictReader(io.TextIOWrapper(member, encoding="utf-8", newline="")):
                code = row["code"]
                if code.partition(".")[0] not in provinces:
                    continue
                parent = row[parent_column] if parent_column else ""
                kind = KINDS[code.rpartition(".")[2][0]] if level == "village" else ""
                rows.append((code, " ".join(row["name"].split()), level, parent, kind))
    return sorted(rows)


def main() -> None:
    """Write the table; the default place is where ``models/region.py`` reads it."""
    default = Path(__file__).resolve().parent.parent / "models" / "data" / "regions.csv"
    parser = argparse.ArgumentParser(description="Derive the region table from the idn-area-data package.")
    parser.add_argument("package", type=Path, help="idn-area-data-4.0.1.tgz, from npm pack")
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    rows = derive_regions(options.package)
    with options.out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    print(f"{options.out}: {len(rows)} regions", file=sys.stderr)


if __name__ == "__main__":
    main()
