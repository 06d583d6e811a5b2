"""The shapes file beside a model: [{"shape": [1, 3, 224, 224], "name": "data"}], an entry for each of its inputs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhost.handlers.errors import BadModelError

EXAMPLE = '[{"shape": [1, 3, 224, 224], "name": "data"}]'
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
    """Read the file. Raises BadModelError."""
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        raise BadModelError(f"{path.name} is not JSON: {error}; expected {EXAMPLE}") from None
    if not isinstance(entries, list) or not entries:
        raise BadModelError(f"{path.name} must hold a list with an entry for each input, such as {EXAMPLE}")
    return [_entry(path, entry) for entry in entries]


def _entry(path: Path, entry: Any) -> InputShape:
    match entry:
        case {"name": str(name), "shape": [_, _, *_] as shape} if all(_is_size(size) for size in shape):
            dtype = entry.get("dtype", "float32")
            if dtype in _DTYPES:
                return InputShape(name, tuple(shape), dtype)
    raise BadModelError(f"{path.name} has the entry {json.dumps(entry)}; expected one like those of {EXAMPLE}")


def _is_size(value: Any) -> bool:
    return type(value) is int and value > 0
