"""Tables that sort, search, filter and page on the server, with their whole state in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request
from sqlalchemy import ColumnElement, Select

PAGE_SIZES: Final = (25, 50, 100)
_PAGES_AT_MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """How a table is shown. Anything else in the address is ignored, so an old link still opens."""

    path: str
    sort: str
    descending: bool
    search: str = ""
    page: int = 1
    size: int = PAGE_SIZES[0]
    filters: Mapping[str, str] = field(default_factory=dict)

    def address(self, **changes: Any) -> str:
        """The same table with changes, for links and exports; a change goes back to the first page."""
        query = {"sort": ("-" if self.descending else "") + self.sort, "q": self.search, "size": self.size}
        query |= dict(self.filters) | ({} if changes else {"page": self.page}) | changes
        kept = {name: value for name, value in query.items() if value not in ("", None)}
        return f"{self.path}?{urlencode(kept)}"

    def sorted_by(self, column: str) -> str:
        """The address that sorts by a column, the other way round when it does so already."""
        turned = column == self.sort and not self.descending
        return self.address(sort=("-" if turned else "") + column)

    def aria_sort(self, column: str) -> str:
        """The ``aria-sort`` of the column's header."""
        if column != self.sort:
            return "none"
        return "descending" if self.descending else "ascending"

    def order(self, statement: Select[Any], columns: Mapping[str, Any], tie: Any) -> Select[Any]:
        """Sort a statement; ``tie`` is unique, so that no row is on two pages."""
        by = columns[self.sort]
        return statement.order_by(by.desc().nulls_last() if self.descending else by.asc().nulls_last(), tie)

    def cut(self, statement: Select[Any]) -> Select[Any]:
        """Only this page's rows, and one more that tells whether another page follows."""
        return statement.limit(self.size + 1).offset((self.page - 1) * self.size)

    def filtered(self) -> dict[str, str]:
        """What narrows the table, for the sheet of an export that says so."""
        chosen = {name: value for name, value in self.filters.items() if value}
        return chosen | ({"q": self.search} if self.search else {})


def read_listing(
    request: Request, *, sorts: Sequence[str], default: str, filters: Mapping[str, Sequence[str] | None]
) -> Listing:
    """Read a table's state from the address.

    ``sorts`` are the columns that may sort; ``default`` is one of them, with ``-`` for descending.
    ``filters`` gives for each filter its possible values, or ``None`` when any text may be asked for.
    """
    query = request.query_params
    asked = query.get("sort", default)
    if asked.removeprefix("-") not in sorts:
        asked = default
    chosen = {}
    for name, values in filters.items():
        value = query.get(name, "").strip()[:100]
        chosen[name] = value if values is None or value in values else ""
    size = _whole(query.get("size"), PAGE_SIZES[0])
    return Listing(
        path=request.url.path,
        sort=asked.removeprefix("-"),
        descending=asked.startswith("-"),
        search=query.get("q", "").replace("\x00", "").strip()[:100],
        page=min(max(1, _whole(query.get("page"), 1)), _PAGES_AT_MOST),
        size=size if size in PAGE_SIZES else PAGE_SIZES[0],
        filters=chosen,
    )


def contains(column: Any, search: str) -> ColumnElement[bool]:
    """Whether a text column contains what was typed, whatever its case; ``%`` and ``_`` mean themselves."""
    condition: ColumnElement[bool] = column.icontains(search, autoescape=True)
    return condition


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 9 else default
