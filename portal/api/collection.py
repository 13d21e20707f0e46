"""Collection: rows of a query page by page, after the last row seen instead of after a number of rows.

The cursor says which row was last; rows that come or go meanwhile neither repeat nor hide others.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import orjson
from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Connection, RowMapping, Select, cast, text, tuple_
from sqlalchemy.exc import DataError

from portal.api.problem import ProblemError

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """Some items in order, and the cursor of the page that follows; null on the last page."""

    items: list[Item]
    next: str | None


@dataclass(frozen=True, slots=True)
class Asked:
    """Which page is asked for."""

    cursor: str | None
    limit: int


def read_asked(
    cursor: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Asked:
    """The page's place from the address."""
    return Asked(cursor, limit)


def read_page(
    connection: Connection,
    sql: str,
    keys: Mapping[str, str],
    asked: Asked,
    *,
    descending: bool = False,
    **parameters: Any,
) -> tuple[Sequence[RowMapping], str | None]:
    """Rows of ``sql`` in the order of ``keys`` (column to its PostgreSQL type; unique together).

    Raises :class:`ProblemError` for a cursor that this collection did not give.
    """
    names, after = ", ".join(keys), ""
    if asked.cursor is not None:
        last = _open_cursor(asked.cursor, len(keys))
        marks = ", ".join(f"CAST(:key{at} AS {kind})" for at, kind in enumerate(keys.values()))
        after = f"WHERE ({names}) {'<' if descending else '>'} ({marks})"
        parameters |= {f"key{at}": value for at, value in enumerate(last)}
    way = " DESC" if descending else ""
    order = ", ".join(name + way for name in keys)
    statement = text(f"SELECT * FROM ({sql}) AS found {after} ORDER BY {order} LIMIT :limit")  # noqa: S608
    try:
        rows = connection.execute(statement, {**parameters, "limit": asked.limit + 1}).mappings().all()
    except DataError:
        if asked.cursor is None:
            raise
        raise _unknown_cursor() from None
    shown = rows[: asked.limit]
    more = len(rows) > asked.limit
    return shown, _make_cursor([str(shown[-1][name]) for name in keys]) if more else None


def cut_page(
    rows: Sequence[dict[str, Any]], keys: Sequence[str], asked: Asked
) -> tuple[Sequence[dict[str, Any]], str | None]:
    """As :func:`read_page`, of rows that are at hand; ``keys`` are texts, unique together."""
    last = [] if asked.cursor is None else _open_cursor(asked.cursor, len(keys))
    placed = sorted(([row[name] for name in keys], at) for at, row in enumerate(rows))
    after = [at for key, at in placed if key > last]
    shown = [rows[at] for at in after[: asked.limit]]
    more = len(after) > asked.limit
    return shown, _make_cursor([shown[-1][name] for name in keys]) if more else None


def read_selection(
    connection: Connection, statement: Select[Any], keys: Sequence[Any], asked: Asked
) -> tuple[Sequence[RowMapping], str | None]:
    """As :func:`read_page`, of a statement and columns of it that are unique together."""
    if asked.cursor is not None:
        last = _open_cursor(asked.cursor, len(keys))
        marks = [cast(value, column.type) for value, column in zip(last, keys, strict=True)]
        statement = statement.where(tuple_(*keys) > tuple_(*marks))
    try:
        rows = connection.execute(statement.order_by(*keys).limit(asked.limit + 1)).mappings().all()
    except DataError:
        if asked.cursor is None:
            raise
        raise _unknown_cursor() from None
    shown = rows[: asked.limit]
    more = len(rows) > asked.limit
    return shown, _make_cursor([str(shown[-1][column.name]) for column in keys]) if more else None


def _make_cursor(last: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(last)).decode().rstrip("=")


def _open_cursor(cursor: str, length: int) -> list[str]:
    try:
        last = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        last = None
    if (
        not isinstance(last, list)
        or len(last) != length
        or not all(isinstance(value, str) and "\0" not in value for value in last)
    ):
        raise _unknown_cursor()
    return last


def _unknown_cursor() -> ProblemError:
    return ProblemError(422, "cursor_unknown", "This cursor was not given by this collection")
