"""The shapes file beside a model: [{"shape": [1, 3, 224, 224], "name": "data"}], an entry for each of its inputs.

A single entry may stand without the list, and without a name. [1] is a shape too: the batch of an input whose samples
are single numbers.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.handlers.errors import BadModelError

EXAMPLE = '[{"shape": [1, 3, 224, 224], "name": "data"}]'
_ONLY_NAME = "data"  # of a single input that has none, as MXNet calls it
_DTYPES = ("float32", "float64", "float16", "int64", "int32", "int8", "uint8")


@dataclass(frozen=True)
class InputShape:
    """One input of a network. `shape` begins with the batch, whose size is `batch`; the rest is one sample's."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def batch(self) -> int:
        return self.shape[0]

    @property
    def sample(self) -> tuple[int, ...]:
        return self.shape[1:]


def read(path: Path) -> list[InputShape]:
    """Read the file. Raises BadModelError, which says what is wrong with which entry."""
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadModelError(f"{path.name} is not JSON: {error}; expected {EXAMPLE}") from None
    if isinstance(entries, dict) and "shape" in entries:  # a single entry without the list around it
        entries = [entries]
    if not isinstance(entries, list) or not entries:
        raise BadModelError(f"{path.name} must hold a list with an entry for each input, such as {EXAMPLE}")
    for entry in entries:
        if fault := _fault(entry, is_only=len(entries) == 1):
            raise BadModelError(
                f"{path.name} has the entry {json.dumps(entry)}: {fault}; expected one like those of {EXAMPLE}"
            )
    shapes = [
        InputShape(entry.get("name", _ONLY_NAME), tuple(entry["shape"]), entry.get("dtype", "float32"))
        for entry in entries
    ]
    if len({shape.name for shape in shapes}) < len(shapes):
        names = ", ".join(shape.name for shape in shapes)
        raise BadModelError(f"{path.name} names two inputs alike: {names}; expected entries like those of {EXAMPLE}")
    return shapes


def _fault(entry: Any, is_only: bool) -> str | None:
    """Return what is wrong with an entry, None if nothing is. Only one of several needs a name."""
    if not isinstance(entry, dict):
        return "it must be an object"
    shape = entry.get("shape")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and size > 0 for size in shape):
        return '"shape" must be a list of whole numbers above 0, the batch first'
    if not isinstance(entry.get("name"), str) and ("name" in entry or not is_only):
        return '"name" must be the name of the input'
    if entry.get("dtype", "float32") not in _DTYPES:
        return f'"dtype" must be one of {", ".join(_DTYPES)}'
    return None
