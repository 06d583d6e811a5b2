"""What a prediction holds, as values that JSON has: numbers, text, true, false, null, lists and objects."""

import dataclasses
import datetime
import io
import json
import math
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set, ValuesView
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy

from polyhost.handlers.errors import WrongAnswerError

_KNOWN = frozenset({str, int, float, bool, list, tuple, dict, type(None)})
_NUMBERS = "biuf"  # dtype.kind of arrays whose `tolist` gives numbers
_BYTES = bytes | bytearray | memoryview
_LISTS: tuple[type[Iterable[Any]], ...] = (Sequence, Set, ValuesView, deque, Iterator)
_LONG = 1e30  # from here on a number is written as 1e30, not with all its digits
_DAY_OR_LONGER = ("D", "W", "M", "Y")


def dumps(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON, NaN and infinity as null: JSON has neither. Raises WrongAnswerError."""
    try:
        try:
            return (_COMPACT if indent is None else _encoder(indent)).encode(plain(value))
        except (TypeError, ValueError):  # a key that is neither text nor a number; NaN
            return json.dumps(_strict(value), allow_nan=False, ensure_ascii=False, indent=indent)
    except RecursionError:
        raise WrongAnswerError("the prediction holds itself, or is nested too deeply to be written") from None


def _encoder(indent: int | None) -> json.JSONEncoder:
    return json.JSONEncoder(default=plain, allow_nan=False, ensure_ascii=False, indent=indent)


def plain(value: Any) -> Any:
    """Convert a value to what json can write; what is inside of a list or a dict is left to another call."""
    if type(value) in _KNOWN:
        return value
    if isinstance(value, numpy.ndarray) and value.dtype.kind in _NUMBERS:
        return value.tolist()
    return _converted(value)


def _converted(value: Any) -> Any:
    match value:
        case Enum():
            return plain(value.value)
        case str() | int() | float() | list() | tuple() | dict():
            return value
        case bytes() | bytearray() | memoryview():
            return _text(bytes(value))
        case numpy.ndarray() | numpy.generic():
            return plain(_from_numpy(value))
        case Decimal() | Fraction():
            return _number(value)
        case datetime.date() | datetime.time():
            return value.isoformat() if value == value else None  # pandas' NaT is a datetime
        case datetime.timedelta():
            return value.total_seconds()
        case UUID() | IPv4Address() | IPv6Address():
            return str(value)
        case PurePath():
            return os.fspath(value)
        case set() | frozenset():
            return _in_order(value)
        case Mapping():
            return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if _is_pandas_na(value):
        return None
    return _from_library(value)


def _from_library(value: Any) -> Any:
    """Convert tensors, tables, sparse matrices and other objects of libraries by the methods that they share."""
    for method in ("isoformat", "toarray", "to_numpy", "asnumpy", "tolist"):
        if callable(getattr(value, method, None)):
            return plain(getattr(value, method)())
    if isinstance(value, _LISTS) and not isinstance(value, io.IOBase):
        return list(value)
    raise WrongAnswerError(f"the prediction holds a {type(value).__name__}, which cannot be written; {_remedy(value)}")


def _remedy(value: Any) -> str:
    if isinstance(value, complex):
        return "return its parts, such as [value.real, value.imag]"
    return "return numbers or text"


def _from_numpy(value: Any) -> Any:
    """Convert what `tolist` would not: it makes integers of dates and durations that have nanoseconds."""
    kind, array = value.dtype.kind, numpy.asarray(value)
    if kind == "M":
        day = numpy.datetime_data(array.dtype)[0] in _DAY_OR_LONGER
        return array.astype("datetime64[D]" if day else "datetime64[us]").tolist()
    if kind == "m":
        return (array / numpy.timedelta64(1, "s")).tolist()
    if kind in "fc":  # `tolist` would leave numpy's own type where it has more digits than Python's
        return array.astype("float64" if kind == "f" else "complex128").tolist()
    return value.tolist()


def _number(value: Decimal | Fraction) -> int | float:
    number = float(value)
    return int(value) if abs(number) < _LONG and value == int(value) else number


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise WrongAnswerError(
            "the prediction holds bytes that are not text in UTF-8; return base64.b64encode(value).decode()"
        ) from None


def _in_order(value: set[Any] | frozenset[Any]) -> list[Any]:
    try:
        return sorted(value)
    except TypeError:
        return list(value)


def _is_pandas_na(value: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and value is pandas.NA


def _strict(value: Any) -> Any:
    """Convert everything inside too."""
    value = plain(value)
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return _strict_object(value)
        case list() | tuple():
            return [_strict(item) for item in value]
    return value


def _strict_object(value: dict[Any, Any]) -> dict[Any, Any]:
    written = {_key(key): _strict(item) for key, item in value.items()}
    if len(written) < len(value):
        raise WrongAnswerError(f"two of a dictionary's keys are the same as text: {[*value]!r:.200}; name them apart")
    return written


def _key(key: Any) -> Any:
    """Convert a key to text, or to what json makes text of."""
    name = plain(key)
    if isinstance(name, list | tuple | dict):
        raise WrongAnswerError(
            f"a dictionary has the key {key!r}, a {type(key).__name__}, which JSON cannot have; make it text: str(key)"
        )
    return json.dumps(name) if isinstance(name, float) and not math.isfinite(name) else name


_COMPACT = _encoder(None)  # json.dumps would make one for each call
