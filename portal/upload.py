"""A form with one file: its length is asked for before a byte is read, and never guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from models.document_tables import MOST_BYTES

#: What a form adds around its file.
_FORM_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Upload:
    """The file and the form's other fields; ``problem`` says why there is no file."""

    problem: Literal["", "too_large", "no_file"] = ""
    name: str = ""
    content: bytes = field(default=b"", repr=False)
    fields: dict[str, str] = field(default_factory=dict)


async def read_upload(request: Request) -> Upload:
    """Read the form's ``file``. A route names who may send it before this in its parameters."""
    length = request.headers.get("content-length", "")
    if not length.isascii() or not length.isdigit():
        return Upload("no_file")
    if int(length) > MOST_BYTES + _FORM_BYTES:
        return Upload("too_large")
    try:
        async with request.form(max_files=1, max_fields=4, max_part_size=_FORM_BYTES) as form:
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            file = form.get("file")
            if not isinstance(file, UploadFile) or not file.filename:
                return Upload("no_file", fields=fields)
            return Upload(name=file.filename, content=await file.read(), fields=fields)
    except HTTPException:
        return Upload("no_file")
