"""Reading: rows of a query as the visitor may see them, one or page by page."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from sqlalchemy import text

from portal.access import NotFoundError
from portal.api.collection import Asked, read_page
from portal.unit import open_unit
from workflow.sign_in import Visitor


def page_of(
    request: Request,
    visitor: Visitor,
    sql: str,
    keys: dict[str, str],
    asked: Asked,
    *,
    descending: bool = False,
    **parameters: Any,
) -> dict[str, Any]:
    """A page of ``sql`` in the order of ``keys``, as ``portal.api.collection.read_page`` has it."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        rows, following = read_page(connection, sql, keys, asked, descending=descending, **parameters)
    return {"items": [dict(row) for row in rows], "next": following}


def one_of(request: Request, visitor: Visitor, sql: str, **parameters: Any) -> dict[str, Any]:
    """The one row of ``sql``. Raises ``NotFoundError`` when there is none that the visitor may see."""
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        row = connection.execute(text(sql), parameters).mappings().one_or_none()
    if row is None:
        raise NotFoundError
    return dict(row)
