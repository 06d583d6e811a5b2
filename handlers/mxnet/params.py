"""A file of MXNet parameters, memory-mapped instead of read: all workers share its pages in the page cache.

MXNet's own reader copies them; its convolutions then keep a second copy, in oneDNN's order, and never read the first
again. The format: mxnet/src/ndarray/ndarray.cc, NDArray::Save, and dmlc/serializer.h; all numbers are little-endian.
"""

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

Array = NDArray[Any]

_FILE_MAGIC = 0x112
_ARRAY_MAGICS = (0xF993FAC9, 0xF993FACA)  # versions 2 and 3, which differ in what a shape without dimensions means
_DENSE = 0
_DTYPES = {0: "f4", 1: "f8", 2: "f2", 3: "u1", 4: "i4", 6: "i8"}  # int8 is missing: mxnet.nd.from_numpy rejects it


def mapped(path: Path) -> Mapping[str, Array] | None:
    """Return the arrays by name; None if the file is of another version, holds something else, or is incomplete."""
    if path.stat().st_size == 0:
        return None
    data = numpy.memmap(path, dtype=numpy.uint8, mode="c")  # copy on write
    try:
        return _ParamsReader(data).arrays()
    except (struct.error, KeyError, ValueError):
        return None


class _ParamsReader:
    """Reads on from `_at`; raises ValueError, KeyError or struct.error where the format is another."""

    def __init__(self, data: Array) -> None:
        self._data = data
        self._at = 0

    def arrays(self) -> Mapping[str, Array]:
        if self._numbers("QQ")[0] != _FILE_MAGIC:
            raise ValueError
        arrays = [self._array() for _ in range(self._count())]
        names = [self._bytes(self._count()).tobytes().decode() for _ in range(self._count())]
        if self._at != len(self._data):
            raise ValueError
        return dict(zip(names, arrays, strict=True))

    def _array(self) -> Array:
        magic, storage, dimensions = self._numbers("Iii")
        if magic not in _ARRAY_MAGICS or storage != _DENSE or dimensions < 1:
            raise ValueError
        shape = self._numbers(f"{dimensions}q")
        _, _, kind = self._numbers("iii")  # the type follows the device that it was saved from
        dtype = numpy.dtype(_DTYPES[kind])
        values = self._bytes(math.prod(shape) * dtype.itemsize).view(dtype).reshape(shape)
        return numpy.require(values, requirements="A")  # copies where eight bytes are not aligned

    def _count(self) -> int:
        return int(self._numbers("Q")[0])

    def _numbers(self, form: str) -> tuple[int, ...]:
        form = f"<{form}"
        return struct.unpack(form, self._bytes(struct.calcsize(form)).tobytes())

    def _bytes(self, count: int) -> Array:
        start, self._at = self._at, self._at + count
        if not 0 <= count <= len(self._data) - start:
            raise ValueError
        return self._data[start : self._at]
