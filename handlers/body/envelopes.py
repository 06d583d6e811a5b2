"""The shapes of JSON bodies, and the rows that each means: polyhost's own and those of other servers' clients.

An object may be a row of named features, or an envelope around rows. It is an envelope only where that is certain: it
has the key of one, the model has no input of that name, what is under the key has the envelope's shape, and no key
beside it is unknown. docs/handlers.md lists the shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from polyhost.handlers.body import arrays, limits, v2_tensors
from polyhost.handlers.body.payload import ANYTHING, Expected, Rows
from polyhost.handlers.errors import BadBodyError

UNDERSTOOD = (
    'a list of rows, {"instances": rows} (or "inputs", "data", "features", "ndarray"), an object of named features, a '
    'list of such objects, {"columns": names, "data": rows} as pandas writes it, '
    '{"inputs": [{"name", "shape", "datatype", "data"}]}'
)
# Keys that clients send beside rows. They change no row: ids, what to return, options of other servers' models.
_BESIDE = frozenset(
    ("id", "parameters", "params", "outputs", "signature_name", "meta", "names", "index", "configuration", "context")
)
_SPLIT_KEYS = frozenset(("columns", "data", "index", "index_names", "column_names"))
_MAX_SPARSE = 1_000_000  # values of a sparse row; a body of a hundred bytes may claim more
_PLAIN = (str, int, float, bool, type(None))

Reader = Callable[[Any, Mapping[str, Any], Expected], Rows | None]


def rows_from(value: Any, expected: Expected = ANYTHING) -> Rows:
    """Convert parsed JSON to rows. Raises BadBodyError."""
    if isinstance(value, list) and value:
        return _from_items(value, expected) if isinstance(value[0], dict) else Rows(value)
    if isinstance(value, dict) and value:
        return _from_object(value, expected)
    if isinstance(value, str) and expected.text:
        return Rows([value])
    raise BadBodyError(f"expected {UNDERSTOOD}; given {_described(value)}")


def rows_from_lines(values: Sequence[Any], expected: Expected = ANYTHING) -> Rows:
    """Convert a list of parsed JSON lines to rows. A line alone may be an envelope of several."""
    if len(values) == 1 and isinstance(values[0], dict):
        rows = _unwrapped(values[0], expected)
        if rows is not None:
            return rows
    return rows_from(list(values), expected)


# Objects


def _from_object(value: dict[str, Any], expected: Expected) -> Rows:
    if expected.text:
        value = _without_options(value, expected)
    rows = _unwrapped(value, expected)
    return _from_features(value, expected) if rows is None else rows


def _without_options(value: dict[str, Any], expected: Expected) -> dict[str, Any]:
    """Leave out what clients send beside a text, where one text is left: {"inputs": "...", "parameters": {...}}."""
    is_option = {
        key: key in _BESIDE and key not in expected.names and not isinstance(item, str) for key, item in value.items()
    }
    texts = {key: item for key, item in value.items() if not is_option[key]}
    return texts if len(texts) == 1 and isinstance(next(iter(texts.values())), str) else value


def _unwrapped(value: dict[str, Any], expected: Expected) -> Rows | None:
    """Return the rows in an envelope, None if the object is not certainly one."""
    if _READERS.keys().isdisjoint(value):
        return None
    for key, read in _READERS.items():
        if key in value and key not in expected.names and (rows := read(value[key], value, expected)) is not None:
            return rows
    return None


def _from_features(value: dict[str, Any], expected: Expected) -> Rows:
    """Read an object of named features: one row; or, where a feature is a plain value, columns of a table."""
    if expected.records:
        return Rows([value], single=True)
    names = tuple(value)
    nested = (list, dict) if expected.table else (dict,)
    if set(map(type, value.values())).isdisjoint(nested):
        return Rows([list(value.values())], names, single=True)
    columns = list(value.values())
    if expected.table and all(isinstance(column, list) and column and _are_plain(column) for column in columns):
        return Rows(_across(value), names)
    if all(isinstance(column, dict) and column.keys() == columns[0].keys() != set() for column in columns):
        return _from_objects_of_objects(value)
    odd = next(name for name, item in value.items() if isinstance(item, nested))
    raise BadBodyError(f"the value of {odd!r} is {_described(value[odd])}; expected {UNDERSTOOD}")


def _from_objects_of_objects(value: dict[str, dict[str, Any]]) -> Rows:
    """Read what pandas writes for orient="columns", its default, or orient="index": {"age": {"0": 41, "1": 7}}."""
    inner = tuple(next(iter(value.values())))
    if all(map(str.isdecimal, inner)) and not all(map(str.isdecimal, value)):
        return Rows([[column[key] for column in value.values()] for key in inner], tuple(value))
    if all(map(str.isdecimal, value)) and not all(map(str.isdecimal, inner)):
        return Rows([[row[name] for name in inner] for row in value.values()], inner)
    raise BadBodyError(f"an object of objects whose keys are neither rows nor columns; expected {UNDERSTOOD}")


def _across(columns: Mapping[str, Sequence[Any]]) -> list[list[Any]]:
    """Return the rows of columns. Raises BadBodyError if their lengths differ."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) != 1:
        raise BadBodyError(f"the columns have different numbers of values: {lengths}")
    return [list(row) for row in zip(*columns.values(), strict=True)]


# Lists of objects


def _from_items(items: list[Any], expected: Expected) -> Rows:
    first = _vector(items[0], expected)
    if first is None:
        return _from_records(items, expected)
    rows, count = [], 0
    for index, item in enumerate(items):
        row = _vector(item, expected)
        if row is None:
            raise BadBodyError(f"row {index} is not like row 0, which is {_keys(items[0])}: given {_keys(item)}")
        rows.append(row)
        count += len(row)
        limits.check_count(count)  # of sparse rows too, which are far longer than what was sent
    return Rows(rows)


def _vector(item: Any, expected: Expected) -> list[Any] | None:
    """Return the row in an object that holds nothing else, None if it holds named features.

    {"features": [1, 2]}, and SageMaker's {"data": {"features": {"values": [1, 2]}}}, which may be sparse.
    """
    if not isinstance(item, dict) or len(item) != 1:
        return None
    ((key, content),) = item.items()
    if key not in ("features", "data", "inputs") or key in expected.names:
        return None
    if key == "data" and isinstance(content, dict) and len(content) == 1 and "features" in content:
        key, content = "features", content["features"]
    if isinstance(content, list) and content and _are_plain(content):
        return content
    return _amazon_vector(content) if key == "features" and isinstance(content, dict) else None


def _amazon_vector(content: dict[str, Any]) -> list[Any] | None:
    """Read {"values": [...]}, or with "keys" and "shape" the values of a row whose other values are zeros.

    SageMaker developer guide, "Common data formats for inference".
    """
    match content:
        case {"values": [*values], **others} if values and _are_plain(values) and not others:
            return values
        case {"keys": [*keys], "shape": [int(size)], "values": [*values], **others} if not others:
            if len(keys) != len(values) or not all(type(key) is int and 0 <= key < size for key in keys):
                raise BadBodyError(f"the keys of a sparse row must be places below {size}, one for each value")
            row: list[Any] = [0] * _row_size(size)
            for key, given in zip(keys, values, strict=True):
                row[key] = given
            return row
    return None


def _row_size(size: int) -> int:
    if size > _MAX_SPARSE:
        raise BadBodyError(f"a sparse row of {size} values; at most {_MAX_SPARSE} are read")
    return size


def _from_records(items: list[Any], expected: Expected) -> Rows:
    names = tuple(items[0])
    for index, item in enumerate(items):
        if not isinstance(item, dict) or (item.keys() != items[0].keys() and not expected.records):
            given = sorted(item) if isinstance(item, dict) else _described(item)
            raise BadBodyError(f"row {index} does not have the names of row 0: expected {sorted(names)}, given {given}")
    return Rows(items) if expected.records else Rows([[item[name] for name in names] for item in items], names)


# Envelopes: each returns None where the object is not certainly one


def _instances(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    """TensorFlow Serving's and SageMaker's, with any key beside."""
    return rows_from(content, expected) if isinstance(content, list) else None


def _inputs(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    """Rows, TensorFlow Serving's {name: batch}, or the tensors of the open inference protocol (V2)."""
    if not _is_alone("inputs", whole):
        return None
    if isinstance(content, list):
        is_tensors = bool(content) and isinstance(content[0], dict) and v2_tensors.is_tensor(content[0])
        return v2_tensors.rows_from(content, expected) if is_tensors else rows_from(content, expected)
    if not isinstance(content, dict) or not content:
        return None
    if not expected.table and all(isinstance(batch, list) for batch in content.values()):
        return Rows(_across(content), tuple(content))
    return _from_features(content, expected)


def _data(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    """Rows, an object of features, or Seldon's {"names", "ndarray"} and {"names", "tensor"}."""
    if not _is_alone("data", whole):
        return None
    if isinstance(content, list):
        return _named(rows_from(content, expected), whole)
    if not isinstance(content, dict) or not content:
        return None
    for key, read in (("ndarray", _ndarray), ("tensor", _tensor), ("features", _features)):
        if key in content and key not in expected.names and (rows := read(content[key], content, expected)) is not None:
            return rows
    return _from_features(content, expected)


def _features(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    if not _is_alone("features", whole):
        return None
    if isinstance(content, list):
        return _named(rows_from(content, expected), whole)
    if not isinstance(content, dict) or not content:
        return None
    vector = _amazon_vector(content)
    return _from_features(content, expected) if vector is None else Rows([vector])


def _ndarray(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    if not isinstance(content, list) or not _is_alone("ndarray", whole):
        return None
    return _named(rows_from(content, expected), whole)


def _tensor(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    """Seldon's {"shape": [2, 2], "values": [1, 2, 3, 4]}."""
    match content:
        case {"shape": [*shape], "values": [*values]} if _is_alone("tensor", whole) and _are_plain(values):
            array = v2_tensors.shaped(arrays.untyped(values), shape, "the tensor")
            return _named(Rows(array.tolist() if expected.table else array), whole)
    return None


def _dataframe_split(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    """MLflow's, beside which `params` may be."""
    if not isinstance(content, dict) or not _is_alone("dataframe_split", whole):
        return None
    rows = _columns(content.get("columns"), content, expected)
    if rows is None:
        raise BadBodyError('"dataframe_split" must hold {"columns": names, "data": rows}')
    return rows


def _dataframe_records(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    if not isinstance(content, list) or not _is_alone("dataframe_records", whole):
        return None
    if not content or not isinstance(content[0], dict):
        raise BadBodyError('"dataframe_records" must hold a list of objects')
    return _from_records(content, expected)


def _columns(content: Any, whole: Mapping[str, Any], expected: Expected) -> Rows | None:
    """Read what pandas writes for orient="split"."""
    match whole:
        case {"columns": [*columns], "data": [[*_], *_] as rows} if whole.keys() <= _SPLIT_KEYS | _BESIDE and columns:
            if "data" in expected.names:
                return None
            if columns == list(range(len(columns))):  # a table without names
                return Rows(rows)
            return _named(Rows(rows), {"names": columns})
    return None


_READERS: dict[str, Reader] = {
    "instances": _instances,
    "dataframe_split": _dataframe_split,
    "dataframe_records": _dataframe_records,
    "columns": _columns,
    "inputs": _inputs,
    "data": _data,
    "features": _features,
    "ndarray": _ndarray,
    "tensor": _tensor,
}


def _is_alone(key: str, whole: Mapping[str, Any]) -> bool:
    return all(other == key or other in _BESIDE for other in whole)


def _named(rows: Rows, whole: Mapping[str, Any]) -> Rows:
    """Give the rows the names in their envelope, if it has any."""
    names = whole.get("names")
    if not names or rows.names is not None:
        return rows
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise BadBodyError(f"the names of the columns must be a list of strings; given {_described(names)}")
    values = rows.values if isinstance(rows.values[0], list | numpy.ndarray) else [rows.values]
    for index, row in enumerate(values):
        if not isinstance(row, list | numpy.ndarray) or len(row) != len(names):
            raise BadBodyError(f"row {index} does not have one value for each of the columns {names}")
    return Rows(values, tuple(map(str, names)))


def _are_plain(values: Sequence[Any]) -> bool:
    return all(isinstance(value, _PLAIN) for value in values)


def _keys(item: Any) -> str:
    return f"an object of {sorted(item)}" if isinstance(item, dict) else _described(item)


def _described(value: Any) -> str:
    if value in ([], {}):
        return "an empty list" if value == [] else "an empty object"
    return {str: "a string", dict: "an object", list: "a list", type(None): "null"}.get(type(value), "a single value")
