"""Decoders of request bodies to rows or a picture, by Content-Type. A body is never unpickled."""

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy

from polyhost.handlers import images
from polyhost.handlers.errors import BadBodyError, UnsupportedMediaTypeError
from polyhost.handlers.media_types import CSV, IMAGE, JPEG, JSON, JSON_LINES, NPY, PNG, MediaType
from polyhost.handlers.payload import Inputs, Picture, Rows, rows_from

Body = bytes | bytearray
_npy: Any = numpy.lib.format  # numpy leaves its functions without annotations
_NPY_HEADER = 1024  # bytes; a plain array's takes 118
_NPY_DIMENSIONS = 32  # numpy 1's own limit; numpy 2 has 64


def decode(body: Body, content_type: str) -> Inputs:
    """Decode a body; one without a Content-Type is JSON. Raises BadBodyError and UnsupportedMediaTypeError."""
    media_type = MediaType.parse(content_type or JSON)
    decoder = DECODERS.get(media_type.name)
    if decoder is None:
        raise UnsupportedMediaTypeError(content_type, DECODERS)
    if not body:
        raise BadBodyError(f"the body is empty; expected {media_type.name}")
    return decoder(body, media_type)


def parsed(body: Body, media_type: MediaType) -> Any:
    """Return what JSON says, as it was sent, and for JSON lines a list of it. Raises BadBodyError."""
    if not body:
        raise BadBodyError(f"the body is empty; expected {media_type.name}")
    if media_type.name == JSON:
        return _parsed(text(body, media_type), "the body")
    # Not splitlines(): JSON allows its other separators, such as U+2028, inside a string.
    lines = enumerate(text(body, media_type).split("\n"), start=1)
    return [_parsed(line, f"line {number}") for number, line in lines if line.strip()]


def text(body: Body, media_type: MediaType) -> str:
    """Decode a body by the charset of its media type, UTF-8 without one. Raises BadBodyError."""
    charset = media_type.parameters.get("charset", "utf-8")
    try:
        return body.decode(charset).removeprefix("\ufeff")
    except LookupError:
        raise BadBodyError(f"the charset {charset!r} of the Content-Type is unknown; send utf-8") from None
    except UnicodeDecodeError as error:
        raise BadBodyError(f"the body is not {charset}: {error.reason} at byte {error.start}") from None
    except UnicodeError as error:
        raise BadBodyError(f"the body is not {charset}: {error}") from None


def _from_json(body: Body, media_type: MediaType) -> Rows:
    return rows_from(parsed(body, media_type))


def _parsed(source: str, where: str) -> Any:
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise BadBodyError(f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise BadBodyError(f"{where} is not usable JSON: it is nested too deeply") from None
    except ValueError as error:
        raise BadBodyError(f"{where} is not usable JSON: {error}") from None


def _from_csv(body: Body, media_type: MediaType) -> Rows:
    csv.field_size_limit(sys.maxsize)  # a setting of the whole module; its default is 131,072 characters
    reader = csv.reader(io.StringIO(text(body, media_type), newline=""), strict=True)
    try:
        table = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise BadBodyError(f"line {reader.line_num} is not CSV: {error}") from None
    if not table:
        raise BadBodyError("the CSV body holds no row")
    _check_widths(table)
    return _table([cells for _, cells in table], media_type.parameters.get("header"))


def _check_widths(table: Sequence[tuple[int, list[str]]]) -> None:
    first, width = table[0][0], len(table[0][1])
    for line, cells in table:
        if len(cells) != width:
            raise BadBodyError(f"line {line} has {len(cells)} values, line {first} has {width}")


def _table(lines: list[list[str]], header: str | None) -> Rows:
    """Read a header if the client says `header=present` (RFC 4180, section 3), or if words stand above numbers."""
    present = _looks_like_header(lines) if header is None else header == "present"
    cells = lines[1:] if present else lines
    if not cells:
        raise BadBodyError("the CSV body holds a header and no row")
    columns = [_column(column) for column in zip(*cells, strict=True)]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return Rows(rows, tuple(name.strip() for name in lines[0]) if present else None)


def _looks_like_header(lines: list[list[str]]) -> bool:
    first, *others = lines
    return bool(others) and _are_names(first) and any(map(_is_number, others[0]))


def _are_names(cells: list[str]) -> bool:
    """Return whether the cells are distinct words; the first may be empty, as pandas leaves it above an index."""
    names = cells if cells[0].strip() else cells[1:]
    differ = len(set(names)) == len(names) > 0
    return differ and all(name.strip() for name in names) and not any(map(_is_number, names))


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _number(cell: str) -> float:
    if "_" in cell:
        raise ValueError("float() would accept it as one of Python's digit separators")
    return float(cell)


def _column(cells: Iterable[str]) -> Iterable[float | str]:
    """Convert to numbers if every cell is one; an empty cell is NaN."""
    cells = list(cells)
    try:
        return [_number(cell) if cell.strip() else math.nan for cell in cells]
    except ValueError:
        return cells


def _from_npy(body: Body, media_type: MediaType) -> Rows:
    """Check the header against the body before anything is allocated: the shape is only the sender's claim."""
    stream = io.BytesIO(body)
    try:
        version = _npy.read_magic(stream)
        read_header = {(1, 0): _npy.read_array_header_1_0, (2, 0): _npy.read_array_header_2_0}.get(version)
    except ValueError as error:
        raise BadBodyError(f"the body is not NPY: {error}") from None
    if read_header is None:
        raise BadBodyError(f"the NPY version {version} is not supported; write version 1.0 or 2.0")
    try:
        shape, fortran, dtype = read_header(stream, max_header_size=_NPY_HEADER)
    except Exception as error:
        # numpy passes the sender's text to Python's tokenizer and parser. They raise all kinds of errors: a MemoryError
        # too, for an expression nested too deeply.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise BadBodyError(f"the NPY header cannot be read: {reason}") from None
    return Rows(_array(body, stream.tell(), shape, "F" if fortran else "C", dtype))


def _array(body: Body, offset: int, shape: tuple[int, ...], order: Any, dtype: numpy.dtype[Any]) -> Any:
    if dtype.hasobject:
        raise BadBodyError(
            f"the NPY body holds Python objects ({dtype}), which are pickled; only plain values are read"
        )
    if dtype.subdtype or len(shape) > _NPY_DIMENSIONS or any(size < 0 for size in shape):
        raise BadBodyError(f"the NPY header says {dtype}{list(shape)}, which is not an array of plain values")
    expected, given = math.prod(shape) * dtype.itemsize, len(body) - offset
    if not shape or expected != given or not expected:
        raise BadBodyError(f"the NPY body says {dtype}{list(shape)}, {expected} bytes; it holds {given}")
    return numpy.frombuffer(body, dtype, offset=offset).reshape(shape, order=order)


def _from_image(body: Body, media_type: MediaType) -> Picture:
    return images.read(body)


DECODERS: dict[str, Callable[[Body, MediaType], Inputs]] = {
    JSON: _from_json,
    CSV: _from_csv,
    JSON_LINES: _from_json,
    NPY: _from_npy,
    IMAGE: _from_image,
    JPEG: _from_image,
    PNG: _from_image,
}
