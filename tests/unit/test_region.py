"""The region table as it ships."""

from __future__ import annotations

import pytest

from models.region import Region, RegionTable

REGIONS = RegionTable.load()


def test_kutai_kartanegara_has_its_districts_and_villages() -> None:
    villages = REGIONS.inside("64.02", "village")
    assert len(REGIONS.inside("64.02", "district")) == 20
    assert len(villages) == 237
    assert sum(village.kind == "kelurahan" for village in villages) == 44
    assert all(REGIONS.known(REGIONS.district_of(village.code)) for village in villages)


def test_a_code_tells_its_ancestors() -> None:
    assert REGIONS.district_of("64.02.05.2001") == "64.02.05"
    assert REGIONS.regency_of("64.02.05.2001") == "64.02"
    assert REGIONS.region("64.02.05").parent == "64.02"


def test_only_a_village_is_a_village() -> None:
    assert REGIONS.is_village("64.02.05.2001")
    assert not REGIONS.is_village("64.02.05") and not REGIONS.is_village("64.02.05.9999")


def test_a_prefix_does_not_reach_into_a_region_with_a_longer_name() -> None:
    table = RegionTable([Region("64.1", "A", "regency", None), Region("64.10", "B", "regency", None)])
    assert [region.code for region in table.inside("64.1", "regency")] == ["64.1"]


def test_an_unknown_code_has_no_name() -> None:
    with pytest.raises(KeyError):
        REGIONS.name("99.99")
