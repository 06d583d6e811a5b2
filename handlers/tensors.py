"""Numbers from a body, brought to the shape of a model's input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

from handlers.errors import BadBodyError, WrongShapeError


def numbers(values: Any, dtype: Any = numpy.float32) -> NDArray[Any]:
    try:
        return numpy.asarray(values, dtype=dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadBodyError(_ragged(values) or f"The body holds something that is not a number: {error}.") from None


def batch(array: NDArray[Any], sample: Sequence[int]) -> NDArray[Any]:
    """The array as [n, *sample]: rows of that shape, one such row, or rows of as many plain values.

    Dimensions of one may be left out, as in rows of 28 x 28 for a model of 1 x 28 x 28.
    """
    sample = tuple(sample)
    if _same(array.shape[1:], sample) or (array.ndim == 2 and array.shape[1] == math.prod(sample)):
        return array.reshape(array.shape[0], *sample)
    if _same(array.shape, sample) or array.shape == (math.prod(sample),):
        return array.reshape(1, *sample)
    raise WrongShapeError(
        f"[n, {', '.join(map(str, sample))}] or n rows of {math.prod(sample)} values", list(array.shape)
    )


def _same(shape: Sequence[int], sample: Sequence[int]) -> bool:
    return shape == sample or [size for size in shape if size != 1] == [size for size in sample if size != 1] != []


def _ragged(values: Any) -> str | None:
    widths = [len(row) if isinstance(row, list) else None for row in values] if isinstance(values, list) else []
    odd = next((index for index, width in enumerate(widths) if width != widths[0]), None)
    if odd is None:
        return None
    return f"The rows are not alike: row {odd} has {_width(widths[odd])}, row 0 has {_width(widths[0])}."


def _width(width: int | None) -> str:
    return "no list of values" if width is None else f"{width} values"
