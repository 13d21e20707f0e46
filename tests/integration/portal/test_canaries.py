"""Canaries: people with known NIKs and names, and every way out of the portal looked through for them.

Every route is asked in the name of every role, with objects that exist and with one that does not; the
answers are looked through as bytes, inside zip parts and PDF pages too. So is what the portal logs meanwhile.
The one place where a name may stand is the village verifier's own list.
"""

from __future__ import annotations

import io
import itertools
import json
import logging
import re
import uuid
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from pypdf import PdfReader
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine, text

from models.role import ROLES, Role
from portal.access import OwnAccount, routes_of
from tests.builders import apply_fund, pledge
from tests.integration.portal.rows_administration import make_dead_letter
from tests.integration.portal.rows_alerts import make_alert
from tests.integration.portal.rows_company import make_offer
from tests.integration.portal.site import VILLAGE, Browser, add_person, sign_in_wholly
from tests.integration.portal.test_api import program
from tests.integration.portal.test_company_pages import approve
from tests.integration.portal.test_village_page import NAME, NIK, add_named_need
from tests.integration.test_allocate import allocate

WORKERS = 8
#: A NIK may be written with blanks, dots or dashes; a name in any case.
_NIK = re.compile("[ .-]?".join(NIK[:12]))
_NAME = re.compile(NAME, re.IGNORECASE)
#: A cell that a spreadsheet would calculate; what the seeded texts begin with.
_FORMULA = re.compile(r"[=+\-@\t\r\n]")
FORMULA = "=HYPERLINK(1)"


class Log(logging.Handler):
    """Everything that is logged, as it would be written."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Site:
    """The portal with its canaries: a browser for each role, and what the addresses can name."""

    app: FastAPI
    engine: Engine
    browsers: dict[Role, Browser]
    objects: dict[str, str]
    log: Log

    def addresses(self) -> list[str]:
        """Every address that can be read, once with real objects and once with what does not exist."""
        found = []
        for route in routes_of(self.app):
            path = str(route.path)
            if "GET" not in (route.methods or ()) or path in ("/live", "/logout"):
                continue
            forms = ("csv", "xlsx") if "{form}" in path else ("",)
            found += [self._fill(path, form) for form in forms]
            if "{" in path:
                found.append(re.sub(r"{\w+}", str(uuid.UUID(int=7)), path))
        return found

    def _fill(self, path: str, form: str) -> str:
        if "/verify/" in path:
            return f"/verify/{self.objects['verify']}"
        if "/policies/" in path:
            return path.replace("{name}", "default")
        named = self.objects | {"form": form}
        return re.sub(r"{(\w+)}", lambda part: named.get(part[1], str(uuid.UUID(int=7))), path)


@pytest.fixture(scope="module")
def site(app: FastAPI, url: str, engine: Engine) -> Iterator[Site]:
    log = Log()
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error")]
    for logger in loggers:
        logger.addHandler(log)
    terms: dict[str, Any] = {"name": f"{FORMULA} dana", "funder": f"{FORMULA} PT", "rules": {"sexes": ["L"]}}
    apply_fund(engine, pledge("kenari", 100_000_000, **terms))
    apply_fund(engine, pledge("kenari-2", 1_000, name="Kecil", rules={"occupations": ["sopir"]}))
    needs = [
        add_named_need(engine, 5000 + number, occupation=f"{FORMULA} nelayan") for number in range(WORKERS)
    ]
    add_named_need(engine, 5100, occupation="sopir", sex="P")
    allocate(engine)
    for need in needs[: WORKERS - 1]:
        approve(engine, need, "2026-12-01")
    browsers: dict[Role, Browser] = {}
    for number, role in enumerate(ROLES):
        email = f"={role}@kenari.example"
        browsers[role] = Browser(url, f"10.6.0.{number + 1}")
        sign_in_wholly(browsers[role], engine, email, add_person(engine, email, role))
    found = Site(app, engine, browsers, _make_objects(engine, browsers, needs), log)
    yield found
    for logger in loggers:
        logger.removeHandler(log)


def _make_objects(engine: Engine, browsers: dict[Role, Browser], needs: list[int]) -> dict[str, str]:
    letter = {"nik": f"{NIK[:12]}5001", "nama": f"{NAME} 5001", "catatan": f"KTP {NIK[:6]} {NIK[6:12]} 5001"}
    assert browsers["company_user"].post("/company/statements", {"year": "2026"}).status_code == 303
    # The verifier has read the names: what is on record of it is looked through too.
    assert NAME in browsers["verifier"].post("/village/search", {"q": NAME}).text
    with engine.connect() as connection:
        statement = connection.execute(text("SELECT id, code FROM statement LIMIT 1")).one()
        line = connection.execute(
            text(
                "SELECT b.id, p.run_id, n.district_code, f.code FROM review_batch b"
                " JOIN proposal p ON p.run_id = b.run_id AND p.fund_id = b.fund_id"
                " JOIN coverage_need n ON n.id = p.need_id JOIN fund f ON f.id = p.fund_id LIMIT 1"
            )
        ).one()
    return {
        "code": line.code,
        "verify": statement.code,
        "statement_id": str(statement.id),
        "batch_id": str(line.id),
        "run_id": str(line.run_id),
        "fund": line.code,
        "district": line.district_code,
        "offer_id": make_offer(engine, "own", ""),
        "alert_id": make_alert(engine, "own", ""),
        "number": str(make_dead_letter(engine, json.dumps(letter).encode(), "nik_invalid")),
        "need": str(needs[-1]),
        "regency": "64.02",
        "name": "fund_lapse",
    }


def look_through(content: bytes) -> str:
    """All that can be read in an answer: itself, the parts of a workbook, the pages and facts of a PDF."""
    found = [content.decode("utf-8", "replace")]
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as book:
            found += [f"{part} {book.read(part).decode('utf-8', 'replace')}" for part in book.namelist()]
    elif content.startswith(b"%PDF"):
        reader = PdfReader(io.BytesIO(content))
        found += [page.extract_text() for page in reader.pages]
        found += [str(reader.metadata), str(reader.xmp_metadata and reader.xmp_metadata.stream.get_data())]
        found += [str(reader.attachments), str(reader.outline)]
    return "\n".join(found)


def canaries(content: str, *, names: bool = True) -> list[str]:
    """The canaries in a text; ``names`` are looked for too."""
    found = [found[0] for found in _NIK.finditer(content)]
    return found + ([found[0] for found in _NAME.finditer(content)] if names else [])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ROLES)
def test_no_role_reads_a_nik_or_a_name_anywhere(site: Site, role: Role) -> None:
    browser, leaks, statuses = site.browsers[role], list[str](), list[int]()
    for address in site.addresses():
        for accept in ("text/html", "application/json"):
            if accept == "application/json" and not address.endswith(str(uuid.UUID(int=7))):
                continue
            answer = browser.get(address, accept=accept)
            own_list = role == "verifier" and address == "/village"
            leaks += [
                f"{address}: {each}" for each in canaries(look_through(answer.content), names=not own_list)
            ]
            statuses.append(answer.status_code)
    assert leaks == []
    assert 500 not in statuses  # 503 is honest: others' long questions were still being answered
    assert statuses.count(200) >= {"verifier": 6}.get(role, 15), "too little was seen to say so"


def test_the_search_finds_what_it_looks_for(site: Site) -> None:
    """The other way round: what does stand in workbooks and PDFs is found by the same look."""
    company = site.browsers["company_user"]
    path = f"/company/statements/{site.objects['statement_id']}"
    assert "HYPERLINK(1) PT" in look_through(company.get(path).content)
    assert "Pernyataan perlindungan" in look_through(company.get(path).content).partition("/Title")[2]
    assert "nelayan" in look_through(company.get("/company/workers.xlsx").content)
    assert canaries(f"<td>{NAME.upper()} 1</td> {NIK[:6]}-{NIK[6:12]}0001") != []
    assert NAME in site.browsers["verifier"].get("/village").text


def test_a_refusal_does_not_repeat_what_was_sent(site: Site) -> None:
    sent: dict[str, Any] = {
        "nik": f"{NIK[:12]}5001",
        "name": NAME,
        "rows": [{NIK: NAME, "nik": NIK}],
        "note": 7,
    }
    leaks = []
    for route, role in itertools.product(routes_of(site.app), ROLES):
        path = str(route.path)
        for method in set(route.methods or ()) & {"POST", "PUT", "DELETE"}:
            if not path.startswith("/api/v1/"):
                continue
            address = site._fill(path, "")
            headers = {"sec-fetch-site": "same-origin", "idempotency-key": uuid.uuid4().hex}
            answer = site.browsers[role].send(method, address, None, headers, json=sent)
            leaks += [f"{method} {address}: {each}" for each in canaries(answer.text)]
            assert answer.status_code != 500, f"{role} {method} {address}"
    for role in ROLES:
        missing = site.browsers[role].get(f"/{NIK}-{NAME.replace(' ', '-')}")
        assert (missing.status_code, canaries(missing.text)) == (404, [])
    assert leaks == []


def test_rows_that_are_refused_are_told_without_their_contents(site: Site) -> None:
    ask = program(site.engine, site.browsers["officer"].url, "officer").ask
    rows = [{"nik": NIK, "name": NAME, "village": VILLAGE, NIK: NAME}]
    answer = ask("POST", "/worker-events", {"rows": rows}, idempotency_key=uuid.uuid4().hex)
    assert answer.status_code == 422 and answer.json()["problems"]
    assert canaries(answer.text) == []


def test_a_mistake_in_mid_query_tells_neither_page_nor_log(site: Site) -> None:
    @site.app.get("/mistake")
    def fail(visitor: OwnAccount) -> None:
        with site.engine.connect() as connection:
            connection.execute(
                text("SELECT nik_hash FROM worker WHERE no_such_column = :name AND village_code = :nik"),
                {"name": NAME, "nik": NIK},
            )

    before = len(site.log.lines)
    page = site.browsers["officer"].get("/mistake")
    assert (page.status_code, canaries(page.text)) == (500, [])
    assert "Portal membuat kesalahan" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    problem = site.browsers["officer"].get("/mistake", accept="application/json")
    assert problem.json()["type"] == "urn:gotong:problem:failed"
    logged = "\n".join(site.log.lines[before:])
    assert "no_such_column" in logged, "a mistake is on record"
    assert canaries(logged) == []


def test_the_log_names_nobody(site: Site) -> None:
    """Last: of all that the tests above did."""
    assert [line for line in site.log.lines if canaries(line)] == []


def cells(content: bytes) -> list[str]:
    """Every text of a table to take away."""
    if content.startswith(b"PK"):
        book = CalamineWorkbook.from_filelike(io.BytesIO(content))
        rows = [row for name in book.sheet_names for row in book.get_sheet_by_name(name).to_python()]
        return [cell for row in rows for cell in row if isinstance(cell, str)]
    return re.findall(r'(?:^|,)"?((?:[^",]|"")*)', content.decode("utf-8-sig"), re.MULTILINE)


#: Where to, in whose name, and whether a seeded formula must be found there.
EXPORTS: list[tuple[str, Role, bool]] = [
    *((f"/company/workers.{form}", "company_user", True) for form in ("csv", "xlsx")),
    ("/company/statements/{statement_id}/table", "company_user", True),
    *((f"/funds.{form}", "officer", True) for form in ("csv", "xlsx")),
    # Numbers, kinds and causes: no word of anybody's.
    *((f"/funds/{{code}}/journal.{form}", "officer", False) for form in ("csv", "xlsx")),
    *((f"/review/batches.{form}", "officer", True) for form in ("csv", "xlsx")),
    *((f"/review/{{batch_id}}/lines.{form}", "officer", True) for form in ("csv", "xlsx")),
    *((f"/unfunded.{form}", "officer", True) for form in ("csv", "xlsx")),
    *((f"/audit.{form}", "officer", True) for form in ("csv", "xlsx")),
]


@pytest.mark.parametrize(("path", "role", "seeded"), EXPORTS, ids=lambda part: str(part))
def test_no_export_holds_a_formula(site: Site, path: str, role: Role, seeded: bool) -> None:
    answer = site.browsers[role].get(site._fill(path, ""))
    assert answer.status_code == 200
    found = cells(answer.content)
    number = re.compile(r"-?[\d.]+")
    assert [cell for cell in found if _FORMULA.match(cell) and not number.fullmatch(cell)] == []
    assert any(cell.startswith("'=") for cell in found) == seeded
    if answer.content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(answer.content)) as book:
            assert not any(b"<f>" in book.read(part) for part in book.namelist())


def test_every_export_has_a_line_above(app: FastAPI) -> None:
    tables = {
        str(route.path) for route in routes_of(app) if re.search(r"\.(csv|xlsx|{form})$", str(route.path))
    }
    listed = {re.sub(r"\.(csv|xlsx)$", "", path) for path, _, _ in EXPORTS}
    assert {re.sub(r"\.(csv|xlsx|{form})$", "", path) for path in tables} <= listed
