"""Read company: what a company may know of its money and of the people it covers.

People stand here as a pseudonym with district and occupation. Where fewer than ``SMALLEST_GROUP`` workers of
the company share both, the occupation is withheld, then the district (:func:`hide_small_groups`); every
list, count, plot and statement is made from what is left, so no two of them can be subtracted from each other
to find a person. Whoever calls confines the connection to the visitor (``portal/unit.py``).
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Connection,
    Date,
    Integer,
    Row,
    Select,
    SmallInteger,
    Text,
    bindparam,
    column,
    select,
    text,
)

from models.programme import Programme
from models.vault import Vault

#: A smaller group of one district and occupation is never shown as such.
SMALLEST_GROUP: Final = 5
#: How long before its end an unspent pledge is worth a message.
ENDS_SOON: Final = dt.timedelta(days=90)

Group = tuple[str, str]

_OWN: Final = (
    "SELECT * FROM fund WHERE kind = 'csr' AND lpad(regexp_replace(npwp, '\\D', '', 'g'), 16, '0') = :funder"
)

#: The own lines and their months, read once past the policies of five tables (migration 0015).
_LINES: Final = "(SELECT * FROM portal_company_lines() WHERE portal_context('funder') = :funder)"
_LINE_MONTHS: Final = "(SELECT * FROM portal_company_months() WHERE portal_context('funder') = :funder)"

_FUNDS = text(
    f"""
    SELECT own.id, own.code, own.name, own.funder, own.regency_code, own.window_from, own.window_to,
           own.pledged_rupiah, own.reserved_rupiah, own.committed_rupiah, own.disbursed_rupiah,
           own.expired_rupiah
    FROM ({_OWN}) own ORDER BY own.window_to DESC, own.code
    """  # noqa: S608 - put together from constants
)

_FUND_WORKERS = text(
    f"SELECT fund_id, count(DISTINCT worker_id) AS workers FROM {_LINES} l GROUP BY 1"  # noqa: S608
)

_GROUPS = text(
    f"""
    SELECT district_code, occupation, count(DISTINCT worker_id) AS workers
    FROM {_LINES} l GROUP BY 1, 2
    """  # noqa: S608 - put together from constants
)

_LIVE: Final = ("proposed", "confirming", "approved", "enrolled")
_PSEUDONYM: Final = "left(encode(sha256(convert_to(:salt || l.worker_id, 'UTF8')), 'hex'), 12) AS pseudonym"
_STATE: Final = "CASE l.state WHEN 'confirming' THEN 'proposed' ELSE l.state END AS state"
_SHOWN_AS: Final = """
    unnest(CAST(:districts AS text[]), CAST(:occupations AS text[]), CAST(:shown_districts AS text[]),
           CAST(:shown_occupations AS text[])) AS g(district, occupation, shown_district, shown_occupation)
      ON g.district = l.district_code AND g.occupation = l.occupation
    """

_WORKERS: Final = f"""
    SELECT l.id, {_PSEUDONYM}, g.shown_district AS district, g.shown_occupation AS occupation, l.programmes,
           l.months, l.start_month, {_STATE}
    FROM {_LINES} l JOIN {_SHOWN_AS}
    """  # noqa: S608 - put together from constants

_NEWEST_LINES: Final = f"""
    SELECT l.id, {_PSEUDONYM}, coalesce(g.shown_district, '') AS district,
           coalesce(g.shown_occupation, '') AS occupation, l.programmes, l.months, l.start_month, {_STATE},
           l.total
    FROM portal_company_newest(CAST(:states AS text[]), :skipped, :most) l LEFT JOIN {_SHOWN_AS}
    ORDER BY l.id DESC
    """  # noqa: S608 - put together from constants

_MONTHS = text(
    f"""
    SELECT date_trunc('month', j.recorded_at AT TIME ZONE :timezone)::date AS month,
           coalesce(sum(j.amount_rupiah) FILTER (WHERE j.kind = 'post'), 0)::int8 AS committed_rupiah,
           coalesce(sum(j.amount_rupiah) FILTER (WHERE j.kind = 'disburse'), 0)::int8 AS disbursed_rupiah
    FROM ({_OWN}) f JOIN journal_entry j ON j.fund_id = f.id AND j.kind IN ('post', 'disburse')
    GROUP BY 1 ORDER BY 1
    """  # noqa: S608 - put together from constants
)

_COVER = text(
    f"""
    SELECT district_code, worker_id, programme, state, count(*) AS months FROM {_LINE_MONTHS} m
    WHERE (CAST(:first AS date) IS NULL OR month >= :first)
      AND (CAST(:last AS date) IS NULL OR month <= :last)
    GROUP BY 1, 2, 3, 4
    """  # noqa: S608 - put together from constants
)

_COVER_MONTHS = text(
    f"SELECT month, count(DISTINCT worker_id) AS workers FROM {_LINE_MONTHS} m"  # noqa: S608 - constants
    " GROUP BY 1 ORDER BY 1"
)

#: What changed for a company, each with a place of its own in the order; ``:funder`` is whose. Money and
#: words of offices alone: nothing here counts or names people. Changed terms have no amount.
MESSAGES: Final = f"""
    SELECT j.recorded_at AS at, 'j' || j.id AS ref, j.kind, f.name, j.amount_rupiah,
           CAST(NULL AS text) AS remark
    FROM ({_OWN}) f JOIN journal_entry j ON j.fund_id = f.id
    WHERE j.kind IN ('pledge', 'top_up', 'reduce', 'post', 'disburse', 'refund', 'expire')
    UNION ALL
    SELECT o.closed_at, 'o' || o.id, 'offer_' || o.state, o.name, o.amount_rupiah, o.remark
    FROM pledge_offer o WHERE o.funder = :funder AND o.state IN ('confirmed', 'declined')
    UNION ALL
    SELECT s.signed_at, 's' || s.number, 'statement', s.period_from || ' – ' || s.period_to,
           CAST(s.content->>'disbursed_rupiah' AS int8), NULL
    FROM statement s WHERE s.funder = :funder
    UNION ALL
    SELECT c.recorded_at, 'c' || c.id,
           CASE WHEN c.changed <@ ARRAY['window_from', 'window_to'] THEN 'window_changed'
                WHEN c.changed && ARRAY['window_from', 'window_to'] THEN 'terms_changed'
                ELSE 'rules_changed' END, f.name, CAST(NULL AS int8), NULL
    FROM ({_OWN}) f JOIN terms_change c ON c.fund_id = f.id
    """  # noqa: S608 - put together from constants
_NEWEST = text(f"SELECT * FROM ({MESSAGES}) AS message ORDER BY at DESC, ref DESC LIMIT :most")  # noqa: S608
_UNREAD = text(
    f"SELECT count(*) FROM (SELECT FROM ({MESSAGES}) AS message"  # noqa: S608
    " WHERE CAST(:read_at AS timestamptz) IS NULL OR at > :read_at LIMIT :most) AS unread"
)


@dataclass(frozen=True, slots=True)
class CompanyFund:
    """One own pledge; ``workers`` counts people on its live lines."""

    id: int
    code: str
    name: str
    funder: str
    regency_code: str
    window_from: dt.date
    window_to: dt.date
    pledged_rupiah: int
    reserved_rupiah: int
    committed_rupiah: int
    disbursed_rupiah: int
    expired_rupiah: int
    workers: int

    @property
    def left_rupiah(self) -> int:
        """What no worker has been approved for yet."""
        spent = self.committed_rupiah + self.disbursed_rupiah + self.expired_rupiah
        return self.pledged_rupiah - spent

    def ends_soon(self, today: dt.date) -> bool:
        """Whether its last month is near and money is left."""
        return self.left_rupiah > 0 and today <= self.window_to + dt.timedelta(31) <= today + ENDS_SOON


@dataclass(frozen=True, slots=True)
class MonthOfMoney:
    """What was approved and what was paid in a calendar month."""

    month: dt.date
    committed_rupiah: int
    disbursed_rupiah: int


@dataclass(frozen=True, slots=True)
class Message:
    """Something that changed for the company. ``kind`` is a journal entry's kind, ``offer_confirmed``,
    ``offer_declined`` (``remark`` says why), ``statement``, ``window_changed``, ``rules_changed`` or
    ``terms_changed`` (both); ``ref`` is its own for good."""

    at: dt.datetime
    ref: str
    kind: str
    name: str
    amount_rupiah: int | None
    remark: str | None


@dataclass(frozen=True, slots=True)
class MonthOfCover:
    """How many people a month covers; ``None`` where they would be too few to be counted."""

    month: dt.date
    workers: int | None


@dataclass(frozen=True, slots=True)
class Reach:
    """People and months: ``months`` counts a worker's programme months that committed money pays."""

    workers: int
    enrolled: int
    months: int


@dataclass(frozen=True, slots=True)
class Impact:
    """What the money has done. A district with few workers stands under the empty code."""

    total: Reach
    programmes: Mapping[str, Reach]
    districts: Mapping[str, Reach]


def read_funds(
    connection: Connection, funder: str, workers: Mapping[int, int] | None = None
) -> list[CompanyFund]:
    """The company's own pledges, the one that ends last first; ``workers`` by fund where they are counted."""
    if workers is None:
        workers = count_fund_workers(connection, funder)
    return [
        CompanyFund(**row._mapping, workers=workers.get(row.id, 0))
        for row in connection.execute(_FUNDS, {"funder": funder})
    ]


def count_fund_workers(connection: Connection, funder: str) -> dict[int, int]:
    """Workers on each fund's live lines, by its id."""
    return {row.fund_id: row.workers for row in connection.execute(_FUND_WORKERS, {"funder": funder})}


def counts_may_be_shown(funds: list[CompanyFund]) -> bool:
    """Whether workers may be counted by pledge: one small count would follow from the others."""
    return all(fund.workers == 0 or fund.workers >= SMALLEST_GROUP for fund in funds)


def read_groups(connection: Connection, funder: str) -> dict[Group, int]:
    """Workers by district and occupation as they are; only for :func:`hide_small_groups`."""
    return {
        (row.district_code, row.occupation): row.workers
        for row in connection.execute(_GROUPS, {"funder": funder})
    }


def hide_small_groups(workers: Mapping[Group, int], smallest: int = SMALLEST_GROUP) -> dict[Group, Group]:
    """Group -> as what it is shown: itself, its district's ``(district, "")`` or ``("", "")``.

    Every shown group has at least ``smallest`` workers: what is merged takes the next smaller ones with it
    until it is large enough, else the merged few would follow from the rest. Fewer in all: nothing is shown.
    """
    if sum(workers.values()) < smallest:
        return {}
    shown = {group: group for group in workers}
    districts = Counter[str]()
    for (district, _), number in workers.items():
        districts[district] += number
    elsewhere = _merge(districts, smallest)
    for district in districts:
        inside = {group: workers[group] for group in workers if group[0] == district}
        if district in elsewhere:
            shown |= dict.fromkeys(inside, ("", ""))
        else:
            shown |= dict.fromkeys(_merge(inside, smallest), (district, ""))
    return shown


def _merge(workers: Mapping[Any, int], smallest: int) -> set[Any]:
    """The small ones, and as many of the next as make them ``smallest`` together."""
    merged: set[Any] = set()
    together = 0
    for name, number in sorted(workers.items(), key=lambda item: (item[1], item[0])):
        if number >= smallest and (together == 0 or together >= smallest):
            break
        merged.add(name)
        together += number
    return merged


def select_workers(vault: Vault, funder: str, shown: Mapping[Group, Group]) -> tuple[Select[Any], Any]:
    """The company's lines as it may see them, to be filtered, sorted and cut; and their columns.

    The pseudonym is the same on every page of this company, and another one at every other company.
    """
    lines = (
        text(_WORKERS)
        .bindparams(
            bindparam("salt", _salt(vault, funder), Text),
            bindparam("funder", funder, Text),
            *_bind_groups(shown),
        )
        .columns(
            column("id", Integer),
            column("pseudonym", Text),
            column("district", Text),
            column("occupation", Text),
            column("programmes", SmallInteger),
            column("months", SmallInteger),
            column("start_month", Date),
            column("state", Text),
        )
        .subquery("lines")
    )
    return select(lines), lines.c


def read_newest(
    connection: Connection,
    vault: Vault,
    funder: str,
    shown: Mapping[Group, Group],
    *,
    state: str | None,
    skipped: int,
    most: int,
) -> list[Row[Any]]:
    """Some of the same lines (with ``state``: of that one), newest first, each with the ``total`` there is.

    Only their needs and workers are looked at. A group that is too new to be among ``shown`` is withheld.
    """
    if not shown:
        return []
    states = ["proposed", "confirming"] if state == "proposed" else [state] if state else _LIVE
    statement = text(_NEWEST_LINES).bindparams(
        bindparam("salt", _salt(vault, funder), Text),
        bindparam("states", list(states), ARRAY(Text)),
        bindparam("skipped", skipped),
        bindparam("most", most),
        *_bind_groups(shown),
    )
    return list(connection.execute(statement))


def _salt(vault: Vault, funder: str) -> str:
    return vault.fingerprint(f"pseudonym for {funder}".encode()).hex()


def _bind_groups(shown: Mapping[Group, Group]) -> tuple[BindParameter[Any], ...]:
    columns = {
        "districts": [group[0] for group in shown],
        "occupations": [group[1] for group in shown],
        "shown_districts": [as_what[0] for as_what in shown.values()],
        "shown_occupations": [as_what[1] for as_what in shown.values()],
    }
    return tuple(bindparam(name, values, ARRAY(Text)) for name, values in columns.items())


def read_months(connection: Connection, funder: str, timezone: str) -> list[MonthOfMoney]:
    """Money approved and paid, month by month in the regency's own time."""
    rows = connection.execute(_MONTHS, {"funder": funder, "timezone": timezone})
    return [MonthOfMoney(**row._mapping) for row in rows]


def read_impact(
    connection: Connection, funder: str, first: dt.date | None = None, last: dt.date | None = None
) -> Impact:
    """Whom the committed money covers, in all or in the months from ``first`` to ``last``."""
    rows = connection.execute(_COVER, {"funder": funder, "first": first, "last": last}).all()
    by_programme: dict[str, list[Any]] = defaultdict(list)
    by_district: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by_programme[list(Programme)[int(row.programme).bit_length() - 1]].append(row)
    people = {(row.district_code, row.worker_id) for row in rows}
    shown = hide_small_groups(Counter((district, "") for district, _ in people))
    for row in rows:
        if (row.district_code, "") in shown:
            by_district[shown[row.district_code, ""][0]].append(row)
    return Impact(
        _reach(rows),
        {programme: _reach(by_programme[programme]) for programme in Programme if programme in by_programme},
        {district: _reach(by_district[district]) for district in sorted(by_district)},
    )


def count_if_enough(reach: Reach, count: int) -> int | None:
    """A count about people, or nothing where they are too few to stay nameless."""
    return None if 0 < reach.workers < SMALLEST_GROUP else count


def read_messages(connection: Connection, funder: str, most: int = 100) -> list[Message]:
    """What changed for the company, the latest first."""
    rows = connection.execute(_NEWEST, {"funder": funder, "most": most})
    return [Message(**row._mapping) for row in rows]


def count_unread(
    connection: Connection, funder: str, read_at: dt.datetime | None, most: int | None = None
) -> int:
    """Messages after ``read_at``, counted up to ``most``; all of them for who has never read any."""
    return int(connection.scalar(_UNREAD, {"funder": funder, "read_at": read_at, "most": most}) or 0)


def read_cover_months(connection: Connection, funder: str) -> list[MonthOfCover]:
    """People covered month by month, as committed money pays for it."""
    rows = connection.execute(_COVER_MONTHS, {"funder": funder})
    return [MonthOfCover(row.month, row.workers if row.workers >= SMALLEST_GROUP else None) for row in rows]


def _reach(rows: Any) -> Reach:
    workers = {row.worker_id for row in rows}
    enrolled = {row.worker_id for row in rows if row.state == "enrolled"}
    return Reach(len(workers), len(enrolled), sum(row.months for row in rows))
