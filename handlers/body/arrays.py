"""From a request's values to numpy's arrays, the one way: numpy is never left to guess a type where there is text.

It would choose `U<length of the longest text>`: four bytes for each character of the longest, in every cell. That
turns a body of 136 kB, 20,000 short texts and one of 100,000 characters, into 8 GB.
"""

from itertools import chain
from typing import Any

import numpy
from numpy.typing import NDArray

_NUMBERS = frozenset((int, float, bool, type(None)))
_LISTS = (list, tuple)
_TEXTS = (str, bytes)
_NUMBER_WIDTH = 32  # characters that numpy gives a number among texts, at most
_MAX_TEXT_BYTES = 64_000_000
_MAX_DIMENSIONS = 32  # numpy 2 makes arrays of 64, and cannot iterate over those


def untyped(values: Any) -> NDArray[Any]:
    """Convert to an array of the type that numpy chooses, or of objects if any value is text.

    Raises ValueError for rows of unlike lengths, and what else numpy raises.
    """
    if not isinstance(values, _LISTS) or not holds_text(values):
        return numpy.asarray(values)
    objects = numpy.asarray(values, dtype=object)
    if objects.ndim > _MAX_DIMENSIONS:
        raise ValueError(f"the lists are nested more than {_MAX_DIMENSIONS} deep")
    if any(isinstance(value, _LISTS) for value in objects.flat):  # numpy makes objects even of rows
        raise ValueError("the rows of text are not alike in length")
    return objects


def holds_text(values: Any) -> bool:
    """Return whether a list, or a list inside of it, holds text, by one pass over each level."""
    try:
        if type(values[0]) is list and _NUMBERS.issuperset(map(type, chain.from_iterable(values))):
            return False  # rows of numbers, as nearly all requests are
    except (TypeError, IndexError):
        pass
    kinds = set(map(type, values))
    while kinds == {list}:
        values = list(chain.from_iterable(values))
        kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        return False
    if any(issubclass(kind, _TEXTS) for kind in kinds):
        return True
    inner = [value for value in values if isinstance(value, _LISTS)]
    return bool(inner) and holds_text(list(chain.from_iterable(inner)))


class WideTextError(ValueError):
    """Text as numpy has it, all of the longest one's width, would take too much memory."""


def guessed(values: Any) -> NDArray[Any]:
    """Convert as numpy does by itself, text to `U<longest>`, where a type's contract asks for it.

    Raises WideTextError, and ValueError as `untyped` does.
    """
    array = untyped(values)
    if array.dtype.kind != "O" or not isinstance(values, _LISTS) or not holds_text(values):
        return array
    longest = max(len(value) if isinstance(value, _TEXTS) else _NUMBER_WIDTH for value in array.flat)
    if 4 * longest * array.size > _MAX_TEXT_BYTES:
        raise WideTextError(
            f"an array of {array.size} texts, each of the width of the longest one, {longest} characters, would take "
            f"{4 * longest * array.size} bytes; at most {_MAX_TEXT_BYTES} are made"
        )
    return numpy.asarray(values)
