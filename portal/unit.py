"""Unit of work of a page: one transaction that PostgreSQL itself confines to what the visitor may see.

It runs as the role ``gotong_portal``, which cannot write, cannot read a NIK or a name, and for which
row-level security lets through the rows of the visitor's regency, funder or village only. Whoever forgets
to say who asks sees nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from workflow.sign_in import Visitor

_CONFINE = text(
    """
    SELECT set_config('gotong.account_id', :account_id, true), set_config('gotong.role', :role, true),
           set_config('gotong.regency', :regency, true), set_config('gotong.funder', :funder, true),
           set_config('gotong.village', :village, true), set_config('role', 'gotong_portal', true)
    """
)


@contextmanager
def open_unit(engine: Engine, visitor: Visitor) -> Iterator[Connection]:
    """A transaction in the visitor's name, read only. Changes go through ``workflow`` instead.

    The policies are a net, not an index: a query still names the fund, village or regency it is about,
    else it walks through everybody's rows to leave them out.
    """
    with engine.begin() as connection:
        confine(connection, visitor)
        yield connection


def confine(connection: Connection, visitor: Visitor) -> None:
    """Confine the running transaction to what the visitor may see; it ends with the transaction."""
    connection.execute(
        _CONFINE,
        {
            "account_id": str(visitor.account_id),
            "role": visitor.role,
            "regency": visitor.regency or "",
            "funder": visitor.funder or "",
            "village": visitor.village or "",
        },
    )
