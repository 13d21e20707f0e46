"""Audit: who did what when, and whether the books and the records are as they were written."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from portal.access import NotFoundError, Permission, require
from portal.export import Column, Sheet, _, export
from portal.page import render_page
from portal.unit import open_unit
from workflow.audit import CHECKS, Finding, audit
from workflow.read_audit import RecordFilter, read_records, stream_records
from workflow.record import record_action
from workflow.sign_in import Visitor

router = APIRouter()
Reader = Annotated[Visitor, require(Permission.READ_AUDIT)]

_RECORDS_PER_PAGE: Final = 50
_MOST_EXPORTED: Final = 100_000


@dataclass(slots=True)
class BookCheck:
    """The checks of the books, run beside the pages: at most one at a time."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    running: bool = False
    failed: bool = False
    ended_at: dt.datetime | None = None
    findings: Sequence[Finding] = ()

    def start(self, engine: Engine, actor: str) -> None:
        """Begin, unless it runs already."""
        with self.lock:
            if self.running:
                return
            self.running = True
        threading.Thread(target=self._run, args=(engine, actor), daemon=True).start()

    def _run(self, engine: Engine, actor: str) -> None:
        try:
            findings = audit(engine)
            now = dt.datetime.now(dt.UTC)
            with engine.begin() as connection:
                record_action(connection, actor, "check_books", "books", {"findings": len(findings)}, now)
            self.findings, self.ended_at, self.failed = findings, now, False
        except SQLAlchemyError:
            self.failed = True
        finally:
            self.running = False


@router.get("/audit")
def show_audit(
    request: Request, visitor: Reader, before: Annotated[int | None, Query(ge=1, lt=2**63)] = None
) -> Response:
    """The records, filtered, and the last check of the books."""
    wanted = _read_filter(request)
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        timezone = _timezone(request, visitor)
        records = read_records(connection, wanted, timezone, before=before, limit=_RECORDS_PER_PAGE + 1)
    query = {name: value for name, value in _asked(wanted).items() if value}
    check = _book_check(request)
    return render_page(
        request,
        "office/audit.html",
        visitor=visitor,
        wanted=wanted,
        query=query,
        records=records[:_RECORDS_PER_PAGE],
        older=len(records) > _RECORDS_PER_PAGE,
        newest=before is None,
        check=check,
        findings=_visible(visitor, check.findings),
        invariants=[each.__name__ for each in CHECKS],
    )


@router.post("/audit/check")
def post_check(request: Request, visitor: Reader) -> Response:
    """Run every check now; the page shows the outcome when it is there."""
    _book_check(request).start(request.app.state.portal.engine, visitor.email)
    return RedirectResponse("/audit#books-title", 303)


@router.get("/audit.{form}")
def export_records(request: Request, visitor: Reader, form: str) -> Response:
    """The records that fit the filter, with their seals."""
    if form not in ("xlsx", "csv"):
        raise NotFoundError
    wanted = _read_filter(request)
    columns = [Column(_("Number"), "whole"), Column(_("When"), width=26), Column(_("Who"), width=30)]
    columns += [Column(_("Action"), width=24), Column(_("Subject"), width=38), Column(_("Details"), width=50)]
    columns.append(Column(_("Seal (SHA-256)"), width=66))
    notes = {_("At most"): str(_MOST_EXPORTED)} | {k: v for k, v in _asked(wanted).items() if v}
    with open_unit(request.app.state.portal.engine, visitor) as connection:
        records = stream_records(connection, wanted, _timezone(request, visitor), limit=_MOST_EXPORTED)
        rows = (
            [
                each.number,
                each.recorded_at,
                each.actor,
                each.action,
                each.subject,
                str(each.detail),
                each.hash.hex(),
            ]
            for each in records
        )
        return export(request, Sheet(_("Audit"), columns, rows, notes), form, "audit")


def _read_filter(request: Request) -> RecordFilter:
    asked = {name: request.query_params.get(name, "").replace("\x00", "").strip()[:200] for name in _NAMES}
    try:
        day = dt.date.fromisoformat(asked["day"])
    except ValueError:
        day = None
    return RecordFilter(asked["actor"], asked["action"], asked["subject"], day)


_NAMES: Final = ("actor", "action", "subject", "day")


def _asked(wanted: RecordFilter) -> dict[str, str]:
    day = wanted.day.isoformat() if wanted.day else ""
    return {"actor": wanted.actor, "action": wanted.action, "subject": wanted.subject, "day": day}


def _timezone(request: Request, visitor: Visitor) -> str:
    portal = request.app.state.portal
    timezone: str = portal.timezone(visitor.regency or portal.settings.regencies[0])
    return timezone


def _book_check(request: Request) -> BookCheck:
    if not hasattr(request.app.state, "book_check"):
        request.app.state.book_check = BookCheck()
    check: BookCheck = request.app.state.book_check
    return check


def _visible(visitor: Visitor, findings: Sequence[Finding]) -> Sequence[Finding] | None:
    """The findings in full for who may see every regency; ``None`` hides whose they are."""
    return findings if visitor.regency is None else None
