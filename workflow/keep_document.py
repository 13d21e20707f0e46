"""Keep document: an officer adds a file to a fund; it is checked, hashed and recorded in one transaction."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import uuid

from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert

from models.document_tables import FundDocument
from models.tables import Fund
from workflow.check_document import DocumentKind, check_document
from workflow.record import record_action

ENDINGS: dict[DocumentKind, tuple[str, ...]] = {
    "pdf": (".pdf",),
    "png": (".png",),
    "jpeg": (".jpg", ".jpeg"),
    "xlsx": (".xlsx",),
    "docx": (".docx",),
}
_LONGEST_NAME = 120


def keep_document(
    engine: Engine, regency: str, code: str, name: str, content: bytes, officer: str, now: dt.datetime
) -> uuid.UUID:
    """Keep the file under the fund; the same content again is the same document. Returns its id.

    Raises ``workflow.check_document.DocumentRefusedError``, and ``LookupError`` when the regency has no
    such fund. The record names kind, size and hash: a file's name may be a person's.
    """
    kind = check_document(content)
    digest = hashlib.sha256(content)
    with engine.begin() as connection:
        fund_id = connection.scalar(select(Fund.id).where(Fund.code == code, Fund.regency_code == regency))
        if fund_id is None:
            raise LookupError(code)
        document_id = uuid.uuid4()
        kept: uuid.UUID | None = connection.scalar(
            insert(FundDocument)
            .values(
                id=document_id,
                fund_id=fund_id,
                name=name_document(name, kind),
                kind=kind,
                content=content,
                sha256=digest.digest(),
                added_by=officer,
                added_at=now,
            )
            .on_conflict_do_nothing(index_elements=["fund_id", "sha256"])
            .returning(FundDocument.id)
        )
        if kept is None:
            known: uuid.UUID = connection.execute(
                select(FundDocument.id).where(
                    FundDocument.fund_id == fund_id, FundDocument.sha256 == digest.digest()
                )
            ).scalar_one()
            return known
        detail = {"document": str(kept), "kind": kind, "bytes": len(content), "sha256": digest.hexdigest()}
        record_action(connection, officer, "add_document", code, detail, now)
    return kept


def name_document(name: str, kind: DocumentKind) -> str:
    """The name without folders and signs that no file name has, with the ending of what the file is."""
    plain = "".join(
        sign for sign in re.split(r"[/\\]", name)[-1] if sign.isprintable() and sign not in '<>:"|?*'
    )
    plain = plain.encode("utf-8", "ignore").decode().strip()
    ending = ENDINGS[kind][0]
    if plain.lower().endswith(ENDINGS[kind]):
        plain, _, written = plain.rpartition(".")
        ending = f".{written}"
    return (plain.strip(" .")[: _LONGEST_NAME - len(ending)] or "dokumen") + ending
