"""A file is what its content says; whatever could run, fetch or swell is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest
import xlsxwriter

from models.document_tables import MOST_BYTES
from workflow.check_document import DocumentRefusedError, check_document
from workflow.keep_document import name_document

PDF = b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<<>>\nstartxref\n9\n%%EOF\n"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(17) + b"\0\0\0\0IEND\xaeB`\x82"
JPEG = b"\xff\xd8\xff\xe0" + bytes(40) + b"\xff\xd9"
_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Override'
    ' PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument'
    '.wordprocessingml.document.{kind}main+xml"/>{more}</Types>'
)
_RELATION = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship'
    ' Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}"'
    ' Target="http://contoh.example/x"{mode}/></Relationships>'
)


def docx(parts: Mapping[str, str | bytes] | None = None, *, kind: str = "", more: str = "") -> bytes:
    """A word file with ``parts`` added or replaced."""
    whole: dict[str, str | bytes] = {
        "[Content_Types].xml": _TYPES.format(kind=kind, more=more),
        "word/document.xml": "<w:document xmlns:w='w'><w:body/></w:document>",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (whole | dict(parts or {})).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def xlsx() -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        page = book.add_worksheet()
        page.write_url(0, 0, "https://contoh.example/")  # a link that a person clicks is nobody's harm
    return buffer.getvalue()


def doubled(name: str) -> bytes:
    buffer = io.BytesIO(docx())
    with zipfile.ZipFile(buffer, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, "<x/>")
    return buffer.getvalue()


def lying() -> bytes:
    """An archive whose directory says that a part of thirty megabytes has a hundred bytes."""
    whole = bytearray(docx({"word/large.xml": b"<x>" + b" " * 5_000_000 + b"</x>"}))
    size = (5_000_007).to_bytes(4, "little")
    while (at := whole.find(size)) >= 0:
        whole[at : at + 4] = (100).to_bytes(4, "little")
    return bytes(whole)


@pytest.mark.parametrize(
    ("content", "kind"),
    [(PDF, "pdf"), (PNG, "png"), (JPEG, "jpeg"), (xlsx(), "xlsx"), (docx(), "docx")],
    ids=["pdf", "png", "jpeg", "xlsx", "docx"],
)
def test_the_content_says_what_a_file_is(content: bytes, kind: str) -> None:
    assert check_document(content) == kind


_ENTITY = "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>"
_OUTSIDE = ' TargetMode="External"'
_LAUGHS = "<!DOCTYPE x [<!ENTITY a 'ha'><!ENTITY b '&a;&a;&a;'>]><x>&b;</x>"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"%PDF-1.7" + bytes(MOST_BYTES), "too_large"),
        (b"MZ\x90\x00 a program", "unknown_kind"),
        (b"<html><script>alert(1)</script>", "unknown_kind"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 an old office file", "unknown_kind"),
        (PDF[:-20], "damaged"),
        (PDF.replace(b"<<>>", b"<</Encrypt 5 0 R>>"), "encrypted"),
        (PDF.replace(b"/Catalog", b"/Catalog/OpenAction<</S/JavaScript>>"), "macros"),
        (PNG[:20], "damaged"),
        (JPEG[:-2], "damaged"),
        (docx()[:-30], "damaged"),
        (docx({"word/document.xml": "<w:document"}), "damaged"),
        (docx({"../../etc/cron.d/x": "x"}), "damaged"),
        (docx({"[Content_Types].xml": "<Types/>"}), "unknown_kind"),
        (docx({"word/vbaProject.bin": b"x"}), "macros"),
        (docx({"word/embeddings/oleObject1.bin": b"x"}), "macros"),
        (docx({"word/activeX/activeX1.xml": "<x/>"}), "macros"),
        (docx(kind="macroEnabled."), "macros"),
        (docx(more='<Default ContentType="application/vnd.ms-office.vbaProject"/>'), "macros"),
        (docx({"word/_rels/document.xml.rels": _RELATION.format(kind="oleObject", mode="")}), "macros"),
        (docx({"word/document.xml": _ENTITY}), "entities"),
        (docx({"word/styles.xml": _LAUGHS}), "entities"),
        (docx({"word/x.rels": _RELATION.format(kind="attachedTemplate", mode=_OUTSIDE)}), "outside"),
        (docx({"xl/x.rels": _RELATION.format(kind="externalLinkPath", mode="")}), "outside"),
        (docx({"word/large.xml": b"<x>" + b" " * 5_000_000 + b"</x>"}), "bomb"),
        (docx({f"word/{number}.xml": b"<x/>" for number in range(2_001)}), "bomb"),
        (lying(), "damaged"),
    ],
)  # fmt: skip
def test_what_is_unsafe_or_something_else_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DocumentRefusedError) as refused:
        check_document(content)
    assert refused.value.reason == reason


def test_an_archive_with_two_parts_of_one_name_is_refused() -> None:
    with pytest.raises(DocumentRefusedError, match="damaged"):
        check_document(doubled("word/document.xml"))


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Perjanjian.pdf", "Perjanjian.pdf"),
        ("C:\\dokumen\\SK Bupati.PDF", "SK Bupati.PDF"),
        ("../../etc/passwd", "passwd.pdf"),
        ("perjanjian.exe", "perjanjian.exe.pdf"),
        ("a\r\nSet-Cookie: x.pdf", "aSet-Cookie x.pdf"),
        ("", "dokumen.pdf"),
        (".pdf", "dokumen.pdf"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
    ],
)
def test_a_name_keeps_its_words_and_ends_as_what_it_is(written: str, kept: str) -> None:
    assert name_document(written, "pdf") == kept
