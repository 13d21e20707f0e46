"""Intake: rows from files, forms and generators become sealed events in the outbox.

This is the edge where a plain NIK is allowed and where it ends: rows are checked one by one with a
message for whoever typed them, sealed, and stored as messages to publish. From the outbox on they
go the way of every event, and the pipeline judges them again.

An event without an id of its own gets one from its content, so that the same row sent twice is one
event. Consequently a row that returns to facts sent before needs its own ``id`` or ``time``.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import orjson
from pydantic import ValidationError
from sqlalchemy import Connection, Engine
from stdnum.id import npwp as stdnum_npwp

from models.event import BudgetChanged, FundRules, PledgeChanged, WorkerUncovered
from models.message import BATCH_CONTENT_TYPE, EVENT_CONTENT_TYPE, LARGEST_BATCH_EVENTS
from models.nik import NikError, born_in_year, check_nik, sex_of_nik
from workflow.context import IntakeContext
from workflow.outbox import NewMessage, enqueue_messages, event_headers
from workflow.outcome import watch_availability
from workflow.validate import (
    BUDGET_TYPE,
    CLOCK_LEEWAY,
    PLEDGE_TYPE,
    WORKER_TYPE,
    RefusedError,
    check_fund,
    check_start_month,
    check_village,
    explain_violations,
    month_number,
)

_LARGEST_BATCH_BYTES: Final = 512 * 1024
#: A line above this could not even be published to be refused.
_LARGEST_LINE_BYTES: Final = 7 * 1024 * 1024
_MOST_PROBLEMS: Final = 1_000
_LONGEST_NAME: Final = 200
_STORED_AT_ONCE: Final = 64

_WORKER_COLUMNS: Final = frozenset(
    {
        "nik",
        "name",
        "village",
        "occupation",
        "sex",
        "birth_year",
        "programmes",
        "months",
        "start_month",
        "priority",
        "declared_base_rupiah",
        "id",
        "time",
    }
)
_FUND_TYPES: Final[dict[str, tuple[str, type[PledgeChanged] | type[BudgetChanged]]]] = {
    "pledges": (PLEDGE_TYPE, PledgeChanged),
    "budgets": (BUDGET_TYPE, BudgetChanged),
}
_LISTS: Final = frozenset({"regions", "occupations", "programmes", "sexes"})
_TEXTS: Final = frozenset(
    {"nik", "name", "village", "occupation", "sex", "start_month", "id"}
    | {"fund_id", "regency", "funder", "npwp", "account_code", "window_from", "window_to"}
)
_IDENTITY_NUMBERS: Final = frozenset({"nik", "npwp"})
_MONTHS_OF_YEAR: Final = frozenset({"start_month", "window_from", "window_to"})
_SWITCHES: Final = {"true": True, "ya": True, "1": True, "false": False, "tidak": False, "0": False}
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}").fullmatch


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


class _RowError(Exception):
    """This row cannot be sent: pairs of field and message."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__()
        self.problems = problems


class _NothingStoredError(Exception):
    """Leave the transaction without keeping anything."""


@dataclass(frozen=True, slots=True)
class _Event:
    """An event ready for the wire. ``line`` is a complete CloudEvent of the sender's own making."""

    topic: str
    key: bytes | None
    event_id: str = ""
    source: str = ""
    time: dt.datetime | None = None
    data: bytes = b""
    line: bytes | None = None

    def structured(self) -> bytes:
        """The event with its envelope as one JSON object."""
        if self.line is not None:
            return self.line
        assert self.time is not None
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": self.event_id,
                "source": self.source,
                "type": self.topic,
                "time": self.time.astimezone(dt.UTC).isoformat(),
                "datacontenttype": "application/json",
                "data": orjson.Fragment(self.data),
            }
        )

    def alone(self) -> NewMessage:
        """A message with only this event."""
        if self.line is not None:
            headers = {"content-type": EVENT_CONTENT_TYPE.encode()}
            return NewMessage(self.topic, self.line, self.key, headers, intake=True)
        assert self.time is not None
        headers = event_headers(self.topic, source=self.source, event_id=self.event_id, time=self.time)
        return NewMessage(self.topic, self.data, self.key, headers, intake=True)


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
    regency: str | None = None,
    finish: Finish | None = None,
    dry: bool = False,
) -> SubmitOutcome:
    """Rows of uncovered workers with a plain ``nik``, in one transaction.

    Columns: ``nik``, ``name``, ``village``, ``occupation``, ``sex``, ``birth_year``, ``programmes``
    (``JKK+JKM`` or a list), ``months``, ``start_month``, ``priority``, ``declared_base_rupiah``, and
    optionally ``id`` (event id) and ``time`` (of the report, aware). Numbers may be text. Rows
    without any value are passed over. ``batched`` packs events into CloudEvents batches; ``partial``
    stores the good rows although others have problems. At most 1,000 problems and warnings each are
    collected. With ``regency`` a row of another one is a problem. ``finish`` is called in the
    transaction once all rows are stored, with their number; ``dry`` checks alike and stores nothing.
    Raises ``workflow.outcome.Unavailable``.
    """
    moment = time or context.now()
    submission = _Submission(batched=batched, partial=partial, finish=finish, dry=dry)

    def read(row: Mapping[str, object], warn: _Warn) -> _Event:
        _check_regency(regency, "village", row, f"{regency}.")
        return _read_worker(context, row, source, moment, warn)

    return submission.run(engine, _number_rows(rows, first_row), read)


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
    regency: str | None = None,
    finish: Finish | None = None,
    dry: bool = False,
) -> SubmitOutcome:
    """Rows of pledges or budget lines, one event each, in one transaction.

    Columns are the fields of ``PledgeChanged`` or ``BudgetChanged``; those of ``rules`` stand beside
    them, lists joined by ``;`` (programmes by ``+`` or ``;``). Numbers may be text. The event id is
    the fund and its revision, so that other content under the same revision is a conflict.
    ``regency``, ``finish`` and ``dry`` as for workers. Raises ``workflow.outcome.Unavailable``.
    """
    moment = time or context.now()
    submission = _Submission(batched=False, partial=partial, finish=finish, dry=dry)

    def read(row: Mapping[str, object], warn: _Warn) -> _Event:
        _check_regency(regency, "regency", row, regency or "")
        return _read_fund(context, kind, row, source, moment)

    return submission.run(engine, _number_rows(rows, first_row), read)


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

    A line with ``specversion`` is passed on as it is, right or wrong: the pipeline judges it. Only
    a plain ``nik`` in its data is sealed first, as in a row. Blank lines are skipped. ``row`` of a
    problem is the line's number. Raises ``workflow.outcome.Unavailable``.
    """
    moment = time or context.now()
    submission = _Submission(batched=batched, partial=partial)

    def read(line: bytes, warn: _Warn) -> _Event:
        return _read_line(context, line, source, moment, warn)

    numbered = ((number, line.strip()) for number, line in enumerate(lines, start=1))
    return submission.run(engine, ((number, line) for number, line in numbered if line), read)


_Warn = Callable[[str, str], None]
#: What else belongs into the transaction, given the number of events.
Finish = Callable[[Connection, int], None]
_Row = TypeVar("_Row")


class _Submission:
    """One call: reads rows, packs events, collects problems, stores all or nothing.

    Batches are packed per first digit of the worker's hash and keyed by it, so that two reports of
    one worker stay in order on one partition and the load still spreads.
    """

    def __init__(
        self, *, batched: bool, partial: bool, finish: Finish | None = None, dry: bool = False
    ) -> None:
        self._batched = batched
        self._partial = partial
        self._finish = finish
        self._dry = dry
        self._events = 0
        self._messages = 0
        self._problems: list[RowProblem] = []
        self._warnings: list[RowProblem] = []
        self._ready: list[NewMessage] = []
        self._open: dict[bytes, list[bytes]] = {}
        self._open_bytes: dict[bytes, int] = {}

    def run(
        self, engine: Engine, rows: Iterable[tuple[int, _Row]], read: Callable[[_Row, _Warn], _Event]
    ) -> SubmitOutcome:
        """Read every row, then commit, or keep nothing when a row has a problem and not ``partial``."""
        try:
            with watch_availability(), engine.begin() as connection:
                for number, row in rows:
                    self._take(connection, number, row, read)
                for key in list(self._open):
                    self._close_batch(key)
                self._store(connection)
                if self._problems and not self._partial:
                    raise _NothingStoredError
                if self._finish is not None and not self._dry:
                    self._finish(connection, self._events)
        except _NothingStoredError:
            self._events = self._messages = 0
        return SubmitOutcome(self._events, self._messages, self._problems, self._warnings)

    def _take(
        self, connection: Connection, number: int, row: _Row, read: Callable[[_Row, _Warn], _Event]
    ) -> None:
        def warn(field: str, message: str) -> None:
            if len(self._warnings) < _MOST_PROBLEMS:
                self._warnings.append(RowProblem(number, field, message))

        try:
            event = read(row, warn)
        except _RowError as error:
            room = _MOST_PROBLEMS - len(self._problems)
            self._problems += [RowProblem(number, *problem) for problem in error.problems[:room]]
            return
        if self._problems and not self._partial:
            return  # nothing will be stored; only the further problems matter
        self._events += 1
        if self._batched and event.topic == WORKER_TYPE:
            self._pack(event)
        else:
            self._add(event.alone())
        if len(self._ready) >= _STORED_AT_ONCE:
            self._store(connection)

    def _pack(self, event: _Event) -> None:
        body = event.structured()
        if len(body) + 2 > _LARGEST_BATCH_BYTES:
            self._add(event.alone())
            return
        key = f"batch-{event.key.hex()[0]}".encode() if event.key else b"batch"
        if self._open_bytes.get(key, 2) + len(body) + 1 > _LARGEST_BATCH_BYTES:
            self._close_batch(key)
        self._open.setdefault(key, []).append(body)
        self._open_bytes[key] = self._open_bytes.get(key, 2) + len(body) + 1
        if len(self._open[key]) == LARGEST_BATCH_EVENTS:
            self._close_batch(key)

    def _close_batch(self, key: bytes) -> None:
        bodies = self._open.pop(key)
        del self._open_bytes[key]
        headers = {"content-type": BATCH_CONTENT_TYPE.encode()}
        self._add(NewMessage(WORKER_TYPE, b"[" + b",".join(bodies) + b"]", key, headers, intake=True))

    def _add(self, message: NewMessage) -> None:
        self._messages += 1
        self._ready.append(message)

    def _store(self, connection: Connection) -> None:
        if not self._dry and (self._partial or not self._problems):
            enqueue_messages(connection, self._ready)
        self._ready = []


def _check_regency(regency: str | None, field: str, row: Mapping[str, object], prefix: str) -> None:
    written = row.get(field)
    if regency is not None and written is not None and not str(written).strip().startswith(prefix):
        raise _RowError((field, f"lies outside {regency}"))


def _is_text(written: str) -> bool:
    r"""Whether it can be written down: JSON may carry half a character (``\ud800``), UTF-8 cannot."""
    try:
        written.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in written


def _number_rows(
    rows: Iterable[Mapping[str, object]], first_row: int
) -> Iterator[tuple[int, Mapping[str, object]]]:
    """Rows with any value, by their number in the file."""
    for number, row in enumerate(rows, start=first_row):
        if any(value is not None and value != "" for value in row.values()):
            yield number, row


def _read_worker(
    context: IntakeContext, row: Mapping[str, object], source: str, moment: dt.datetime, warn: _Warn
) -> _Event:
    cells = _read_cells(row, _WORKER_COLUMNS)
    nik, name = cells.pop("nik", ""), cells.pop("name", None)
    event_id = cells.pop("id", None)
    time = _read_time(cells.pop("time"), context.now()) if "time" in cells else None
    problems: list[tuple[str, str]] = []
    if name is not None and len(name) > _LONGEST_NAME:
        problems.append(("name", f"longer than {_LONGEST_NAME} characters"))
        name = None
    elif name is not None and not _is_text(name):
        problems.append(("name", "holds characters that no text has"))
        name = None
    try:
        check_nik(nik, context.regions)
    except NikError as error:
        problems.append(("nik", str(error) if nik else "missing"))
    if isinstance(cells.get("programmes"), str):
        cells["programmes"] = [code.strip().upper() for code in re.split(r"[+;]", cells["programmes"])]
    if isinstance(cells.get("sex"), str):
        cells["sex"] = cells["sex"].upper()
    try:
        data = WorkerUncovered.model_validate({**cells, **context.vault.seal_worker(nik, name)})
        check_village(context, data.village)
        check_start_month(month_number(data.start_month), time or moment)
    except RefusedError as refused:
        problems.append(_split_detail(refused.detail))
    except ValidationError as error:
        problems += [_split_detail(detail) for _, detail in explain_violations(error)]
    if problems:
        raise _RowError(*problems)
    if data.birth_year is not None and not born_in_year(nik, data.birth_year):
        warn("birth_year", "differs from the NIK's")
    if data.sex is not None and data.sex != sex_of_nik(nik):
        warn("sex", "differs from the NIK's")
    if event_id is None:
        facts = (nik, name, sorted(data.programmes), data.model_dump(include=_FACTS), time)
        event_id = context.vault.fingerprint(repr(facts).encode()).hex()[:32]
    return _Event(
        topic=WORKER_TYPE,
        key=bytes.fromhex(data.nik_hash),
        event_id=event_id,
        source=source,
        time=time or moment,
        data=orjson.dumps(data.model_dump(mode="json", exclude_none=True)),
    )


_FACTS: Final = {
    "village",
    "occupation",
    "sex",
    "birth_year",
    "months",
    "start_month",
    "priority",
    "declared_base_rupiah",
}


def _read_fund(
    context: IntakeContext,
    kind: Literal["pledges", "budgets"],
    row: Mapping[str, object],
    source: str,
    moment: dt.datetime,
) -> _Event:
    event_type, model = _FUND_TYPES[kind]
    rule_names = frozenset(FundRules.model_fields)
    known = (frozenset(model.model_fields) | rule_names | {"id", "time"}) - {"rules"}
    cells = _read_cells(row, known)
    time = _read_time(cells.pop("time"), context.now()) if "time" in cells else moment
    event_id = cells.pop("id", None)
    rules = {name: cells.pop(name) for name in rule_names & set(cells)}
    for name in _LISTS & set(rules):
        if isinstance(rules[name], str):
            separator = "[+;]" if name == "programmes" else ";"
            rules[name] = [part.strip() for part in re.split(separator, rules[name]) if part.strip()]
    if isinstance(cells.get("npwp"), str):
        cells["npwp"] = str(stdnum_npwp.compact(cells["npwp"]))
    try:
        change = model.model_validate({**cells, "rules": rules})
        check_fund(context, change)
    except ValidationError as error:
        raise _RowError(*[_split_detail(detail) for _, detail in explain_violations(error)]) from None
    except RefusedError as refused:
        raise _RowError(_split_detail(refused.detail)) from None
    return _Event(
        topic=event_type,
        key=change.fund_id.encode(),
        event_id=event_id or f"{change.fund_id}-{change.revision}",
        source=source,
        time=time,
        data=orjson.dumps(change.model_dump(mode="json", exclude_none=True), option=orjson.OPT_SORT_KEYS),
    )


def _read_line(context: IntakeContext, line: bytes, source: str, moment: dt.datetime, warn: _Warn) -> _Event:
    if len(line) > _LARGEST_LINE_BYTES:
        raise _RowError(("line", f"longer than {_LARGEST_LINE_BYTES} bytes"))
    try:
        content = orjson.loads(line)
    except orjson.JSONDecodeError:
        raise _RowError(("line", "not JSON in UTF-8")) from None
    if not isinstance(content, dict):
        raise _RowError(("line", "not a JSON object"))
    if "specversion" not in content:
        return _read_worker(context, content, source, moment, warn)
    event_type, data = content.get("type"), content.get("data")
    if event_type == WORKER_TYPE and isinstance(data, dict) and "nik" in data:
        envelope = {name: content[name] for name in ("id", "time") if content.get(name) is not None}
        return _read_worker(context, {**data, **envelope}, str(content.get("source") or source), moment, warn)
    return _Event(topic=_topic_of(event_type), key=_key_of(data), line=line)


def _topic_of(event_type: object) -> str:
    """The topic that judges such an event: its type's own, in whatever version it says it is."""
    stem = str(event_type).rpartition(".v")[0]
    for known in (WORKER_TYPE, PLEDGE_TYPE, BUDGET_TYPE):
        if stem == known.rpartition(".v")[0]:
            return known
    return WORKER_TYPE


def _key_of(data: object) -> bytes | None:
    """The message key: the worker's hash or the fund, as far as the data has a usable one."""
    if not isinstance(data, dict):
        return None
    nik_hash, fund_id = data.get("nik_hash"), data.get("fund_id")
    if isinstance(nik_hash, str) and re.fullmatch("[0-9a-f]{64}", nik_hash):
        return bytes.fromhex(nik_hash)
    return fund_id.encode() if isinstance(fund_id, str) else None


def _read_cells(row: Mapping[str, object], known: Set[str]) -> dict[str, Any]:
    """Named cells that have a value, as the types want them."""
    cells: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, value in row.items():
        if name not in known:
            problems.append((name if re.fullmatch(r"[\w ]{1,40}", name) else "a column", "unknown column"))
            continue
        if isinstance(value, str):
            value = value.strip()
        if value is None or value == "":
            continue
        try:
            cells[name] = _read_cell(name, value)
        except ValueError as error:
            problems.append((name, str(error)))
    if problems:
        raise _RowError(*problems)
    return cells


def _read_cell(name: str, value: object) -> object:
    """A cell as the event wants it. Raises ``ValueError`` with words for whoever typed it."""
    if name in _IDENTITY_NUMBERS and isinstance(value, float):
        raise ValueError("the cell is a number and has lost digits; format the column as text")
    if name in _MONTHS_OF_YEAR and isinstance(value, dt.date):
        return value.strftime("%Y-%m")
    if name == "time":
        return value
    if name == "jkk_jkm_discount":
        if str(value).lower() not in _SWITCHES:
            raise ValueError("must be true or false")
        return _SWITCHES[str(value).lower()]
    if name in _LISTS and isinstance(value, list):
        return value
    if name in _LISTS or name in _TEXTS:
        if isinstance(value, bool | dict | list):
            raise ValueError("must be text")
        # A spreadsheet gives 64 back as 64.0.
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, str):
        if not _WHOLE_NUMBER(value):
            raise ValueError("must be a whole number, digits only")
        return int(value)
    return value


def _read_time(value: object, now: dt.datetime) -> dt.datetime:
    try:
        time = value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(str(value))
    except ValueError:
        raise _RowError(("time", "must be like 2026-11-30T09:00:00+08:00")) from None
    if time.tzinfo is None:
        raise _RowError(("time", "must say its time zone, like 2026-11-30T09:00:00+08:00"))
    if time > now + CLOCK_LEEWAY:
        raise _RowError(("time", "lies more than a day in the future"))
    return time


def _split_detail(detail: str) -> tuple[str, str]:
    field, _, message = detail.partition(": ")
    return (field.removeprefix("rules."), message) if message else ("row", detail)
