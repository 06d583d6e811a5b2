"""From a request's rows to the arrays that a model of ONNX takes, by the names, types and shapes of its inputs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy
from numpy.typing import NDArray

from polyhost.handlers import tensors
from polyhost.handlers.body import images
from polyhost.handlers.body.payload import Inputs, Picture, Rows
from polyhost.handlers.errors import BadBodyError, BadModelError, UnsuitableMediaTypeError, WrongShapeError

TEXT = "text"
_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16", "tensor(bool)": "bool",
    "tensor(int8)": "int8", "tensor(int16)": "int16", "tensor(int32)": "int32", "tensor(int64)": "int64",
    "tensor(uint8)": "uint8", "tensor(uint16)": "uint16", "tensor(uint32)": "uint32", "tensor(uint64)": "uint64",
    "tensor(string)": TEXT,
}  # fmt: skip

Array = NDArray[Any]


@dataclass(frozen=True)
class ModelInput:
    """One input. A size of its shape is None where it may be any; `type` is numpy's name of it, or `TEXT`."""

    name: str
    type: str
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, node: Any) -> Self:
        """Read what onnxruntime says of an input. Raises BadModelError for one that is no tensor."""
        if node.type not in _TYPES:
            raise BadModelError(
                f"the model's input {node.name!r} is a {node.type}, which no body can be read as; add an inference.py"
            )
        return cls(node.name, _TYPES[node.type], tuple(size if isinstance(size, int) else None for size in node.shape))

    @property
    def sample(self) -> tuple[int | None, ...]:
        """The shape of one row."""
        return self.shape[1:]

    @property
    def size(self) -> int | None:
        """How many values a row has, None if that may differ."""
        return None if None in self.sample else math.prod(size for size in self.sample if size is not None)

    def __str__(self) -> str:
        sizes = ["n" if place == 0 and size is None else size or "?" for place, size in enumerate(self.shape)]
        return f"{self.name!r}: {self.type}[{', '.join(map(str, sizes))}]"

    def array(self, values: Any) -> Array:
        """Convert values to the input's type and shape. Raises BadBodyError, which names the input."""
        try:
            given = self._texts(values) if self.type == TEXT else tensors.numbers(values, numpy.dtype(self.type))
        except BadBodyError as error:
            raise BadBodyError(f"the input {self.name!r}: {error}") from None
        return self._sized(given)

    def _texts(self, values: Any) -> Array:
        given = tensors.array(values)
        if given.dtype.kind in "US":
            given = given.astype(str).astype(object)
        odd = next((value for value in given.ravel().tolist() if not isinstance(value, str)), None)
        if given.dtype.kind != "O" or odd is not None:
            raise BadBodyError(f"it takes text; given {odd!r}")
        return given

    def _sized(self, given: Array) -> Array:
        """Return rows of the input's shape: given so, or flat, or without sizes of one; or one such row."""
        if not self.shape:
            if given.size == 1:
                return given.reshape(())
            raise WrongShapeError(str(self), list(given.shape))
        for rows in (given, given[numpy.newaxis]):
            if rows.ndim == len(self.shape) and self._fits(rows.shape[1:]):
                return rows
        if self.size is not None:
            sample = tuple(size for size in self.sample if size is not None)
            for rows in (given, given[numpy.newaxis]):
                if rows.ndim and (
                    rows.shape[1:] == (self.size,) or _without_ones(rows.shape[1:]) == _without_ones(sample)
                ):
                    return rows.reshape(len(rows), *sample)
        raise WrongShapeError(str(self), list(given.shape))

    def _fits(self, shape: Sequence[int]) -> bool:
        return all(size in (None, given) for size, given in zip(self.sample, shape, strict=True))


def fill(inputs: Inputs, wanted: Sequence[ModelInput]) -> dict[str, Array]:
    """Return an array for each of the model's inputs. Raises BadBodyError, which names them."""
    if isinstance(inputs, Picture):
        return _of_picture(inputs, wanted)
    if inputs.names is not None and {each.name for each in wanted} <= set(inputs.names):
        return _alike({each.name: _named(inputs, each, inputs.names.index(each.name)) for each in wanted})
    if len(wanted) == 1:
        (only,) = wanted
        return {only.name: only.array(_cells(inputs) if only.type == TEXT else inputs.values)}
    if are_columns(wanted) and inputs.names is None and _width(inputs.values) == len(wanted):
        return _alike({each.name: _named(inputs, each, place) for place, each in enumerate(wanted)})
    given = f"{list(inputs.names)}" if inputs.names is not None else "rows without names"
    raise BadBodyError(
        f"the model has the inputs {'; '.join(map(str, wanted))}: send an object with a value for each; given {given}"
    )


def are_columns(wanted: Sequence[ModelInput]) -> bool:
    """Return whether each input takes one value of a row, as a table's columns do."""
    return all(each.shape and each.size == 1 for each in wanted)


def _of_picture(picture: Picture, wanted: Sequence[ModelInput]) -> dict[str, Array]:
    if len(wanted) != 1 or wanted[0].size is None or wanted[0].type in (TEXT, "int8"):
        raise UnsuitableMediaTypeError(
            f"an image does not fit the model's inputs, {'; '.join(map(str, wanted))}: it fits one of "
            "numbers, of fixed sizes"
        )
    (only,) = wanted
    sample = tuple(size for size in only.sample if size is not None)
    return {only.name: only.array(images.tensor(picture, sample))}


def _named(rows: Rows, wanted: ModelInput, place: int) -> Array:
    """Convert one input of named ones. In one object it is a row or, if only that fits the shape, several rows."""
    column = [row[place] for row in (_cells(rows) if wanted.type == TEXT else rows.values)]
    try:
        return wanted.array(column)
    except WrongShapeError:
        if not rows.single or not isinstance(column[0], list):
            raise
        return wanted.array(column[0])


def _cells(rows: Rows) -> Any:
    """Return the values for an input of text: of CSV as they were sent, so that 007 stays so."""
    return rows.values if rows.cells is None else rows.cells


def _width(values: Any) -> int | None:
    if isinstance(values, numpy.ndarray):
        return values.shape[1] if values.ndim == 2 else None
    return len(values[0]) if isinstance(values[0], list) else None


def _alike(given: Mapping[str, Array]) -> dict[str, Array]:
    counts = {name: len(array) for name, array in given.items() if array.ndim}
    if len(set(counts.values())) > 1:
        raise WrongShapeError("as many rows for each input", counts)
    return dict(given)


def _without_ones(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size != 1]
