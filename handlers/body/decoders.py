"""Decoders of request bodies to rows or a picture, by Content-Type. A body is never unpickled."""

import io
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy

from polyhost.handlers.body import csv_table, envelopes, forms, images, libsvm, limits
from polyhost.handlers.body.media_types import (
    CSV,
    IMAGE,
    JPEG,
    JSON,
    JSON_LINES,
    LIBSVM,
    MULTIPART,
    NPY,
    PNG,
    TEXT,
    URLENCODED,
    MediaType,
)
from polyhost.handlers.body.payload import ANYTHING, Expected, Inputs, Picture, Rows
from polyhost.handlers.errors import BadBodyError, UnsupportedMediaTypeError

Body = bytes | bytearray
Decoder = Callable[[Body, MediaType, Expected], Inputs]
_npy: Any = numpy.lib.format  # numpy leaves its functions without annotations
_NPY_HEADER = 1024  # bytes; a plain array's takes 118
_NPY_DIMENSIONS = 32  # numpy 1's own limit; numpy 2 has 64


def decode(body: Body, content_type: str, expected: Expected = ANYTHING) -> Inputs:
    """Decode a body; one without a Content-Type is JSON. Raises BadBodyError and UnsupportedMediaTypeError."""
    media_type = MediaType.parse(content_type or JSON)
    decoder = _decoder(media_type.name, expected)
    if decoder is None:
        if media_type.name == MULTIPART:
            return _from_form(body, content_type, expected)
        raise _unsupported(media_type.name, content_type, expected)
    if not body:
        raise BadBodyError(f"the body is empty; expected {media_type.name}")
    return decoder(body, media_type, expected)


def _decoder(name: str, expected: Expected) -> Decoder | None:
    return DECODERS.get(name) or _only_for(expected).get(name)


def _only_for(expected: Expected) -> dict[str, Decoder]:
    """Return the decoders that only some models have a use for."""
    found: dict[str, Decoder] = {TEXT: _from_text} if expected.text else {}
    return found | {LIBSVM: _from_libsvm} if expected.sparse_columns else found


def parsed(body: Body, media_type: MediaType) -> Any:
    """Return what JSON says, as it was sent, and for JSON lines a list of it. Raises BadBodyError."""
    if not body:
        raise BadBodyError(f"the body is empty; expected {media_type.name}")
    source = text(body, media_type)
    if media_type.name == JSON:
        limits.check_json(source)
        return _parsed(source, "the body")
    limits.check_json(source, ",[{\n")
    # Not splitlines(): JSON allows its other separators, such as U+2028, inside a string.
    lines = enumerate(source.split("\n"), start=1)
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


def _from_json(body: Body, media_type: MediaType, expected: Expected) -> Rows:
    return envelopes.rows_from(parsed(body, media_type), expected)


def _from_json_lines(body: Body, media_type: MediaType, expected: Expected) -> Rows:
    return envelopes.rows_from_lines(parsed(body, media_type), expected)


def _parsed(source: str, where: str) -> Any:
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        raise BadBodyError(f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise BadBodyError(f"{where} is not usable JSON: it is nested too deeply") from None
    except ValueError as error:
        raise BadBodyError(f"{where} is not usable JSON: {error}") from None


def _from_csv(body: Body, media_type: MediaType, expected: Expected) -> Rows:
    return csv_table.rows_from(text(body, media_type), media_type.parameters.get("header"), expected)


def _from_text(body: Body, media_type: MediaType, expected: Expected) -> Rows:
    """Read the whole body as one text, less the line's end that editors and `echo` add."""
    return Rows([text(body, media_type).removesuffix("\n").removesuffix("\r")])


def _from_libsvm(body: Body, media_type: MediaType, expected: Expected) -> Rows:
    return Rows(libsvm.table(text(body, media_type), expected.sparse_columns, media_type.parameters.get("base")))


def _from_form(body: Body, content_type: str, expected: Expected) -> Inputs:
    """Decode the one file of a form, as `curl -F file=@cat.jpg` sends it, by its own type."""
    part = forms.only_file(forms.parse(body, content_type))
    name = MediaType.parse(part.content_type).name
    if _decoder(name, expected) is None:
        raise UnsupportedMediaTypeError(
            part.content_type,
            [*DECODERS, *_only_for(expected)],
            f"the file {part.name!r} of a form; curl -F 'file=@rows.csv;type=text/csv' sets it",
        )
    return decode(part.value, part.content_type, expected)


def _unsupported(name: str, content_type: str, expected: Expected) -> UnsupportedMediaTypeError:
    accepted = [*DECODERS, *_only_for(expected), f"{MULTIPART} with one file"]
    if name == URLENCODED:
        return UnsupportedMediaTypeError(content_type, accepted, forms.CURL_HINT)
    return UnsupportedMediaTypeError(content_type, accepted)


def _from_npy(body: Body, media_type: MediaType, expected: Expected) -> Rows:
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
    array = numpy.frombuffer(body, dtype, offset=offset).reshape(shape, order=order)
    _check_text(array)
    return array


def _check_text(array: Any) -> None:
    """Reject what is no text: numpy makes a SystemError of it, which is not the client's, wherever it is read later."""
    for name in array.dtype.names or ():
        _check_text(array[name])
    if array.dtype.kind == "U" and array.dtype.itemsize:
        codes = numpy.ascontiguousarray(array).view(numpy.dtype("u4").newbyteorder(array.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise BadBodyError(f"the NPY body holds text ({array.dtype}) with a code above U+{sys.maxunicode:X}")


def _from_image(body: Body, media_type: MediaType, expected: Expected) -> Picture:
    return images.read(body)


DECODERS: dict[str, Decoder] = {
    JSON: _from_json,
    CSV: _from_csv,
    JSON_LINES: _from_json_lines,
    NPY: _from_npy,
    IMAGE: _from_image,
    JPEG: _from_image,
    PNG: _from_image,
}
