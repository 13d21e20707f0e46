"""Array literals arrive in PostgreSQL as the values they were written from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from models.database import open_engine
from models.pg_array import write_bytes, write_numbers, write_texts


@pytest.fixture(scope="module")
def connection(module_database_url: str) -> Iterator[Connection]:
    engine = open_engine(module_database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def read_back(connection: Connection, literal: str, kind: str) -> list[object]:
    return list(connection.scalar(text(f"SELECT CAST(:literal AS {kind}[])"), {"literal": literal}))


# PostgreSQL's text holds everything but NUL and lone surrogates.
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(texts | st.none(), max_size=5))
@example(["NULL", "null", None, "", " ", '"', "\\", "{}", "a,b", "a\\b", '\\"'])
def test_any_text(connection: Connection, values: list[str | None]) -> None:
    assert read_back(connection, write_texts(values), "text") == values


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=20) | st.none(), max_size=5))
def test_any_bytes(connection: Connection, values: list[bytes | None]) -> None:
    found = read_back(connection, write_bytes(values), "bytea")
    assert [None if value is None else bytes(value) for value in found] == values  # type: ignore[call-overload]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), max_size=5))
def test_any_number(connection: Connection, values: list[int | None]) -> None:
    assert read_back(connection, write_numbers(values), "int8") == values
