"""Intake: rows from files, forms and generators become sealed events in the outbox.

This is the edge where a plain NIK is allowed and where it ends: rows are checked one by one with a
message for whoever typed them, sealed, and stored as messages to publish. From the outbox on they
go the way of every event, and the pipeline judges them again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine

from workflow.context import IntakeContext


@dataclass(frozen=True, slots=True)
class RowProblem:
    """What is wrong with a row, e.g. ``row 17: nik: a NIK has 16 digits``. Never holds a NIK or name."""

    row: int
    field: str
    message: str

    def __str__(self) -> str:
        return f"row {self.row}: {self.field}: {self.message}"


@dataclass(frozen=True, slots=True)
class SubmitOutcome:
    """What was stored for publishing. With ``problems`` and not ``partial``, nothing was (events is 0).

    ``warnings`` do not hinder: a birth year or sex that differs from the NIK's, for example.
    """

    events: int
    messages: int
    problems: Sequence[RowProblem] = ()
    warnings: Sequence[RowProblem] = ()


def submit_worker_events(
    engine: Engine,
    context: IntakeContext,
    rows: Iterable[Mapping[str, object]],
    *,
    source: str,
    first_row: int = 1,
    time: dt.datetime | None = None,
    batched: bool = True,
    partial: bool = False,
) -> SubmitOutcome:
    """Rows of uncovered workers with a plain ``nik``, in one transaction.

    Columns: ``nik``, ``name``, ``village``, ``occupation``, ``sex``, ``birth_year``, ``programmes``
    (``JKK+JKM`` or a list), ``months``, ``start_month``, ``priority``, ``declared_base_rupiah``, and
    optionally ``id`` (event id) and ``time``. Numbers may be text. Without ``id`` the id comes from
    the row's content, so that the same row sent twice is one event. ``batched`` packs events
    into CloudEvents batches; ``partial`` stores the good rows although others have problems.
    At most 1,000 problems and warnings each are collected.
    """
    raise NotImplementedError


def submit_fund_events(
    engine: Engine,
    context: IntakeContext,
    kind: Literal["pledges", "budgets"],
    rows: Iterable[Mapping[str, object]],
    *,
    source: str,
    first_row: int = 1,
    time: dt.datetime | None = None,
    partial: bool = False,
) -> SubmitOutcome:
    """Rows of pledges or budget lines, one event each, in one transaction.

    Columns are the fields of ``PledgeChanged`` or ``BudgetChanged``; those of ``rules`` stand beside
    them, lists joined by ``;`` (programmes by ``+`` or ``;``). Numbers may be text.
    """
    raise NotImplementedError


def submit_event_lines(
    engine: Engine,
    context: IntakeContext,
    lines: Iterable[bytes],
    *,
    source: str,
    time: dt.datetime | None = None,
    batched: bool = True,
    partial: bool = False,
) -> SubmitOutcome:
    """JSON lines for ``gotong events send``: complete CloudEvents, or rows of workers with a plain ``nik``.

    A line with ``specversion`` is passed on as it is, right or wrong: the pipeline judges it. Blank
    lines are skipped. ``row`` of a problem is the line's number.
    """
    raise NotImplementedError
