"""CSV bodies: their header, and their cells as numbers where a whole column holds numbers."""

import csv
import io
import itertools
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from polyhost.handlers.body import limits
from polyhost.handlers.body.payload import Expected, Rows
from polyhost.handlers.errors import BadBodyError


def rows_from(body: str, header: str | None, expected: Expected) -> Rows:
    """Read a CSV body; `header` is the parameter of its media type. Raises BadBodyError."""
    if expected.text and _is_unquoted(body, expected):
        return _one_text_per_line(body, header, expected)
    limits.check_csv(body)
    csv.field_size_limit(sys.maxsize)  # a setting of the whole module; its default is 131,072 characters
    reader = _reader(body)
    try:
        table = [cells for cells in limits.bounded(reader) if cells]
    except csv.Error as error:
        raise BadBodyError(f"line {reader.line_num} is not CSV: {error}") from None
    if not table:
        raise BadBodyError("the CSV body holds no row")
    _check_widths(table, body)
    return _table(table, header, expected)


def _reader(body: str) -> Any:
    return csv.reader(io.StringIO(body, newline=""), strict=True)


def _is_unquoted(body: str, expected: Expected) -> bool:
    """Return whether nothing is quoted and the first line is no header of several columns."""
    first = [name.strip() for name in body.partition("\n")[0].split(",")]
    several = len(first) > 1 and (not first[0] or set(first) >= set(expected.names) != set())
    return '"' not in body and not several


def _one_text_per_line(body: str, header: str | None, expected: Expected) -> Rows:
    """Read each line as one text, commas included: nothing is quoted, and the model takes no second column."""
    limits.check_csv(body, "\n")
    lines = [line.removesuffix("\r") for line in body.split("\n")]
    texts = [[line] for line in lines if line.strip()]
    if not texts:
        raise BadBodyError("the CSV body holds no row")
    return _table(texts, header, expected)


def _check_widths(table: Sequence[list[str]], body: str) -> None:
    width = len(table[0])
    for index, cells in enumerate(table):
        if len(cells) != width:
            reader = _reader(body)  # again, since line numbers of all rows would take as much memory as the rows
            lines = [reader.line_num for row in itertools.islice(filter(None, reader), index + 1)]
            raise BadBodyError(f"line {lines[-1]} has {len(cells)} values, line {lines[0]} has {width}")


def _table(lines: list[list[str]], header: str | None, expected: Expected) -> Rows:
    """Read a header if the client says `header=present` (RFC 4180, section 3), or if the first line looks like one."""
    present = _looks_like_header(lines, expected) if header is None else header == "present"
    cells = lines[1:] if present else lines
    if not cells:
        raise BadBodyError("the CSV body holds a header and no row")
    names = tuple(name.strip() for name in lines[0]) if present else None
    return Rows(_numbers(cells) or _by_column(cells), names, cells=cells)


def _looks_like_header(lines: list[list[str]], expected: Expected) -> bool:
    """Return whether the first line has the names of the model's columns, or words above numbers.

    Digits in a column of text are no numbers: "007" may stand below "abc".
    """
    first, *others = lines
    if expected.names and set(expected.names) <= {name.strip() for name in first}:
        return True
    if not others or not _are_names(first):
        return False
    indexed = not first[0].strip()  # as pandas writes it; the model's columns follow
    return any(is_number(cell) for place, cell in enumerate(others[0], -indexed) if place not in expected.text_columns)


def _are_names(cells: list[str]) -> bool:
    """Return whether the cells are distinct words; the first may be empty, as pandas leaves it above an index."""
    names = cells if cells[0].strip() else cells[1:]
    differ = len(set(names)) == len(names) > 0
    return differ and all(name.strip() for name in names) and not any(map(is_number, names))


def is_number(cell: str) -> bool:
    """Return whether a cell is a number."""
    try:
        number(cell)
    except ValueError:
        return False
    return True


def number(cell: str) -> float:
    """Return a cell's number. Raises ValueError."""
    if "_" in cell:
        raise ValueError("float() would accept it as one of Python's digit separators")
    return float(cell)


def _numbers(cells: Sequence[Sequence[str]]) -> list[list[float]] | None:
    """Return every cell as a number, the quick way; None if one is not, is empty, or has a _, which float() accepts."""
    try:
        rows = [list(map(float, row)) for row in cells]
    except ValueError:
        return None
    return None if any("_" in "".join(row) for row in cells) else rows


def _by_column(cells: Iterable[Sequence[str]]) -> list[list[Any]]:
    columns = [_column(column) for column in zip(*cells, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def _column(cells: Iterable[str]) -> Iterable[float | str]:
    """Convert to numbers if every cell is one; an empty cell is NaN."""
    cells = list(cells)
    try:
        return [number(cell) if cell.strip() else math.nan for cell in cells]
    except ValueError:
        return cells
