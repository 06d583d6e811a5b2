"""Encoders of predictions to response bodies, by media type."""

import csv
import io
from collections.abc import Callable
from typing import Any

import numpy

from polyhost.handlers.body import arrays, json_values
from polyhost.handlers.body.json_values import plain
from polyhost.handlers.body.media_types import CSV, JSON, JSON_LINES, NPY
from polyhost.handlers.errors import NotAcceptableError


def encode(prediction: Any, media_type: str) -> bytes:
    """Encode a prediction. Raises NotAcceptableError if the type cannot hold it, WrongAnswerError if no type can."""
    return _ENCODERS[media_type](prediction)


def _to_json(prediction: Any) -> bytes:
    # A text may end within a character beyond U+FFFF: JSON can hold half of a surrogate pair, UTF-8 cannot.
    return json_values.dumps(prediction).encode(errors="backslashreplace")


def _to_json_lines(prediction: Any) -> bytes:
    return b"".join(_to_json(row) + b"\n" for row in _as_list(prediction))


def _to_csv(prediction: Any) -> bytes:
    rows = [[plain(cell) for cell in _as_list(row)] for row in _as_list(prediction)]
    if any(isinstance(cell, list | tuple | dict) for row in rows for cell in row):
        raise NotAcceptableError(
            f"the prediction is nested deeper than rows of values and does not fit {CSV}; ask for {JSON}"
        )
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    try:
        return stream.getvalue().encode()
    except UnicodeEncodeError as error:
        raise NotAcceptableError(f"the prediction's text does not fit {CSV}: {error}; ask for {JSON}") from None


def _to_npy(prediction: Any) -> bytes:
    stream = io.BytesIO()
    try:
        numpy.save(stream, _as_array(prediction), allow_pickle=False)
    except arrays.WideTextError as error:
        raise NotAcceptableError(f"the prediction does not fit {NPY}: {error}; ask for {JSON}") from None
    except ValueError:
        raise NotAcceptableError(
            f"the prediction is not an array of plain values and does not fit {NPY}; ask for {JSON}"
        ) from None
    return stream.getvalue()


def _as_list(value: Any) -> list[Any]:
    value = plain(value)
    return list(value) if isinstance(value, list | tuple) else [value]


def _as_array(prediction: Any) -> Any:
    """Return an array as it is, and one of objects with the type of what it holds."""
    if isinstance(prediction, numpy.ndarray) and not prediction.dtype.hasobject:
        return prediction
    return arrays.guessed(plain(prediction))


_ENCODERS: dict[str, Callable[[Any], bytes]] = {JSON: _to_json, CSV: _to_csv, JSON_LINES: _to_json_lines, NPY: _to_npy}
