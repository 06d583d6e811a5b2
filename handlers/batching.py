"""Batches: the rows of several requests in one call of the model.

For models that treat each row on its own, as those of scikit-learn, PyTorch and MXNet mostly do. A model that does not
would give a caller values that depend on other callers' rows, or even parts of their rows. So the first batch of each
variant is computed both ways, jointly and request by request. If the two differ in shape, or in values by more than a
hundredth, the handler never batches that model again. docs/handlers.md#batches promises this.
"""

import itertools
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from polyhost.events import get_logger
from polyhost.handlers.base import Handler, HandlerRequest, HandlerResponse
from polyhost.handlers.body.payload import Inputs
from polyhost.handlers.errors import phase
from polyhost.handlers.settings import Settings

# Sums in another order, or of other kernels, differ in their last digits.
_RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE = 1e-2, 1e-4

logger = get_logger(__name__)


class InseparableError(Exception):
    """A joint output cannot be divided among the requests, or differs from their own outputs."""


@dataclass(frozen=True)
class _Pending:
    """A decoded request that waits for the model; `index` is its place among the requests."""

    index: int
    accept: str
    inputs: Inputs
    variant: Hashable
    features: Any


class BatchingHandler(Handler):
    """A handler whose `predict` is `features`, `forward` and `interpret`, one after the other."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._batches = True
        self._verified: set[Hashable] = set()  # the variants whose joint output was compared with single ones

    @abstractmethod
    def features(self, inputs: Inputs) -> Any:
        """Return what the model is called with: an array, or a dict of arrays. Their first axis counts rows."""

    @abstractmethod
    def forward(self, features: Any, variant: Hashable) -> Any:
        """Return the model's output: an array, or arrays in a list or a dict. Their first axis counts rows."""

    def variant(self, request: HandlerRequest, inputs: Inputs) -> Hashable:
        """Return what of a request, besides its rows, changes the output."""
        return None

    def interpret(self, output: Any, inputs: Inputs) -> Any:
        """Convert the output for these inputs to the caller's prediction."""
        return output

    def predict(self, inputs: Inputs, request: HandlerRequest) -> Any:
        variant = self.variant(request, inputs)
        with phase("decode"):
            features = self.features(inputs)
        return self.interpret(self.forward(features, variant), inputs)

    def respond_all(self, requests: Sequence[HandlerRequest]) -> list[HandlerResponse | Exception]:
        """Put the rows of all requests that are alike through the model in one call."""
        if len(requests) == 1 or not self._batches:
            return super().respond_all(requests)
        responses: dict[int, HandlerResponse | Exception] = {}
        groups: dict[Hashable, list[_Pending]] = {}
        for index, request in enumerate(requests):
            try:
                pending = self._decoded(index, request)
                key = self.batch_key(pending.features)
                groups.setdefault((index,) if key is None else (key, pending.variant), []).append(pending)
            except Exception as error:
                responses[index] = error
        for group in groups.values():
            for member, output in zip(group, self._outputs(group), strict=True):
                responses[member.index] = self._encoded(member, output)
        return [responses[index] for index in range(len(requests))]

    def batch_key(self, features: Any) -> Hashable:
        """Return a key that features have in common if they can be joined, None if they cannot with any."""
        match features:
            case numpy.ndarray() if features.ndim:
                return features.dtype, features.shape[1:]
            case dict() if len({len(array) for array in features.values()}) == 1:
                keys = [(name, self.batch_key(array)) for name, array in features.items()]
                return None if any(key is None for _, key in keys) else tuple(keys)
        return None

    def join(self, parts: Sequence[Any]) -> Any:
        """Concatenate features of one key by rows."""
        if isinstance(parts[0], dict):
            return {name: self.join([part[name] for part in parts]) for name in parts[0]}
        return numpy.concatenate(parts)

    def divide(self, output: Any, counts: Sequence[int]) -> list[Any]:
        """Divide a joint output by rows, `counts` of them to each. Raises InseparableError."""
        return split(output, counts)

    def _decoded(self, index: int, request: HandlerRequest) -> _Pending:
        accept, inputs = self.decode(request)
        with phase("predict"):
            variant = self.variant(request, inputs)
            with phase("decode"):
                return _Pending(index, accept, inputs, variant, self.features(inputs))

    def _outputs(self, group: Sequence[_Pending]) -> list[Any]:
        """Return each member's output, or the exception that it failed with.

        If the joint call fails, each member goes alone, so that a bad one fails alone.
        """
        if len(group) == 1 or not self._batches:
            return [self._single_output(member) for member in group]
        joint: list[Any] | Exception
        try:
            joint = self._joint_outputs(group)
            if group[0].variant in self._verified:
                return joint
        except Exception as error:
            joint = error
        single = [self._single_output(member) for member in group]
        if not any(isinstance(output, Exception) for output in single):
            self._verify(group[0].variant, joint, single)
        return single

    def _joint_outputs(self, group: Sequence[_Pending]) -> list[Any]:
        output = self.forward(self.join([member.features for member in group]), group[0].variant)
        return self.divide(output, [_row_count(member.features) for member in group])

    def _single_output(self, member: _Pending) -> Any:
        try:
            with phase("predict"):
                return self.forward(member.features, member.variant)
        except Exception as error:
            return error

    def _verify(self, variant: Hashable, joint: list[Any] | Exception, single: list[Any]) -> None:
        error = joint if isinstance(joint, Exception) else difference(joint, single)
        if error is None:
            self._verified.add(variant)
            return
        self._batches = False
        logger.warning(
            "batched output differs from unbatched output; batching is disabled for this model: %s: %s",
            type(error).__name__,
            error,
        )

    def _encoded(self, member: _Pending, output: Any) -> HandlerResponse | Exception:
        if isinstance(output, Exception):
            return output
        try:
            with phase("predict"):
                prediction = self.interpret(output, member.inputs)
            return self.encode(prediction, member.inputs, member.accept)
        except Exception as error:
            return error


def split(output: Any, counts: Sequence[int]) -> list[Any]:
    """Divide an output by rows, `counts` of them to each. Raises InseparableError if it has another number in all."""
    match output:
        case numpy.ndarray() if output.ndim and len(output) == sum(counts):
            return numpy.split(output, list(itertools.accumulate(counts))[:-1])
        case dict() if output:
            return [dict(zip(output, parts, strict=True)) for parts in _split_all(output.values(), counts)]
        case [_, *_]:
            return [list(parts) for parts in _split_all(output, counts)]
    given = f"shape {list(output.shape)}" if isinstance(output, numpy.ndarray) else f"type {type(output).__name__}"
    raise InseparableError(f"the output for {sum(counts)} rows has {given}")


def difference(joint: Sequence[Any], single: Sequence[Any]) -> InseparableError | None:
    """Return how the parts of a joint output differ from the outputs of the same requests alone.

    A first axis other than rows, such as time, may have the same length as the rows by chance. Cut along it, the parts
    have other shapes than the single outputs, which hold fewer rows.
    """
    for part, alone in zip(joint, single, strict=True):
        if _shape(part) != _shape(alone):
            return InseparableError(f"a request's part has the shape {_shape(part)}, and alone {_shape(alone)}")
        if not _is_close(part, alone):
            return InseparableError("a request's part has other values than alone: a row's output depends on others")
    return None


def _row_count(features: Any) -> int:
    return len(next(iter(features.values()))) if isinstance(features, dict) else len(features)


def _split_all(outputs: Iterable[Any], counts: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    return zip(*(split(output, counts) for output in outputs), strict=True)


def _is_close(part: Any, alone: Any) -> bool:
    """Compare two outputs of one shape."""
    match part:
        case dict():
            return all(_is_close(part[name], alone[name]) for name in part)
        case list():
            return all(_is_close(*pair) for pair in zip(part, alone, strict=True))
        case numpy.ndarray() if part.dtype.kind in "fc":
            return bool(numpy.allclose(part, alone, _RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE, equal_nan=True))
        case float() if isinstance(alone, float):
            return bool(numpy.isclose(part, alone, _RELATIVE_TOLERANCE, _ABSOLUTE_TOLERANCE, equal_nan=True))
    return bool(numpy.array_equal(part, alone))


def _shape(output: Any) -> Any:
    match output:
        case dict():
            return {name: _shape(value) for name, value in output.items()}
        case list():
            return [_shape(value) for value in output]
        case numpy.ndarray():
            return list(output.shape)
    return type(output).__name__
