"""A column's values as the estimator was fitted on them: "007" stays text, "True" becomes True, "2" becomes 2.0."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import pandas

from polyhost.handlers.body import csv_table
from polyhost.handlers.errors import BadBodyError
from polyhost.handlers.sklearn.estimator_columns import Column, Kind

_BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
_CODE = re.compile(r"\s*[+-]?0\d")  # digits that a number does not begin with
_SHOWN_CATEGORIES = 10

_UNKNOWN = object()


def converted(column: Column, values: Sequence[Any], cells: Sequence[str] | None, label: str) -> Any:
    """Convert the values of a column. `cells` are a CSV body's, as sent. Raises BadBodyError, which has the label."""
    if column.kind == Kind.NUMBER:
        result = _numbers(values, label)
    elif column.kind == Kind.DATE:
        result = _dates(cells or values, label)
    else:
        convert = _converter(column)
        given: Sequence[Any] = values if cells is None else cells
        result = _objects([_one(convert, column, value, index, label) for index, value in enumerate(given)])
    if column.closed and column.categories:
        _check_known(column, result, values, label)
    return result


def by_hint(column: Column, cells: Sequence[str]) -> Any:
    """Return the cells of a CSV column as text if each is a category of an encoder behind the model's own code."""
    if column.kind != Kind.TEXT or not all(cell in column.known or not cell.strip() for cell in cells):
        return None
    return _objects([cell if cell in column.known else column.missing for cell in cells])


def check_not_codes(cells: Sequence[str], label: str) -> None:
    """Reject a CSV column such as 007, which could be text or the number 7, for an estimator that does not say."""
    if all(csv_table.is_number(cell) for cell in cells if cell.strip()):
        for index, cell in enumerate(cells):
            if _CODE.match(cell):
                number = f"{csv_table.number(cell):g}"
                raise BadBodyError(
                    f"the column {label} could be text or a number: row {index} has {cell}, and the model does not say "
                    f'which it takes; send JSON, with "{cell.strip()}" for text or {number} for a number'
                )


def shown(value: Any) -> str:
    """Return a value as an error names it."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    text = text if len(text) <= 80 else f"{text[:80]}..."
    kind = {bool: "the boolean ", int: "the number ", float: "the number "}.get(type(value), "")
    return f"{kind}{text}"


def _one(convert: Callable[[Any], Any], column: Column, value: Any, index: int, label: str) -> Any:
    if isinstance(value, str) and not value.strip() and value not in column.known:
        return column.missing
    if value is None or value != value:
        if column.required:
            raise _mismatch(column, None, index, label)
        return column.missing
    result = convert(value) if isinstance(value, str | int | float) else _UNKNOWN
    if result is _UNKNOWN:
        raise _mismatch(column, value, index, label)
    return result


def _converter(column: Column) -> Callable[[Any], Any]:
    if column.kind == Kind.TEXT:
        return lambda value: value if isinstance(value, str) else _number_as_text(value, column.known)
    if column.kind == Kind.BOOLEAN:
        return lambda value: _BOOLEANS.get(str(value).strip().lower(), _UNKNOWN)
    return lambda value: column.by_text.get(str(value), _UNKNOWN)


def _number_as_text(value: Any, known: frozenset[Any]) -> Any:
    """Return the category that a number or boolean is the text of, if there is one: 7 is "7", and not "007"."""
    texts = {str(value), json.dumps(value)}
    if isinstance(value, float) and value.is_integer():
        texts.add(str(int(value)))
    found = texts & known
    return found.pop() if len(found) == 1 else _UNKNOWN


def _numbers(values: Sequence[Any], label: str) -> Any:
    try:
        if not any(isinstance(value, str) for value in values):
            return numpy.array(values, dtype=numpy.float64)
    except (ValueError, TypeError, OverflowError):
        pass
    return numpy.array([_number(value, index, label) for index, value in enumerate(values)], dtype=numpy.float64)


def _number(value: Any, index: int, label: str) -> float:
    if value is None or (isinstance(value, str) and not value.strip()):
        return numpy.nan
    try:
        if isinstance(value, str):
            words = {"true": 1.0, "false": 0.0}  # an estimator of numbers takes booleans for these
            return words[value.strip().lower()] if value.strip().lower() in words else csv_table.number(value)
        return float(value)
    except (ValueError, TypeError, OverflowError):
        raise BadBodyError(
            f"the column {label} takes numbers; row {index} has {shown(value)}, which is not a number: send one, "
            "or leave it out (an empty cell of CSV, null in JSON)"
        ) from None


def _dates(values: Sequence[Any], label: str) -> Any:
    """Convert dates in ISO 8601: in other forms, day and month could be confused."""
    for index, value in enumerate(values):
        if not isinstance(value, str | None):
            raise BadBodyError(f"the column {label} takes dates, such as 2026-01-31; row {index} has {shown(value)}")
    dates = pandas.Series(list(values), dtype=object)
    try:
        return pandas.to_datetime(dates, format="ISO8601").to_numpy()
    except (ValueError, TypeError, OverflowError):
        parsed = pandas.to_datetime(dates, format="ISO8601", errors="coerce")
        odd = next((index for index, value in enumerate(values) if value and pandas.isna(parsed[index])), 0)
        given = shown(values[odd])
        raise BadBodyError(f"the column {label} takes dates, such as 2026-01-31; row {odd} has {given}") from None


def _check_known(column: Column, values: Any, given: Sequence[Any], label: str) -> None:
    """Raise BadBodyError for a value that the model's encoder does not know."""
    if column.kind == Kind.DATE:
        return  # compared by scikit-learn, in its own unit
    for index, value in enumerate(values):
        if value not in column.known and value is not column.missing and not pandas.isna(value):
            raise BadBodyError(
                f"the column {label} takes one of {_listed(column)}; row {index} has {shown(given[index])}, "
                "which the model was not fitted on"
            )


def _mismatch(column: Column, value: Any, index: int, label: str) -> BadBodyError:
    if column.kind == Kind.TEXT:
        example = json.dumps(str(column.categories[0] if column.categories else value or ""), ensure_ascii=False)
        return BadBodyError(
            f"the column {label} takes text; row {index} has {shown(value)}: send text, such as {example}"
        )
    return BadBodyError(f"the column {label} takes one of {_listed(column)}; row {index} has {shown(value)}")


def _listed(column: Column) -> str:
    names = [
        json.dumps(_plain(value), default=str, ensure_ascii=False) for value in column.categories[:_SHOWN_CATEGORIES]
    ]
    return ", ".join([*names, *(["..."] if len(column.categories) > _SHOWN_CATEGORIES else [])])


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, numpy.generic) else value


def _objects(values: Sequence[Any]) -> Any:
    objects = numpy.empty(len(values), dtype=object)
    objects[:] = values
    return objects
