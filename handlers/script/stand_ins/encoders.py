"""In place of `sagemaker_containers.beta.framework.encoders`. NPY is never unpickled."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import numpy

from polyhost.handlers.body import arrays as _arrays
from polyhost.handlers.body import encoders as _encoders
from polyhost.handlers.body.media_types import CSV as _CSV
from polyhost.handlers.body.media_types import JSON as _JSON
from polyhost.handlers.body.media_types import NPY as _NPY
from polyhost.handlers.body.media_types import MediaType as _MediaType
from polyhost.handlers.script.stand_ins.errors import ClientError, UnsupportedFormatError


def array_to_npy(array_like: Any) -> bytes:
    return _encoders.encode(_arrays.guessed(array_like), _NPY)


def npy_to_numpy(npy_array: bytes) -> Any:
    return numpy.load(io.BytesIO(npy_array), allow_pickle=False)


def array_to_json(array_like: Any) -> str:
    return _encoders.encode(array_like, _JSON).decode()


def json_to_numpy(string_like: str | bytes, dtype: Any = None) -> Any:
    values = json.loads(string_like)
    return _guessed(values) if dtype is None else numpy.array(values, dtype=dtype)


def array_to_csv(array_like: Any) -> str:
    return _encoders.encode(array_like, _CSV).decode()


def csv_to_numpy(string_like: str, dtype: Any = None) -> Any:
    """Return numbers, or text if a cell is not a number; without dimensions of size one."""
    rows = list(csv.reader(io.StringIO(string_like), strict=True))
    try:
        if numpy.dtype(dtype).kind in "iuf":  # of None too, which is float64
            return numpy.array(rows, dtype=dtype or numpy.float64).squeeze()
        return _guessed(rows).squeeze().astype(dtype)
    except ValueError as error:
        if dtype is not None or len({len(row) for row in rows}) > 1:
            raise ClientError(f"the CSV cannot be read as an array of {dtype or 'numbers'}: {error}") from error
        return _guessed(rows).squeeze()


def _guessed(values: Any) -> Any:
    try:
        return _arrays.guessed(values)
    except _arrays.WideTextError as error:
        raise ClientError(f"{error}; parse the body with the csv or json module") from error


_DECODERS: dict[str, Callable[[Any], Any]] = {_NPY: npy_to_numpy, _CSV: csv_to_numpy, _JSON: json_to_numpy}
_ENCODERS: dict[str, Callable[[Any], Any]] = {_NPY: array_to_npy, _CSV: array_to_csv, _JSON: array_to_json}


def decode(obj: Any, content_type: str) -> Any:
    """Return the array that a body holds. Raises UnsupportedFormatError."""
    decoder = _DECODERS.get(_MediaType.parse(content_type).name)
    if decoder is None:
        raise UnsupportedFormatError(content_type)
    return decoder(obj)


def encode(array_like: Any, content_type: str) -> Any:
    """Return the body for an array. Raises UnsupportedFormatError."""
    encoder = _ENCODERS.get(_MediaType.parse(content_type).name)
    if encoder is None:
        raise UnsupportedFormatError(content_type)
    return encoder(array_like)
