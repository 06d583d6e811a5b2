"""The features that an estimator of scikit-learn is called with: a table, an array, a list of texts or of objects."""

from collections.abc import Sequence
from typing import Any

import numpy
import pandas

from polyhost.handlers.body import arrays
from polyhost.handlers.body.payload import Expected, Rows
from polyhost.handlers.errors import BadBodyError, WrongShapeError
from polyhost.handlers.sklearn import column_values, estimator_columns
from polyhost.handlers.sklearn.estimator_columns import Kind
from polyhost.handlers.tensors import array


class EstimatorInputs:
    """Converts rows to what one estimator takes. What it takes is found out once, when it is made."""

    def __init__(self, model: Any) -> None:
        described = estimator_columns.describe(model)
        names = getattr(model, "feature_names_in_", None)
        self._names = None if names is None else [*names]
        self._columns = described.columns
        self._unknown, self._hints = described.unknown, described.hints
        self._is_text, self._is_records = described.is_text, described.is_records
        self.count = described.count
        # Numbers need no conversion by column, and most estimators take nothing else.
        self._plain = all(column.kind == Kind.NUMBER and not column.closed for column in self._columns.values())
        texts = {place for place, column in self._columns.items() if column.kind == Kind.TEXT}
        self.expected = Expected(
            names=tuple(map(str, self._names or ())),
            table=True,
            text=self._is_text or (self.count == 1 and described.texts == {0}),
            records=self._is_records,
            text_columns=frozenset({0} if self._is_text else texts),
        )

    def features(self, rows: Rows) -> Any:
        """Return the features. Raises BadBodyError, which names the column where one is at fault."""
        if not isinstance(rows.values, list | numpy.ndarray):
            return rows.values  # a table or a sparse matrix, from a script's input_fn
        if self._is_text:
            return _objects(_texts(rows))
        if self._is_records:
            return _objects(_records(rows))
        if self.expected.text:  # the only column, under whatever name
            rows = Rows([[text] for text in _texts(rows, self._names or ())], single=rows.single)
        if self._names is not None:
            return self._frame(rows, self._names)
        return self._array(rows)

    def text_of_unknown_columns(self, features: Any) -> str:
        """Say which columns hold text, of those of which the estimator does not say what they take."""
        if not isinstance(features, pandas.DataFrame | numpy.ndarray) or features.ndim != 2:
            return ""
        labels = [*map(repr, self._names)] if self._names is not None else [*map(str, range(features.shape[1]))]
        columns = zip(labels, numpy.asarray(features, dtype=object).T, strict=False)
        found = [
            f"{label} ({column_values.shown(next(filter(_is_text, column)))})"
            for place, (label, column) in enumerate(columns)
            if place in self._unknown and any(map(_is_text, column))
        ]
        return f"; text was sent for the columns {', '.join(found[:10])}" if found else ""

    # Estimators that were fitted on arrays

    def _array(self, rows: Rows) -> Any:
        if self._plain:
            given = array(rows.values)
            if given.dtype.kind not in "OUS" and not (self._unknown and rows.cells):
                return self._checked(given)
        if self.count is None:
            return self._checked(_untyped(rows.values))
        table = self._table(rows, self.count, f"[n, {self.count}]")
        columns = [_untyped(self._converted(place, str(place), table, rows)) for place in range(self.count)]
        kinds = {column.dtype.kind for column in columns}
        if kinds <= set("biuf") or kinds == {"M"}:
            return numpy.stack(columns, axis=1)
        features = numpy.empty((len(table), self.count), dtype=object)
        for place, column in enumerate(columns):
            features[:, place] = column
        return features

    def _checked(self, table: Any) -> Any:
        if table.ndim == 1 and table.dtype.kind != "O":
            table = table.reshape(-1, 1) if self.count == 1 else table.reshape(1, -1)
        if self.count is not None and table.ndim > 1 and table.shape[1:] != (self.count,):
            raise WrongShapeError(f"[n, {self.count}]", list(table.shape))
        return table

    # Estimators that were fitted on a table with names

    def _frame(self, rows: Rows, names: list[Any]) -> Any:
        """Return the columns by name, in the estimator's order; names that it does not know are left out."""
        given = rows.names
        missing = [name for name in names if given is not None and name not in given]
        if missing:
            hint = "; if the CSV body has no header, send text/csv; header=absent" if rows.cells is not None else ""
            raise WrongShapeError(f"the features {names}", f"{list(given or ())}, without {missing}{hint}")
        columns = list(given or names)
        table = self._table(rows, len(columns), f"rows of {len(columns)} values ({', '.join(map(str, columns))})")
        if self._plain and not self._unknown:
            frame = pandas.DataFrame(table, columns=columns)[names]
            if all(dtype.kind in "iuf" for dtype in frame.dtypes):
                return frame
        places = [columns.index(name) for name in names]
        return pandas.DataFrame(
            {name: self._converted(place, repr(name), table, rows, places[place]) for place, name in enumerate(names)}
        )

    # Columns

    def _table(self, rows: Rows, width: int, expected: str) -> list[Any]:
        """Return a list of rows of this width; a flat list is one row, or for one column, a row for each value."""
        values: list[Any] = rows.values
        if isinstance(rows.values, numpy.ndarray):
            if rows.values.ndim > 2:
                raise WrongShapeError(f"[n, {width}]", list(rows.values.shape))
            values = rows.values.tolist()
        if not isinstance(values[0], list):
            values = [[value] for value in values] if width == 1 else [values]
        if any(not isinstance(row, list) for row in values):
            array(values)  # says which row is unlike the first
        widths = {len(row) if isinstance(row, list) else 1 for row in values}
        if widths == {width}:
            return values
        if len(widths) > 1:
            array(values, numpy.float64)
        raise WrongShapeError(expected, f"rows of {sorted(widths)}" if self._names else [len(values), *widths])

    def _converted(self, place: int, label: str, table: Sequence[Any], rows: Rows, position: int | None = None) -> Any:
        """Return one of the estimator's columns, whose values are at this position of the rows."""
        position = place if position is None else position
        values = [row[position] for row in table]
        cells = None if rows.cells is None else [row[position] for row in rows.cells]
        column = self._columns.get(place)
        if column is not None:
            return column_values.converted(column, values, cells, label)
        if place in self._unknown and cells is not None:
            text = column_values.by_hint(self._hints[place], cells) if place in self._hints else None
            if text is not None:
                return text
            column_values.check_not_codes(cells, label)
        return values


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _objects(values: Sequence[Any]) -> Any:
    """Return an array, for arrays of requests can be joined."""
    objects = numpy.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def _texts(rows: Rows, names: Sequence[str] = ()) -> list[str]:
    """Return the text of each row; of several values, the one with the model's name, or the only one with a name."""
    values: Any = rows.cells
    if values is None:
        values = rows.values.tolist() if isinstance(rows.values, numpy.ndarray) else rows.values
    given = rows.names or ()
    named = [place for place, name in enumerate(given) if name in names]
    named = named or [place for place, name in enumerate(given) if name]  # pandas leaves an index without a name
    return [_text(index, row, named) for index, row in enumerate(values)]


def _text(index: int, row: Any, named: Sequence[int]) -> str:
    if isinstance(row, list | tuple):
        if len(row) > 1 and len(named) == 1:
            row = row[named[0]]
        elif len(row) == 1:
            (row,) = row
    if isinstance(row, str):
        return row
    given = f"{len(row)} values" if isinstance(row, list | tuple) else column_values.shown(row)
    raise BadBodyError(
        f"the model takes one text for each row; row {index} has {given}. Send "
        '["a text", "another"], or a line of CSV for each, with a text that holds a comma or a quote in quotes'
    )


def _records(rows: Rows) -> list[dict[str, Any]]:
    values = rows.values.tolist() if isinstance(rows.values, numpy.ndarray) else rows.values
    if rows.names is not None:
        values = [dict(zip(rows.names, row, strict=True)) for row in values]
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise BadBodyError(
                f"the model takes objects of named features; row {index} is {column_values.shown(value)}"
            )
    return values  # type: ignore[no-any-return]


def _untyped(values: Any) -> Any:
    """Convert to numbers if every value is one, with NaN for null; else to objects, as text and categories need."""
    given = array(values)
    if isinstance(values, numpy.ndarray) or given.dtype.kind != "O" or arrays.holds_text(values):
        return given
    return array(values, dtype=numpy.float64)
