"""Between NumPy, Python and Arrow without a detour.

Arrow's own conversions from arrays and lists import pandas when it is installed, which costs a
run of one second another second. These few lines do the same on the buffers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def as_numpy(numbers: pa.Array, dtype: Any) -> Any:
    """An integer array without nulls, without the copy and the imports of Arrow's own conversion."""
    return np.frombuffer(numbers.buffers()[1], dtype=dtype)[numbers.offset : numbers.offset + len(numbers)]


def column_of(values: npt.NDArray[Any]) -> Any:
    """A NumPy array of numbers as an Arrow column."""
    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def text_column(words: Sequence[str]) -> Any:
    """Strings as an Arrow column."""
    encoded = [word.encode() for word in words]
    ends = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(word) for word in encoded], out=ends[1:])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def blank_where(column: Any, where: npt.NDArray[np.bool_]) -> Any:
    """A column of numbers with empty cells where the mask is true."""
    present = pa.py_buffer(np.packbits(~where, bitorder="little"))
    return pa.Array.from_buffers(column.type, len(column), [present, column.buffers()[1]])
