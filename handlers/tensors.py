"""Conversion of a request's inputs to arrays of the shapes that a network takes."""

import math
from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from polyhost.handlers.body import arrays, images
from polyhost.handlers.body.payload import Inputs, Picture, Rows
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError, WrongShapeError
from polyhost.handlers.shapes_file import InputShape

Array = NDArray[Any]
_WIDE = frozenset(("float32", "float64", numpy.float32, numpy.float64))  # which no integer is too large for
_SHOWN = 200  # characters of numpy's reasons, which hold the text that is no number


def fill(inputs: Inputs, shapes: Sequence[InputShape]) -> dict[str, Array]:
    """Return an array [n, *sample] for each of the network's inputs. Raises BadBodyError."""
    if isinstance(inputs, Rows) and inputs.names and {shape.name for shape in shapes} == set(inputs.names):
        batches = {shape.name: _named_batch(inputs, shape) for shape in shapes}
        _check_equal_lengths(batches)
        return batches
    if len(shapes) != 1:
        names = [shape.name for shape in shapes]
        raise BadBodyError(f"the model has the inputs {names}; send an object with a value for each")
    (shape,) = shapes
    if not isinstance(inputs, Picture):
        return {shape.name: sized(inputs.values, shape)}
    if shape.dtype == "int8":
        raise UnsuitableMediaTypeError("the model's input is int8, which an image's values, 0 to 255, do not fit")
    return {shape.name: sized(images.tensor(inputs, shape.sample), shape)}


def array(values: Any, dtype: Any = None) -> Array:
    """Convert to an array of this type, or without one as `arrays.untyped` does. Raises BadBodyError."""
    try:
        return arrays.untyped(values) if dtype is None else numpy.asarray(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise _not_numbers(values, error) from None


def numbers(values: Any, dtype: Any = numpy.float32) -> Array:
    """Convert to numbers of this type. Raises BadBodyError for one that it cannot hold, which numpy would change."""
    given = array(values)
    if given.dtype.kind in "cmM":  # complex, or times
        raise BadBodyError(f"the body holds {given.dtype}; the model takes {numpy.dtype(dtype)}")
    if given.dtype.kind in "biu" and dtype in _WIDE:
        return given.astype(dtype)
    try:
        if given.dtype.kind == "O":
            given = _parsed(given, numpy.dtype(dtype))
        with numpy.errstate(invalid="ignore", over="ignore"):
            converted = given.astype(dtype, copy=False)
    except (ValueError, TypeError, OverflowError) as error:
        raise _not_numbers(values, error) from None
    changed = _changed(given, converted)
    if changed.any():
        raise BadBodyError(f"the model takes {converted.dtype}, which cannot hold {given[changed].flat[0]}")
    return converted


def _parsed(objects: Array, dtype: numpy.dtype[Any]) -> Array:
    """Return the objects with numbers in the place of texts. Raises ValueError."""
    number = int if dtype.kind in "iu" else float
    parse = numpy.frompyfunc(lambda value: number(value) if isinstance(value, str | bytes) else value, 1, 1)
    return numpy.asarray(parse(objects), dtype=object)


def _changed(given: Array, converted: Array) -> Any:
    """Return a mask of the numbers that conversion changed. NPY's text is parsed, and fails if it does not fit."""
    if given.dtype == converted.dtype or given.dtype.kind not in "biufO":
        return numpy.zeros((), bool)
    if converted.dtype.kind == "f":
        infinite = numpy.isinf(converted)
        return infinite & (given != converted) if infinite.any() else infinite
    return given != converted


def _not_numbers(values: Any, error: Exception) -> BadBodyError:
    return BadBodyError(
        _ragged(values) or _mixed(values) or f"the body holds something that is not a number: {_cut(str(error))}"
    )


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def sized(values: Any, shape: InputShape) -> Array:
    """Convert to [n, *sample]: from rows of that shape, one such row, or rows of as many plain values.

    Dimensions of one may be left out, as in rows of 28 x 28 for a model of 1 x 28 x 28.
    """
    given, sample = numbers(values, shape.dtype), shape.sample
    size = math.prod(sample)
    if given.ndim and (_fits(given.shape[1:], sample) or given.shape[1:] == (size,)):
        return given.reshape(given.shape[0], *sample)
    if _fits(given.shape, sample) or given.shape == (size,):
        return given.reshape(1, *sample)
    expected = ", ".join(["n", *map(str, sample)])
    raise WrongShapeError(f"[{expected}] or n rows of {size} values", list(given.shape))


def _named_batch(rows: Rows, shape: InputShape) -> Array:
    """Convert one input of named ones. In one object it is a row or, if only that fits the shape, several rows."""
    column = _column(rows, shape.name)
    try:
        return sized(column, shape)
    except WrongShapeError:
        if not rows.single or not isinstance(column[0], list):
            raise
        return sized(column[0], shape)


def _fits(shape: tuple[int, ...], sample: tuple[int, ...]) -> bool:
    return shape == sample or _without_ones(shape) == _without_ones(sample) != []


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _column(rows: Rows, name: str) -> list[Any]:
    assert rows.names is not None
    index = rows.names.index(name)
    return [row[index] for row in rows.values]


def _check_equal_lengths(batches: dict[str, Array]) -> None:
    lengths = {name: len(batch) for name, batch in batches.items()}
    if len(set(lengths.values())) != 1:
        raise WrongShapeError("as many rows for each input", lengths)


def _ragged(values: Any) -> str | None:
    """Return which row differs in length from the first, None if none does."""
    widths = [len(row) if isinstance(row, list) else None for row in values] if isinstance(values, list) else []
    odd = next((index for index, width in enumerate(widths) if width != widths[0]), None)
    if odd is None:
        return None
    return f"the rows are not alike: row {odd} has {_width(widths[odd])}, row 0 has {_width(widths[0])}"


def _mixed(values: Any) -> str | None:
    """Return which row has a list or an object beside plain values, None if none has."""
    for index, row in enumerate(values if isinstance(values, list) else ()):
        nested = [isinstance(value, list | dict) for value in row] if isinstance(row, list) else []
        if any(nested) and not all(nested):
            place = nested.index(True)
            kind = "a list" if isinstance(row[place], list) else "an object"
            return f"row {index} has {kind} at place {place}, beside plain values"
    return None


def _width(width: int | None) -> str:
    return "no list of values" if width is None else f"{width} values"
