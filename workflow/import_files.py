"""Import files: read a CSV or XLSX table as rows of named columns, for intake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


class FileUnreadableError(ValueError):
    """The file is no table Gotong can read; the message says why, in one sentence."""


def read_table(path: Path) -> Iterator[dict[str, object]]:
    """Rows of a ``.csv`` or ``.xlsx`` file with a header; its first data row is row 2.

    Header names are lowercased and stripped; empty cells become ``None``, empty rows are kept as
    rows of ``None`` so that row numbers stay those of the file.
    """
    raise NotImplementedError
