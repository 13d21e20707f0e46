"""Who is waiting and why: the needs without a fund, grouped by the reason of the last run."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from sqlalchemy import Connection, text

_LAST_RUN = text(
    """
    SELECT id FROM allocation_run
    WHERE regency_code = :regency AND status IN ('OPTIMAL', 'FEASIBLE')
    ORDER BY generation DESC LIMIT 1
    """
)
_GROUPS = text(
    """
    SELECT coalesce(unfunded_reason, '') AS reason, count(*) AS needs, sum(months) AS months,
           max(priority) AS highest_priority, min(reported_at)::date AS since
    FROM coverage_need WHERE regency_code = :regency AND state = 'waiting'
    GROUP BY 1 ORDER BY 2 DESC, 1
    """
)
_DISTRICTS = text(
    """
    SELECT district_code AS district, coalesce(unfunded_reason, '') AS reason, count(*) AS needs
    FROM coverage_need WHERE regency_code = :regency AND state = 'waiting'
    GROUP BY 1, 2
    """
)


@dataclass(frozen=True, slots=True)
class WaitingGroup:
    """Needs that wait for one reason; empty means that no run has looked at them yet."""

    reason: str
    needs: int
    months: int
    highest_priority: int
    since: object


@dataclass(frozen=True, slots=True)
class Waiting:
    """All groups, and the same needs by district and reason."""

    groups: tuple[WaitingGroup, ...]
    by_district: dict[str, dict[str, int]]

    @property
    def needs(self) -> int:
        """Everybody who waits."""
        return sum(group.needs for group in self.groups)


def read_last_run(connection: Connection, regency: str) -> uuid.UUID | None:
    """The last finished run: answers that were made from it hold until the next one."""
    found: uuid.UUID | None = connection.scalar(_LAST_RUN, {"regency": regency})
    return found


def read_waiting(connection: Connection, regency: str) -> Waiting:
    """Count them. The partial index on open needs keeps this to the needs that are open."""
    groups = tuple(
        WaitingGroup(row.reason, row.needs, int(row.months), row.highest_priority, row.since)
        for row in connection.execute(_GROUPS, {"regency": regency})
    )
    by_district: dict[str, dict[str, int]] = {}
    for row in connection.execute(_DISTRICTS, {"regency": regency}):
        by_district.setdefault(row.district, {})[row.reason] = row.needs
    return Waiting(groups, by_district)
