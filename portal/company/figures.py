"""What is counted of a company's people: at once for most, kept for a while where they are thousands."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI
from sqlalchemy import Connection

from portal.kept import kept_figures
from portal.unit import open_unit
from workflow.read_company import (
    Group,
    Impact,
    MonthOfCover,
    count_fund_workers,
    read_cover_months,
    read_groups,
    read_impact,
)
from workflow.sign_in import Visitor

#: From so many workers on a page does not count them itself.
_MANY_WORKERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class CompanyFigures:
    """Workers by group and by fund, and whom the money covers."""

    groups: Mapping[Group, int]
    fund_workers: Mapping[int, int]
    impact: Impact
    months: list[MonthOfCover]


def read_figures(app: FastAPI, connection: Connection, funder: str) -> CompanyFigures:
    """The company's figures; ``connection`` is confined to somebody of this company."""
    kept = _find_kept(app, funder)
    return kept or _count(connection, funder, _read_groups(app, connection, funder))


def read_company_groups(app: FastAPI, connection: Connection, funder: str) -> Mapping[Group, int]:
    """The company's workers by district and occupation."""
    kept = _find_kept(app, funder)
    return kept.groups if kept else _read_groups(app, connection, funder)


def _find_kept(app: FastAPI, funder: str) -> CompanyFigures | None:
    if funder not in app.state.portal.large_companies:
        return None
    return kept_figures(app, "company", lambda key: _read_beside(app, key)).of(funder).value


def _read_groups(app: FastAPI, connection: Connection, funder: str) -> Mapping[Group, int]:
    groups = read_groups(connection, funder)
    if sum(groups.values()) >= _MANY_WORKERS:
        app.state.portal.large_companies.add(funder)
    return groups


def _count(connection: Connection, funder: str, groups: Mapping[Group, int]) -> CompanyFigures:
    return CompanyFigures(
        groups,
        count_fund_workers(connection, funder),
        read_impact(connection, funder),
        read_cover_months(connection, funder),
    )


def _read_beside(app: FastAPI, funder: str) -> CompanyFigures:
    """In nobody's name, but confined to what anybody of this company may see."""
    reader = Visitor(
        account_id=uuid.UUID(int=0),
        session_id=uuid.UUID(int=0),
        email="",
        name="",
        role="company_user",
        regency=None,
        funder=funder,
        village=None,
        missing=None,
        demo=False,
    )
    with open_unit(app.state.portal.engine, reader) as connection:
        return _count(connection, funder, read_groups(connection, funder))
