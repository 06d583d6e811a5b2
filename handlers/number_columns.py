"""A table of numbers, as gradient boosting takes it: what is missing is NaN, and a category is a number, its code.

A model that was trained on a table of pandas knows its categories; a request then has them as they were in that table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
from numpy.typing import NDArray

from polyhost.handlers import tensors
from polyhost.handlers.body import csv_table, images
from polyhost.handlers.body.payload import Expected, Inputs, Picture, Rows
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError, WrongShapeError

_WORDS = {"true": 1.0, "false": 0.0}  # as pandas writes columns of booleans
_SHOWN = 10  # categories, in an error's text
_SHOWN_CHARACTERS = 80

Table = NDArray[Any]


@dataclass(frozen=True)
class Categories:
    """A column's categories in the order of their codes; any other value is missing, or with `closed` an error.

    Without values only codes are known to be meant: whole numbers from 0.
    """

    values: tuple[Any, ...] = ()
    closed: bool = True

    @cached_property
    def codes(self) -> Mapping[Any, int]:
        """The code of each category."""
        return {value: code for code, value in enumerate(self.values)}


class NumberColumns:
    """Converts inputs to arrays of rows; `names` are the columns' if the model has them, of `count` columns in all."""

    def __init__(
        self,
        count: int,
        names: Sequence[str] = (),
        categories: Mapping[int, Categories] | None = None,
        dtype: Any = numpy.float32,
    ) -> None:
        self._count = count
        self._names = tuple(names)
        self._categories = categories or {}
        self._dtype = dtype
        texts = [place for place, column in self._categories.items() if any(isinstance(v, str) for v in column.values)]
        self.expected = Expected(names=self._names, table=True, text_columns=frozenset(texts))

    def table(self, inputs: Inputs) -> Table:
        """Return the rows. Raises BadBodyError, which names the column and the row of a value that is at fault."""
        if isinstance(inputs, Picture):
            return self._of_picture(inputs)
        values, cells = inputs.values, inputs.cells
        if self._names and inputs.names is not None:
            values, cells = self._by_name(inputs)
        if self._categories:
            return self._by_column(self._sized(self._objects(values)), cells)
        try:
            return self._sized(tensors.numbers(values, self._dtype))
        except WrongShapeError:
            raise
        except BadBodyError:
            return self._by_column(self._sized(self._objects(values)), None)

    def _of_picture(self, picture: Picture) -> Table:
        width, height = picture.image.size
        if width * height != self._count:
            raise UnsuitableMediaTypeError(
                f"an image of {width} x {height} = {width * height} pixels does not fit the model, which takes "
                f"{self._count} features"
            )
        return images.grey_pixels(picture).reshape(1, -1).astype(self._dtype)

    def _by_name(self, rows: Rows) -> tuple[Any, Any]:
        """Return the model's columns, in its order; names that it does not know are left out."""
        given = rows.names or ()
        if given == self._names:
            return rows.values, rows.cells
        places = {name: place for place, name in enumerate(given)}
        missing = [name for name in self._names if name not in places]
        if missing:
            hint = "; if the CSV body has no header, send text/csv; header=absent" if rows.cells is not None else ""
            raise WrongShapeError(f"the features {list(self._names)}", f"{list(given)}, without {missing}{hint}")
        chosen = [places[name] for name in self._names]
        if isinstance(rows.values, numpy.ndarray):
            return rows.values[:, chosen], None
        cells = rows.cells and [[row[place] for place in chosen] for row in rows.cells]
        return [[row[place] for place in chosen] for row in rows.values], cells

    def _sized(self, table: Table) -> Table:
        """Return rows of as many values as there are columns; a flat list is one, or for one column a row for each."""
        if table.ndim == 1:
            table = table.reshape(-1, 1) if self._count == 1 else table.reshape(1, -1)
        if table.ndim != 2 or table.shape[1] != self._count:
            expected = f"[n, {self._count}]" + (f" ({', '.join(self._names[:_SHOWN])})" if self._names else "")
            raise WrongShapeError(expected, list(table.shape))
        return table

    def _objects(self, values: Any) -> Table:
        """Return an array of the values as they are. Raises BadBodyError for rows that are not alike."""
        given = tensors.array(values)
        return given if given.dtype.kind == "O" else tensors.array(given.tolist(), object)

    def _by_column(self, table: Table, cells: Sequence[Sequence[str]] | None) -> Table:
        """Convert value by value: slower, but it can say which value is at fault."""
        columns = []
        for place in range(self._count):
            label = repr(self._names[place]) if self._names else str(place)
            categories = self._categories.get(place)
            if categories is None:
                columns.append([self._number(value, row, label) for row, value in enumerate(table[:, place])])
                continue
            given = table[:, place] if cells is None else [row[place] for row in cells]
            columns.append([_code(value, row, label, categories) for row, value in enumerate(given)])
        return tensors.numbers(numpy.array(columns, dtype=numpy.float64).T, self._dtype)

    def _number(self, value: Any, row: int, label: str) -> float:
        if value is None or (isinstance(value, str) and not value.strip()):
            return numpy.nan
        try:
            if isinstance(value, str):
                word = _WORDS.get(value.strip().lower())
                return csv_table.number(value) if word is None else word
            return float(value)
        except (ValueError, TypeError, OverflowError):
            raise BadBodyError(
                f"the column {label} takes numbers; row {row} has {_shown(value)}, which is not a number: send one, or "
                "leave it out (an empty cell of CSV, null in JSON)"
            ) from None


def _code(value: Any, row: int, label: str, categories: Categories) -> float:
    """Return the code of a category: by its value, or of a cell of CSV by its text."""
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return numpy.nan
    if not categories.values:
        return _plain_code(value, row, label)
    known = next((key for key in _spellings(value) if key in categories.codes), None)
    if known is not None:
        return categories.codes[known]
    if not categories.closed:
        return numpy.nan
    listed = ", ".join(map(_shown, categories.values[:_SHOWN])) + ", ..." * (len(categories.values) > _SHOWN)
    raise BadBodyError(
        f"the column {label} takes one of {listed}; row {row} has {_shown(value)}, which the model was not trained on"
    )


def _spellings(value: Any) -> list[Any]:
    """Return the value, its text, and what a cell of CSV may mean by it: a number or a boolean."""
    if isinstance(value, float) and value.is_integer():
        return [value, str(int(value)), str(value)]
    if not isinstance(value, str):
        return [value, str(value)] if isinstance(value, int | float) else []
    number = [csv_table.number(value)] if csv_table.is_number(value) else []
    word = _WORDS.get(value.strip().lower())
    return [value, value.strip(), *number, *([] if word is None else [bool(word)])]


def _plain_code(value: Any, row: int, label: str) -> float:
    try:
        code = csv_table.number(value) if isinstance(value, str) else float(value)
        if code >= 0 and code.is_integer():
            return code
    except (ValueError, TypeError, OverflowError):
        pass
    raise BadBodyError(
        f"the column {label} takes codes of categories, whole numbers from 0, for the model's file does not name them; "
        f"row {row} has {_shown(value)}"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
