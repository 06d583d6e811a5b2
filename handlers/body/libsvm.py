"""libsvm: a row a line, `label index:value ...`; the label may be left out, and does not count.

What a row does not name is missing, as it is for XGBoost. Indices count from 0, as XGBoost reads them, or from 1 if the
media type says `base=1`.
"""

import re
from typing import Any

import numpy
from numpy.typing import NDArray

from polyhost.handlers.body import limits
from polyhost.handlers.errors import BadBodyError

_PAIR = re.compile(r"(\d{1,18}):(\S+)")


def table(text: str, columns: int, base: str | None) -> NDArray[Any]:
    """Return the rows as an array of this many columns, NaN where nothing is given. Raises BadBodyError."""
    if base not in (None, "0", "1"):
        raise BadBodyError(f"base={base} of the Content-Type must be 0 or 1, the index of the first column")
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise BadBodyError("the body holds no row")
    limits.check_count(len(lines) * columns)
    rows = numpy.full((len(lines), columns), numpy.nan)
    for row, (number, cells) in zip(rows, lines, strict=True):
        start = 0 if ":" in cells[0] else 1
        for cell in cells[start:]:
            index, value = _pair(cell, number)
            place = index - int(base or 0)
            if not 0 <= place < columns:
                raise BadBodyError(
                    f"line {number} has the index {index}; the model has {columns} columns, whose indices are "
                    f"{base or 0} to {columns - 1 + int(base or 0)} (text/libsvm; base=1 counts them from 1)"
                )
            row[place] = value
    return rows


def _pair(cell: str, number: int) -> tuple[int, float]:
    match = _PAIR.fullmatch(cell)
    try:
        if match and "_" not in match[2]:
            return int(match[1]), float(match[2])
    except ValueError:
        pass
    raise BadBodyError(f"line {number} has {cell[:80]!r}; expected an index and a number, such as 3:0.5")
