"""What stands in for the functions that a script does not define: the defaults of SageMaker's image for its framework.

A framework's row in `polyhost.handlers.frameworks` names its class; docs/handlers.md has the table of what a script
gets and may return. What a function of the script's own sees is the framework's: a tensor, an NDArray, an array.
"""

from typing import Any

import numpy

from polyhost.handlers.base import Handler, HandlerRequest, Source
from polyhost.handlers.body import arrays, decoders, images
from polyhost.handlers.body.envelopes import rows_from
from polyhost.handlers.body.media_types import JSON, JSON_LINES, MediaType
from polyhost.handlers.body.payload import ANYTHING, Expected, Inputs, Picture, Rows
from polyhost.handlers.errors import BadModelError, HandlerError

_NUMBERS = {bool, int, float, type(None)}  # of JSON; null is a number that is missing


class Defaults:
    """The defaults of a framework whose arrays are numpy's, such as scikit-learn; `handler` serves its models."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler

    def load(self, source: Source, *, seen: bool, predicts: bool) -> Any:
        """Load the model from the archive's files.

        `seen` says that a function of the script takes it, `predicts` that `predict` is called.
        """
        self.handler.load(source)
        return self.handler.model

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        """Take a model that the script made; `predicts` says that `predict` is called. Raises BadModelError."""
        if predicts:
            self.handler.use_model(model, origin, source)

    def data(self, request: HandlerRequest) -> Any:
        """Return what a predict_fn gets: an array where the body is one, else what was sent, parsed."""
        media_type = MediaType.parse(request.content_type or JSON)
        if media_type.name in (JSON, JSON_LINES):
            return self._array_or_value(decoders.parsed(request.body, media_type))
        decoded = decoders.decode(request.body, request.content_type)
        if isinstance(decoded, Picture):
            return images.pixels(decoded)
        if decoded.names is not None:
            objects = [dict(zip(decoded.names, row, strict=True)) for row in decoded.values]
            return objects[0] if decoded.single else objects
        if isinstance(decoded.values, numpy.ndarray):
            return self.array(decoded.values, typed=True)
        return self._array_or_value(decoded.values)

    def inputs(self, request: HandlerRequest) -> Any:
        """Return what `predict` gets."""
        return decoders.decode(request.body, request.content_type, self.handler.expected)

    def array(self, array: Any, *, typed: bool) -> Any:
        """Convert to the framework's own type of array. `typed` says that the body gave the numbers' type."""
        return array

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        """Return the model's output for `inputs`, or for what the script's input_fn returned."""
        return self.handler.predict(as_inputs(data, self.handler.expected), request)

    def prediction(self, output: Any, data: Any) -> Any:
        """Return the caller's prediction, from the output that `predict` returned for the data."""
        return output

    def arrays(self, value: Any) -> Any:
        """Convert the framework's arrays in what a predict_fn returned to numpy's, which every encoder takes."""
        return value

    def _array_or_value(self, value: Any) -> Any:
        array = number_array(value)
        return value if array is None else self.array(array, typed=False)


class NoFrameworkDefaults(Defaults):
    """For a model of no framework that we know: an object with a method `predict`, or a function."""

    def use_model(self, model: Any, origin: str, source: Source, *, predicts: bool) -> None:
        function = getattr(model, "predict", model)
        if predicts and not callable(function):
            raise BadModelError(
                f"{origin} gives a {type(model).__name__}, which has no predict method and cannot be called; add a "
                "predict_fn that takes it"
            )
        self._function = function

    def predict(self, data: Any, request: HandlerRequest) -> Any:
        return self._function(_values(as_inputs(data)))


class NoHandler(Handler):
    """Stands in for a framework's handler where a script has no framework."""

    def load(self, source: Source) -> None:
        raise NotImplementedError("a script of no framework loads its model itself")

    def predict(self, inputs: Inputs, request: HandlerRequest) -> Any:
        raise NotImplementedError("a script of no framework has a model of its own")


def as_inputs(data: Any, expected: Expected = ANYTHING) -> Inputs:
    """Convert what a script's input_fn returned to what a framework's handler takes."""
    if isinstance(data, Rows | Picture):
        return data
    if data is None:
        raise HandlerError("input_fn returned None; it must return what the model takes")
    return rows_from(data, expected) if isinstance(data, dict | list) else Rows(data)


def number_array(value: Any) -> Any:
    """Return a list of numbers, or nested lists of one shape, as an array, null as NaN; None if it is anything else."""
    if not isinstance(value, list) or isinstance(_first_leaf(value), str | dict):
        return None
    try:
        array = arrays.untyped(value)
    except ValueError:
        return None  # rows of unlike lengths
    if array.dtype.kind in "biuf":
        return array
    return _with_missing(array) if array.dtype.kind == "O" else None


def _with_missing(array: Any) -> Any:
    kinds = {type(leaf) for leaf in array.flat}
    return array.astype(numpy.float64) if type(None) in kinds and kinds & {int, float} and kinds <= _NUMBERS else None


def _first_leaf(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = value[0]
    return value


def _values(inputs: Inputs) -> Any:
    if isinstance(inputs, Picture):
        return images.pixels(inputs)
    try:
        return arrays.untyped(inputs.values)
    except ValueError:
        return inputs.values  # rows of unlike lengths: the model decides
