"""Request bodies of every content type, from right to nonsense."""

import io
import json
import math
from collections.abc import Callable
from random import Random
from typing import Any

import numpy
from PIL import Image

from tests.fuzz.mutations import COMMON, mutated
from tests.fuzz.runner import Case

_SCALARS: list[Any] = [
    0,
    1,
    -1,
    0.5,
    1e308,
    -0.0,
    10**40,
    2**63,
    math.nan,
    math.inf,
    True,
    None,
    "",
    "a",
    "0",
    "\0",
    "é\ud800",
]
_KEYS = [
    "instances",
    "inputs",
    "data",
    "columns",
    "dataframe_split",
    "features",
    "name",
    "shape",
    "datatype",
    "ndarray",
    "",
    "é",
]
_JSON_TOKENS = [
    *COMMON,
    b"[[",
    b"]",
    b"{}",
    b"NaN",
    b"null",
    b"[" * 500,
    b'"\\ud800"',
    b'"instances":',
    b",,",
    b"1e999",
    b"9" * 5000,
]
_CSV_TOKENS = [
    *COMMON,
    b",",
    b'""',
    b"\r",
    b";",
    b"#",
    b"," * 2000,
    b"nan",
    b"1e999",
    b"\xef\xbb\xbf",
    b"a,b\n",
    b"x" * 70000,
]
_NPY_TOKENS = [
    *COMMON,
    b"'|O'",
    b"'<U999999'",
    b"(99999999,)",
    b"(-1, 64)",
    b"True",
    b"'<f8'",
    b"'>i2'",
    b"{",
    b"(2,",
    b"\x93NUMPY\x02\x00",
]
_CHARSETS = [
    "; charset=utf-8",
    "; charset=utf-16",
    "; charset=latin-1",
    "; charset=none",
    "; charset=utf-7",
    ";;=",
    "; header=present",
]
_DTYPES = ["<f4", "<f8", ">f8", "<i8", "|u1", "|b1", "<c16", "<U3", "|S5", "<M8[s]", "<f2"]
_ODD_TYPES = [
    "application/json",
    "text/csv",
    "application/x-npy",
    "image/png",
    "text/plain",
    "application/x-www-form-urlencoded",
    "",
    "a/b",
    "*/*",
]
_MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr"]
_FORMATS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]


def new_body(chance: Random, size: int) -> Case:
    """Return a body, and its content type as `how`. `size`: how many numbers the model takes."""
    media_type, data, tokens = chance.choice(_KINDS)(chance, size)
    if chance.random() < 0.6:
        data = mutated(data, chance, tokens)
    if chance.random() < 0.05:
        media_type = chance.choice(_ODD_TYPES)
    return Case(
        data, media_type + (chance.choice(_CHARSETS) if ";" not in media_type and chance.random() < 0.3 else "")
    )


def _numbers(chance: Random, size: int) -> list[float]:
    return [chance.choice((0, 5, 16, 0.5)) for _ in range(chance.choice((size, size, size, size, 1, 2, 2 * size)))]


def _value(chance: Random, size: int, depth: int = 3) -> Any:
    kind = chance.randrange(6)
    if depth == 0 or kind < 2:
        return chance.choice(_SCALARS)
    if kind < 4:
        return [_value(chance, size, depth - 1) for _ in range(chance.choice((0, 1, 2, 5)))]
    if kind == 4:
        return _numbers(chance, size)
    return {chance.choice(_KEYS): _value(chance, size, depth - 1) for _ in range(chance.choice((0, 1, 3)))}


def _document(chance: Random, size: int) -> Any:
    rows = [_numbers(chance, size) for _ in range(chance.choice((1, 2, 3)))]
    tensor = {
        "name": "x",
        "shape": [1, size],
        "datatype": chance.choice(("FP32", "INT64", "BYTES", "?")),
        "data": rows[0],
    }
    shapes = [rows, rows[0], {"instances": rows}, {"inputs": [tensor]}, {"data": {"ndarray": rows}}, {"x": 1, "y": "a"}]
    shapes += [
        {"dataframe_split": {"columns": ["a", "b"], "data": rows}},
        {"instances": [{"features": rows[0]}]},
        _value(chance, size),
    ]
    return chance.choice(shapes)


def _json(chance: Random, size: int) -> tuple[str, bytes, list[bytes]]:
    return "application/json", json.dumps(_document(chance, size)).encode(), _JSON_TOKENS


def _json_lines(chance: Random, size: int) -> tuple[str, bytes, list[bytes]]:
    lines = [json.dumps(_document(chance, size)) for _ in range(chance.choice((1, 2, 5)))]
    media_type = chance.choice(("application/jsonlines", "application/x-ndjson"))
    return media_type, chance.choice(("\n", "\r\n", "\n\n")).join(lines).encode(), _JSON_TOKENS


def _csv(chance: Random, size: int) -> tuple[str, bytes, list[bytes]]:
    rows = [
        chance.choice((",", ",", ";", "\t", ", ")).join(map(str, _numbers(chance, size)))
        for _ in range(chance.choice((1, 2, 5)))
    ]
    if chance.random() < 0.2:
        rows[chance.randrange(len(rows))] = chance.choice(('"a,b",c', "a" * 5000, ",,,", '"', "é,ü", "a,b"))
    return "text/csv", chance.choice(("\n", "\r\n", "\r")).join(rows).encode(), _CSV_TOKENS


def _npy(chance: Random, size: int) -> tuple[str, bytes, list[bytes]]:
    shape = chance.choice(((size,), (1, size), (2, size), (0, size), (), (1, 3, 6, 6), (3, 6, 6), (1,) * 20))
    array = numpy.asfortranarray(numpy.zeros(shape)) if chance.random() < 0.3 else numpy.ones(shape)
    stream = io.BytesIO()
    numpy.save(stream, array.astype(chance.choice(_DTYPES)), allow_pickle=False)
    return "application/x-npy", stream.getvalue(), _NPY_TOKENS


def _image(chance: Random, size: int) -> tuple[str, bytes, list[bytes]]:
    pixels = chance.choice(((8, 8), (6, 6), (6, 6), (1, 1), (1, 3000), (64, 64)))
    stream = io.BytesIO()
    form = chance.choice(_FORMATS)
    try:
        picture = Image.new(chance.choice(_MODES), pixels)
        picture.save(stream, form)
    except (OSError, ValueError, KeyError):  # a mode that this format does not have
        stream = io.BytesIO()
        Image.new("RGB", pixels).save(stream, form)
    return chance.choice((f"image/{form.lower()}", "application/x-image")), stream.getvalue(), COMMON


def _multipart(chance: Random, size: int) -> tuple[str, bytes, list[bytes]]:
    media_type, content, _ = chance.choice(_KINDS[:-1])(chance, size)
    disposition = chance.choice(
        ("form-data; name=a; filename=b", "form-data; name=a", "attachment", "", "form-data; name=" + "n" * 999)
    )
    part = (
        f"--b\r\nContent-Disposition: {disposition}\r\nContent-Type: {media_type}\r\n\r\n".encode() + content + b"\r\n"
    )
    tokens = [*COMMON, b"--b", b"--b--", b"\r\n\r\n", b"Content-Transfer-Encoding: base64\r\n", b"filename*=utf-8''%ff"]
    boundary = chance.choice(
        ("; boundary=b", "; boundary=b", '; boundary="b"', "; boundary=", "", "; boundary=" + "b" * 300)
    )
    return "multipart/form-data" + (boundary or ";"), part * chance.choice((1, 2, 20)) + b"--b--\r\n", tokens


_KINDS: list[Callable[[Random, int], tuple[str, bytes, list[bytes]]]] = [
    _json,
    _json_lines,
    _csv,
    _npy,
    _image,
    _multipart,
]
