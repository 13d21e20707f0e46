"""The region table that ships with Gotong, and how it was derived."""

from __future__ import annotations

import collections
import csv
import io
import tarfile
from importlib import resources
from pathlib import Path

import pytest

from tools.derive_regions import COLUMNS, derive_regions


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    text = resources.files("models.data").joinpath("regions.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(io.StringIO(text)))


def test_kutai_kartanegara_has_its_20_districts_and_237_villages(rows: list[dict[str, str]]) -> None:
    inside = [row for row in rows if row["code"].startswith("64.02")]
    counted = collections.Counter((row["level"], row["kind"]) for row in inside)
    assert counted == {
        ("regency", ""): 1,
        ("district", ""): 20,
        ("village", "kelurahan"): 44,
        ("village", "desa"): 193,
    }


def test_east_kalimantan_is_whole_and_every_parent_stands_before_its_children(
    rows: list[dict[str, str]],
) -> None:
    assert collections.Counter(row["level"] for row in rows) == {
        "province": 1,
        "regency": 10,
        "district": 105,
        "village": 1038,
    }
    seen: set[str] = set()
    for row in rows:
        assert row["parent"] in seen if row["parent"] else row["level"] == "province"
        assert row["code"].startswith(row["parent"])
        assert row["name"].strip() == row["name"] != ""
        seen.add(row["code"])
    assert len(seen) == len(rows)


def test_the_derivation_keeps_one_province_and_reads_the_kind_from_the_code(tmp_path: Path) -> None:
    files = {
        "provinces.csv": "code,name\n64,Kalimantan Timur\n11,Aceh\n",
        "regencies.csv": "code,province_code,name\n64.02,64,Kabupaten Kutai  Kartanegara\n11.01,11,X\n",
        "districts.csv": "code,regency_code,name\n64.02.06,64.02,Tenggarong\n11.01.01,11.01,Y\n",
        "villages.csv": "code,district_code,name\n64.02.06.1001,64.02.06,Melayu\n64.02.06.2008,64.02.06,Z\n",
    }
    package = tmp_path / "package.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    derived = [dict(zip(COLUMNS, row, strict=True)) for row in derive_regions(package)]
    assert [row["code"] for row in derived] == ["64", "64.02", "64.02.06", "64.02.06.1001", "64.02.06.2008"]
    assert [row["kind"] for row in derived] == ["", "", "", "kelurahan", "desa"]
    assert derived[1]["name"] == "Kabupaten Kutai Kartanegara"
