"""Objects split into records, read one at a time: an object may be larger than the memory."""

import gzip
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from polyhost.emulator.batch_transform.failures import FailureKind, TransformError
from polyhost.emulator.batch_transform.spec import SplitType

# dmlc-core's recordio.h: a magic number, then three bits that say which part of a record it is, and 29 of its length.
_RECORD_IO_MAGIC = 0xCED7230A
_MAGIC_BYTES = struct.pack("<I", _RECORD_IO_MAGIC)
_LENGTH_BITS = 29
_CHUNK_BYTES = 1 << 20
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)


@dataclass(frozen=True)
class Record:
    """A record: its data, and the bytes with which it stands in the object (developer guide: "padding")."""

    data: bytes
    framed: bytes


def open_object(path: Path, compressed: bool) -> IO[bytes]:
    """Open a downloaded object, decompressed."""
    return cast(IO[bytes], gzip.open(path, "rb")) if compressed else path.open("rb")


def read_records(file: IO[bytes], split: SplitType, max_bytes: int | None) -> Iterator[Record]:
    """Yield the records. Raises TransformError for a broken object, or a record with more than `max_bytes`."""
    readers: dict[SplitType, Callable[[IO[bytes], int | None], Iterator[Record]]] = {
        SplitType.NONE: _whole,
        SplitType.LINE: _lines,
        SplitType.RECORD_IO: _record_io,
        SplitType.TF_RECORD: _tf_records,
    }
    with _gzip_errors():
        yield from readers[split](file, max_bytes)


def unpack_object(source: Path, target: Path) -> None:
    """Write a compressed object's content to a file. Raises TransformError if it is not gzip."""
    with _gzip_errors(), open_object(source, compressed=True) as file, target.open("wb") as output:
        shutil.copyfileobj(file, output, _CHUNK_BYTES)


@contextmanager
def _gzip_errors() -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TransformError(
            FailureKind.CLIENT, f"the object is not complete gzip ({error}); correct it, or CompressionType"
        ) from None


def _whole(file: IO[bytes], max_bytes: int | None) -> Iterator[Record]:
    data = file.read() if max_bytes is None else file.read(max_bytes + 1)
    _check_size(len(data), max_bytes, "the object", at_least=True)
    yield Record(data, data)


def _lines(file: IO[bytes], max_bytes: int | None) -> Iterator[Record]:
    number = 0
    while line := file.readline() if max_bytes is None else file.readline(max_bytes + 2):
        number += 1
        data = line.removesuffix(b"\n")
        _check_size(len(data), max_bytes, f"line {number}", at_least=True)
        yield Record(data, data)


def _record_io(file: IO[bytes], max_bytes: int | None) -> Iterator[Record]:
    number = 0
    while (part := _record_io_part(file, number + 1, max_bytes)) is not None:
        number += 1
        kind, data, framed = part
        while kind in (_FIRST, _MIDDLE):  # the data had the magic number in it, where it was cut
            rest = _record_io_part(file, number, max_bytes)
            if rest is None:
                raise _truncated(number)
            kind, data, framed = rest[0], data + _MAGIC_BYTES + rest[1], framed + rest[2]
            _check_size(len(framed), max_bytes, f"record {number}")
        yield Record(data, framed)


def _record_io_part(file: IO[bytes], number: int, max_bytes: int | None) -> tuple[int, bytes, bytes] | None:
    head = file.read(8)
    if not head:
        return None
    if len(head) < 8:
        raise _truncated(number)
    magic, word = struct.unpack("<II", head)
    if magic != _RECORD_IO_MAGIC:
        raise TransformError(FailureKind.CLIENT, f"record {number} is not in the format RecordIO; correct SplitType")
    kind, length = word >> _LENGTH_BITS, word & ((1 << _LENGTH_BITS) - 1)
    padded = (length + 3) // 4 * 4
    _check_size(padded + len(head), max_bytes, f"record {number}")
    data = file.read(padded)
    if len(data) < length:
        raise _truncated(number)
    return kind, data[:length], head + data


def _tf_records(file: IO[bytes], max_bytes: int | None) -> Iterator[Record]:
    number = 0
    while head := file.read(12):  # a length and its checksum, then the data and another checksum
        number += 1
        if len(head) < 12:
            raise _truncated(number)
        (length,) = struct.unpack("<Q", head[:8])
        _check_size(length + 16, max_bytes, f"record {number}")
        rest = file.read(length + 4)
        if len(rest) < length + 4:
            raise _truncated(number)
        yield Record(rest[:length], head + rest)


def _check_size(size: int, max_bytes: int | None, what: str, at_least: bool = False) -> None:
    if max_bytes is not None and size > max_bytes:
        raise TransformError(
            FailureKind.CLIENT,
            f"Too much data for max payload size: {what} has {size} bytes{' or more' if at_least else ''},"
            f" MaxPayloadInMB allows {max_bytes}; raise it, or set SplitType",
        )


def _truncated(number: int) -> TransformError:
    return TransformError(
        FailureKind.CLIENT, f"the object ends in the middle of record {number}; correct it, or SplitType"
    )
