"""Regions in the database: all of them, once, and repaired when somebody changed one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from models.database import open_engine
from workflow.load_regions import load_regions


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def count(engine: Engine, query: str) -> object:
    with engine.connect() as connection:
        return connection.scalar(text(query))


def test_a_repeat_changes_nothing(engine: Engine) -> None:
    assert load_regions(engine, ["64.02"]) == 1154 + 1
    assert load_regions(engine, ["64.02"]) == 0
    assert count(engine, "SELECT count(*) FROM region WHERE level = 'village' AND code LIKE '64.02.%'") == 237
    assert count(engine, "SELECT timezone FROM regency WHERE code = '64.02'") == "Asia/Makassar"


def test_a_changed_name_is_put_right_and_the_generation_of_a_regency_stays(engine: Engine) -> None:
    load_regions(engine, ["64.02"])
    with engine.begin() as connection:
        connection.execute(text("UPDATE region SET name = 'X' WHERE code = '64.02.06'"))
        connection.execute(text("UPDATE regency SET generation = 7"))
    assert load_regions(engine, ["64.02"]) == 1
    assert count(engine, "SELECT name FROM region WHERE code = '64.02.06'") == "Tenggarong"
    assert count(engine, "SELECT generation FROM regency") == 7


def test_further_regencies_are_added_and_an_unknown_one_is_refused(engine: Engine) -> None:
    load_regions(engine, ["64.02"])
    assert load_regions(engine, ["64.02", "64.72"]) == 1
    with pytest.raises(ValueError, match=r"64\.99"):
        load_regions(engine, ["64.02", "64.99"])
    assert count(engine, "SELECT count(*) FROM regency") == 2
