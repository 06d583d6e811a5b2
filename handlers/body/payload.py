"""What a request's body holds once it is decoded, before a framework sees it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image


@dataclass(frozen=True)
class Rows:
    """Rows of values: nested lists or an array. `single` says that the body was one object, not a list of rows.

    `cells` are a CSV body's values as they were sent: "007", where `values` has 7.0.
    """

    values: Any
    names: tuple[str, ...] | None = None
    single: bool = False
    cells: Sequence[Sequence[str]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Picture:
    """One image of any size and mode."""

    image: Image


Inputs = Rows | Picture


@dataclass(frozen=True)
class Expected:
    """What is known of a model's inputs, by which a body that could mean two things is read.

    `names`: of its inputs, or of a table's columns. `table`: a row's values are plain ones, never lists or objects.
    `text`: a row is one text. `records`: a row is an object of any names. `text_columns`: where a table holds text.
    `sparse_columns`: how many columns a table has of which a row may name a few, as in libsvm; 0 for other models.
    """

    names: tuple[str, ...] = ()
    table: bool = False
    text: bool = False
    records: bool = False
    text_columns: frozenset[int] = frozenset()
    sparse_columns: int = 0


ANYTHING = Expected()
