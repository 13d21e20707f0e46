"""Check document: what a file is by its content, and whether it is safe to hand on.

A name or a declared type proves nothing. Office files are archives of XML: they are measured before and
while they are unpacked (bombs), each part is read without document types and entities (XXE), and whatever
could run or fetch something is refused (macros, embedded objects, outside links).
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from typing import Final, Literal
from xml.sax import SAXException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl
from zipfile import BadZipFile, LargeZipFile, ZipFile, ZipInfo

from defusedxml.common import DefusedXmlException
from defusedxml.expatreader import create_parser

from models.document_tables import MOST_BYTES

DocumentKind = Literal["pdf", "png", "jpeg", "xlsx", "docx"]
Refused = Literal[
    "empty", "too_large", "unknown_kind", "damaged", "encrypted", "bomb", "entities", "macros", "outside"
]

#: What a file of ten megabytes may hold once unpacked, in all and in one part.
_MOST_UNPACKED_BYTES: Final = 60 * 1024 * 1024
_MOST_PART_BYTES: Final = 30 * 1024 * 1024
_MOST_PARTS: Final = 2_000
#: XML packs well, but not endlessly; what packs better was made to.
_MOST_RATIO: Final = 200
_RATIO_FROM_BYTES: Final = 1024 * 1024
_CHUNK_BYTES: Final = 64 * 1024

#: What the libraries say of an archive or XML that is not whole.
_DAMAGED: Final = (
    BadZipFile,
    LargeZipFile,
    NotImplementedError,
    SAXException,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
)

#: Content type of the main part -> kind. ECMA-376 part 1, chapters 11.3.10 and 12.3.23.
_MAIN_PARTS: Final[dict[str, DocumentKind]] = {
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml": "docx",
}
#: Parts that hold or start a program: VBA, Excel 4 macro sheets, ActiveX, OLE objects, toolbars.
_PROGRAMS: Final = ("vba", "macro", "activex", "oleobject", "customui", "attachedtoolbars", "ctrlprop")
_PROGRAM_PATHS: Final = (
    "vbaproject",
    "/macrosheets/",
    "/activex/",
    "/embeddings/",
    "/ctrlprops/",
    "customui/",
)
#: A PDF's names that run, start or carry something (ISO 32000-2, 7.11.4, 12.6.4); compressed objects are
#: not looked into: documents only ever leave as attachments.
_PDF_PROGRAMS: Final = (b"/JavaScript", b"/Launch", b"/EmbeddedFile", b"/RichMedia")


class DocumentRefusedError(Exception):
    """The file is not taken; ``reason`` says why."""

    def __init__(self, reason: Refused) -> None:
        super().__init__(reason)
        self.reason: Refused = reason


def check_document(content: bytes) -> DocumentKind:
    """What the content is. Raises :class:`DocumentRefusedError` for anything else and anything unsafe."""
    if not content:
        raise DocumentRefusedError("empty")
    if len(content) > MOST_BYTES:
        raise DocumentRefusedError("too_large")
    if content.startswith(b"%PDF-"):
        return _check_pdf(content)
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        if content[12:16] != b"IHDR" or b"IEND" not in content[-16:]:
            raise DocumentRefusedError("damaged")
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        if b"\xff\xd9" not in content[-1024:]:  # some cameras append a little
            raise DocumentRefusedError("damaged")
        return "jpeg"
    if content.startswith(b"PK\x03\x04"):
        return _check_office(content)
    raise DocumentRefusedError("unknown_kind")


def _check_pdf(content: bytes) -> DocumentKind:
    end = content[-2048:]
    if b"startxref" not in end or b"%%EOF" not in end:
        raise DocumentRefusedError("damaged")
    if b"/Encrypt" in end:
        raise DocumentRefusedError("encrypted")
    if any(name in content for name in _PDF_PROGRAMS):
        raise DocumentRefusedError("macros")
    return "pdf"


def _check_office(content: bytes) -> DocumentKind:
    try:
        with ZipFile(io.BytesIO(content)) as archive:
            parts = archive.infolist()
            _check_sizes(parts, len(content))
            kinds = _ContentTypes()
            unpacked = 0
            for part in parts:
                reader = _reader_of(part, kinds)
                read = 0
                for chunk in _unpack(archive, part):
                    read, unpacked = read + len(chunk), unpacked + len(chunk)
                    if read > min(part.file_size, _MOST_PART_BYTES) or unpacked > _MOST_UNPACKED_BYTES:
                        raise DocumentRefusedError("bomb")
                    if reader is not None:
                        reader.feed(chunk)
                if reader is not None:
                    reader.close()
    except DefusedXmlException:
        raise DocumentRefusedError("entities") from None
    except (
        BadZipFile,
        LargeZipFile,
        NotImplementedError,
        zlib.error,
        EOFError,
        OSError,
        ValueError,
        SAXException,
    ):
        raise DocumentRefusedError("damaged") from None
    if kinds.main is None:
        raise DocumentRefusedError("unknown_kind")
    return kinds.main


def _check_sizes(parts: list[ZipInfo], packed_bytes: int) -> None:
    """What the archive says of itself, before anything is unpacked."""
    if len(parts) > _MOST_PARTS:
        raise DocumentRefusedError("bomb")
    if len({part.filename for part in parts}) != len(parts):
        raise DocumentRefusedError("damaged")  # which of the two would be opened?
    for part in parts:
        if part.flag_bits & 0x1:
            raise DocumentRefusedError("encrypted")
        steps = part.filename.replace("\\", "/").split("/")
        if part.filename.startswith(("/", "\\")) or ".." in steps:
            raise DocumentRefusedError("damaged")
        if any(sign in f"/{part.filename.lower()}" for sign in _PROGRAM_PATHS):
            raise DocumentRefusedError("macros")
        large = part.file_size > _RATIO_FROM_BYTES
        if part.file_size > _MOST_PART_BYTES or (large and part.file_size > _MOST_RATIO * part.compress_size):
            raise DocumentRefusedError("bomb")
    if sum(part.file_size for part in parts) > min(
        _MOST_UNPACKED_BYTES, max(_RATIO_FROM_BYTES, _MOST_RATIO * packed_bytes)
    ):
        raise DocumentRefusedError("bomb")


def _unpack(archive: ZipFile, part: ZipInfo) -> Iterator[bytes]:
    with archive.open(part) as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


class _Reader:
    """Reads one XML part as it is unpacked; document types and entities are refused by the library."""

    def __init__(self, handler: ContentHandler) -> None:
        self._parser = create_parser(forbid_dtd=True)
        self._parser.setContentHandler(handler)

    def feed(self, chunk: bytes) -> None:
        """Raises ``SAXException`` for what is no XML; the library's own for what is dangerous."""
        self._parser.feed(chunk)

    def close(self) -> None:
        """The part is whole."""
        self._parser.close()


def _reader_of(part: ZipInfo, kinds: _ContentTypes) -> _Reader | None:
    name = part.filename.lower()
    if name == "[content_types].xml":
        return _Reader(kinds)
    if name.endswith(".rels"):
        return _Reader(_Relations())
    return _Reader(ContentHandler()) if name.endswith((".xml", ".vml")) else None


class _ContentTypes(ContentHandler):
    """``[Content_Types].xml``: what the parts are."""

    def __init__(self) -> None:
        super().__init__()
        self.main: DocumentKind | None = None

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        """One part, or the parts of one ending."""
        kind = attrs.get("ContentType", "")
        if any(sign in kind.lower() for sign in _PROGRAMS):
            raise DocumentRefusedError("macros")
        if kind in _MAIN_PARTS:
            self.main = _MAIN_PARTS[kind]


class _Relations(ContentHandler):
    """A ``.rels`` part: what a part refers to. Only a link that a person clicks may lead outside."""

    def startElement(self, name: str, attrs: AttributesImpl) -> None:
        """One relation."""
        kind = attrs.get("Type", "").rpartition("/")[2].lower()
        if kind in ("vbaproject", "oleobject", "control", "xlmacrosheet", "package"):
            raise DocumentRefusedError("macros")
        if kind.startswith("externallink") or (
            attrs.get("TargetMode", "").lower() == "external" and kind != "hyperlink"
        ):
            raise DocumentRefusedError("outside")
