"""What a request holds, brought to the shapes of a network's inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from polyhost.handlers import images
from polyhost.handlers.errors import BadBodyError, UnsuitableMediaTypeError, WrongShapeError
from polyhost.handlers.payload import Inputs, Picture, Rows
from polyhost.handlers.shapes_file import InputShape

Array = NDArray[Any]


def fill(inputs: Inputs, shapes: Sequence[InputShape]) -> dict[str, Array]:
    """An array [n, ...] for each of the network's inputs."""
    if isinstance(inputs, Rows) and inputs.names and {shape.name for shape in shapes} == set(inputs.names):
        arrays = {shape.name: _batch(_column(inputs, shape.name), shape) for shape in shapes}
        return _of_one_length(arrays)
    if len(shapes) != 1:
        names = [shape.name for shape in shapes]
        raise BadBodyError(f"The model has the inputs {names}; send an object with a value for each.")
    (shape,) = shapes
    if not isinstance(inputs, Picture):
        return {shape.name: _batch(inputs.values, shape)}
    if shape.dtype == "int8":
        raise UnsuitableMediaTypeError("The model's input is int8, which an image's values, 0 to 255, do not fit.")
    return {shape.name: _batch(images.tensor(inputs, shape.sample), shape)}


def array(values: Any, dtype: Any = None) -> Array:
    """The values as numpy takes them."""
    try:
        return numpy.asarray(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise _no_number(values, error) from None


def numbers(values: Any, dtype: Any = numpy.float32) -> Array:
    """The values as numbers of this type. One that it cannot hold is refused, where numpy would wrap or cut it."""
    given = array(values)
    if given.dtype.kind in "cmM":  # complex, or times
        raise BadBodyError(f"The body holds {given.dtype}; the model takes {numpy.dtype(dtype)}.")
    try:
        with numpy.errstate(invalid="ignore", over="ignore"):
            converted = given.astype(dtype, copy=False)
    except (ValueError, TypeError, OverflowError) as error:
        raise _no_number(values, error) from None
    lost = _lost(given, converted)
    if lost.any():
        raise BadBodyError(f"The model takes {converted.dtype}, which cannot hold {given[lost].flat[0]}.")
    return converted


def _lost(given: Array, converted: Array) -> Any:
    """Where another number has come out. Text is left out: it is parsed, and fails where it does not fit."""
    if given.dtype == converted.dtype or given.dtype.kind not in "biufO":
        return numpy.zeros((), bool)
    if converted.dtype.kind == "f":
        return numpy.isinf(converted) & (given != converted)
    return given != converted


def _no_number(values: Any, error: Exception) -> BadBodyError:
    return BadBodyError(_ragged(values) or f"The body holds something that is not a number: {error}.")


def _batch(values: Any, shape: InputShape) -> Array:
    """The values as [n, *sample]: rows of that shape, one such row, or rows of as many plain values.

    Dimensions of one may be left out, as in rows of 28 x 28 for a model of 1 x 28 x 28.
    """
    given, sample = numbers(values, shape.dtype), shape.sample
    size = math.prod(sample)
    if given.ndim and (_same(given.shape[1:], sample) or given.shape[1:] == (size,)):
        return given.reshape(given.shape[0], *sample)
    if _same(given.shape, sample) or given.shape == (size,):
        return given.reshape(1, *sample)
    raise WrongShapeError(f"[n, {', '.join(map(str, sample))}] or n rows of {size} values", list(given.shape))


def _same(shape: tuple[int, ...], sample: tuple[int, ...]) -> bool:
    return shape == sample or _without_ones(shape) == _without_ones(sample) != []


def _without_ones(shape: tuple[int, ...]) -> list[int]:
    return [size for size in shape if size != 1]


def _column(rows: Rows, name: str) -> list[Any]:
    assert rows.names is not None
    index = rows.names.index(name)
    return [row[index] for row in rows.values]


def _of_one_length(arrays: dict[str, Array]) -> dict[str, Array]:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1:
        raise WrongShapeError("as many rows for each input", lengths)
    return arrays


def _ragged(values: Any) -> str | None:
    widths = [len(row) if isinstance(row, list) else None for row in values] if isinstance(values, list) else []
    odd = next((index for index, width in enumerate(widths) if width != widths[0]), None)
    if odd is None:
        return None
    return f"The rows are not alike: row {odd} has {_width(widths[odd])}, row 0 has {_width(widths[0])}."


def _width(width: int | None) -> str:
    return "no list of values" if width is None else f"{width} values"
