"""Rows of the access matrix: today and funds."""

from __future__ import annotations

import uuid
from typing import Final

from sqlalchemy import Engine

from tests.builders import NOW, apply_fund, pledge
from tests.integration.portal.rows import FOREIGN, Maker, Row, signed_in
from tests.unit.test_check_document import PDF
from workflow.keep_document import keep_document
from workflow.load_regions import load_regions

_OFFICE: Final = ("officer", "auditor")
_OFFICER: Final = frozenset({"officer"})


def make_fund(engine: Engine, kind: str, visitor: str) -> str:
    """A fund of the officer's regency, or of another one."""
    load_regions(engine, ["64.03"])
    code = f"dana-{uuid.uuid4()}"
    apply_fund(engine, pledge(code, regency="64.03" if kind == FOREIGN else "64.02"))
    return code


def make_document(engine: Engine, kind: str, visitor: str) -> str:
    """A document of a fund of the officer's regency, or of another one."""
    code = make_fund(engine, kind, visitor)
    regency = "64.03" if kind == FOREIGN else "64.02"
    return str(keep_document(engine, regency, code, "x.pdf", PDF, "petugas", NOW))


def _fund(status: int, *roles: str, **form: str) -> Row:
    return Row(signed_in(status, *roles), form, objects="fund", scoped=_OFFICER)


ROWS: Final[dict[tuple[str, str], Row]] = {
    ("GET", "/today"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/today/figures"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/today/burn-down.svg"): Row(signed_in(200, *_OFFICE)),
    ("POST", "/today/cancel-match"): Row(signed_in(303, "officer")),
    ("GET", "/enrolment"): Row(signed_in(200, *_OFFICE)),
    ("POST", "/enrolment/batches"): Row(signed_in(422, "officer"), {"fund": "no-such"}),
    ("POST", "/enrolment/batches/{batch_id}/file"): Row(
        signed_in(200, "officer"), objects="enrolment batch", scoped=_OFFICER
    ),
    ("POST", "/enrolment/answers"): Row(signed_in(422, "officer")),
    ("GET", "/imports"): Row(signed_in(200, "officer")),
    ("POST", "/imports"): Row(signed_in(422, "officer")),
    ("GET", "/funds"): Row(signed_in(200, *_OFFICE)),
    ("GET", "/funds.{form}"): Row(signed_in(404, *_OFFICE)),  # {form} itself is no form of export
    ("GET", "/funds/{code}"): _fund(200, *_OFFICE),
    ("GET", "/funds/{code}/burn-down.svg"): _fund(200, *_OFFICE),
    ("GET", "/funds/{code}/chain"): _fund(200, *_OFFICE),
    ("GET", "/funds/{code}/edit"): _fund(200, "officer"),
    ("GET", "/funds/{code}/eligible"): _fund(200, "officer"),
    ("GET", "/funds/{code}/documents"): _fund(200, *_OFFICE),
    ("POST", "/funds/{code}/documents"): _fund(422, "officer"),
    ("GET", "/documents/{document_id}"): Row(signed_in(200, *_OFFICE), objects="document", scoped=_OFFICER),
    ("POST", "/funds/{code}/edit"): _fund(422, "officer", revision="1"),
    ("POST", "/funds/{code}/withdraw"): _fund(303, "officer", revision="1"),
    ("GET", "/funds/{code}/journal.{form}"): _fund(404, *_OFFICE),
}

#: How to make the objects that the addresses name.
MAKERS: Final[dict[str, Maker]] = {"fund": make_fund, "document": make_document}
