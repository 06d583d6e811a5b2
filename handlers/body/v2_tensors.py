"""The tensors of the open inference protocol (V2), which KServe, Triton, MLServer and TorchServe speak.

{"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}; the shape begins with the rows.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from polyhost.handlers.body.payload import Expected, Rows
from polyhost.handlers.errors import BadBodyError

Array = NDArray[Any]

_INTEGERS = {f"{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}
_DATATYPES = ("BOOL", *_INTEGERS, *_FLOATS, "BYTES")
_MAX_DEPTH = 32  # of nested lists: numpy 1's own limit of dimensions


def is_tensor(item: Mapping[str, Any]) -> bool:
    """Return whether an object is meant as a tensor, right or wrong: no row of features has these keys."""
    return "data" in item and ("datatype" in item or "shape" in item)


def rows_from(tensors: Sequence[Any], expected: Expected) -> Rows:
    """Convert the tensors: one is an array of rows, unless the model has a column of its name; several are by name."""
    arrays: dict[str, Array] = {}
    for index, tensor in enumerate(tensors):
        name, array = _named_array(index, tensor)
        if name in arrays:
            raise BadBodyError(f"two inputs have the name {name!r}")
        arrays[name] = array
    if len(arrays) == 1 and not arrays.keys() & set(expected.names):
        (array,) = arrays.values()
        return Rows(array.tolist() if array.dtype == object else array)
    counts = {name: len(array) for name, array in arrays.items()}
    if len(set(counts.values())) != 1:
        raise BadBodyError(f"the inputs have different numbers of rows: {counts}")
    columns = [_column(name, array) if expected.table else list(array) for name, array in arrays.items()]
    return Rows([list(row) for row in zip(*columns, strict=True)], tuple(arrays))


def shaped(array: Array, shape: Sequence[Any], what: str) -> Array:
    """Give the values this shape. Raises BadBodyError."""
    if not shape or len(shape) > _MAX_DEPTH or not all(type(size) is int and size > 0 for size in shape):
        raise BadBodyError(f"{what} has the shape {list(shape)}; it must be a list of whole numbers above 0")
    if array.size != math.prod(shape):
        raise BadBodyError(
            f"{what} has the shape {list(shape)}, for {math.prod(shape)} values, and {array.size} values"
        )
    return array.reshape(shape)


def _named_array(index: int, tensor: Any) -> tuple[str, Array]:
    match tensor:
        case {"name": str(name), "shape": [*shape], "datatype": str(datatype), "data": [*data]}:
            what = f"the input {name!r}"
            return name, shaped(_converted(list(_flat(data, what)), datatype, what), shape, what)
    keys = f"the keys {sorted(tensor)}" if isinstance(tensor, dict) else f"a {type(tensor).__name__}"
    if isinstance(tensor, dict) and "binary_data_size" in str(tensor.get("parameters")):
        keys += "; binary data is not read"
    named = repr(tensor["name"]) if isinstance(tensor, dict) and "name" in tensor else f"number {index}"
    raise BadBodyError(
        f'the input {named} must be an object {{"name": text, "shape": list, "datatype": text, "data": list}}; '
        f"given {keys}"
    )


def _flat(data: list[Any], what: str, depth: int = 1) -> Iterator[Any]:
    if depth > _MAX_DEPTH:
        raise BadBodyError(f"{what} is nested too deeply")
    for value in data:
        if isinstance(value, list):
            yield from _flat(value, what, depth + 1)
        else:
            yield value


def _converted(values: list[Any], datatype: str, what: str) -> Array:
    """Convert without changing a value. Raises BadBodyError for one that the datatype cannot hold."""
    if datatype in _INTEGERS:
        limits = numpy.iinfo(_INTEGERS[datatype])
        _check(values, lambda value: type(value) is int and limits.min <= value <= limits.max, datatype, what)
        return numpy.array(values, _INTEGERS[datatype])
    if datatype in _FLOATS:
        _check(values, lambda value: value is None or _fits(value, _FLOATS[datatype]), datatype, what)
        return numpy.array(values, numpy.float64).astype(_FLOATS[datatype])
    if datatype == "BOOL":
        _check(values, lambda value: type(value) is bool or (type(value) is int and value in (0, 1)), datatype, what)
        return numpy.array(values, bool)
    if datatype == "BYTES":
        _check(values, lambda value: isinstance(value, str), datatype, what)
        return numpy.array([*values, None], dtype=object)[:-1]  # None keeps an empty list an array of objects
    raise BadBodyError(f"{what} has the datatype {datatype!r}; known are {', '.join(_DATATYPES)}")


def _check(values: list[Any], fits: Any, datatype: str, what: str) -> None:
    for index, value in enumerate(values):
        if not fits(value):
            raise BadBodyError(f"{what} is {datatype}, which cannot hold value {index}: {str(value)[:80]!r}")


def _fits(value: Any, dtype: str) -> bool:
    """Return whether this is a number that does not overflow; NaN and infinities may be sent as such."""
    if type(value) is float and not math.isfinite(value):
        return True
    return type(value) in (int, float) and abs(value) <= float(numpy.finfo(dtype).max)


def _column(name: str, array: Array) -> list[Any]:
    if array.size != len(array):
        raise BadBodyError(
            f"the input {name!r} has the shape {list(array.shape)}; a column of a table has [n] or [n, 1]"
        )
    return array.reshape(-1).tolist()  # type: ignore[no-any-return]
