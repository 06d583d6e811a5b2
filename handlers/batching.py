"""Models that treat each row for itself, as those of scikit-learn, PyTorch and MXNet do: a batch is one call."""

from __future__ import annotations

import itertools
import logging
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from polyhost.handlers.base import Answer, Handler, Request
from polyhost.handlers.errors import phase
from polyhost.handlers.payload import Inputs
from polyhost.handlers.settings import Settings

logger = logging.getLogger(__name__)


class InseparableError(Exception):
    """An output that does not show which of its parts belong to which rows."""


@dataclass(frozen=True)
class _Pending:
    """A request that is read and waits for the model."""

    index: int
    accept: str
    inputs: Inputs
    wish: Hashable
    features: Any


class RowHandler(Handler):
    """`predict` is `features`, `forward` and `interpret`, one after the other."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._apart = False  # a model that could not answer several requests in one call is not asked to again
        self._tried: set[Hashable] = set()  # the wishes whose joined output was once held against the lone ones

    @abstractmethod
    def features(self, inputs: Inputs) -> Any:
        """What the model is called with: an array, or a dict of arrays by name. Their first axis counts rows."""

    @abstractmethod
    def forward(self, features: Any, wish: Hashable) -> Any:
        """The output: an array, or arrays in a list or a dict. Their first axis counts the same rows."""

    def wish(self, request: Request) -> Hashable:
        """What of a request, beside its rows, changes the output."""
        return None

    def interpret(self, output: Any, inputs: Inputs) -> Any:
        """What the output means to who sent these inputs."""
        return output

    def predict(self, inputs: Inputs, request: Request) -> Any:
        wish = self.wish(request)
        with phase("decode"):
            features = self.features(inputs)
        return self.interpret(self.forward(features, wish), inputs)

    def answers(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """The rows of requests that are alike go through the model in one call.

        If that fails, each request goes alone: a bad one fails for itself. The first time each goes alone too, since an
        output's first axis may be something else, such as time, and as long as the rows by chance. Cut along it, the
        parts have other shapes than the lone outputs: those hold fewer rows.
        """
        if len(requests) == 1 or self._apart:
            return super().answers(requests)
        answers: dict[int, Answer | Exception] = {}
        groups: dict[Hashable, list[_Pending]] = {}
        for index, request in enumerate(requests):
            try:
                pending = self._read(index, request)
                kind = self.kind(pending.features)
                groups.setdefault((index,) if kind is None else (kind, pending.wish), []).append(pending)
            except Exception as error:
                answers[index] = error
        for group in groups.values():
            for member, output in zip(group, self._outputs(group), strict=True):
                answers[member.index] = self._written(member, output)
        return [answers[index] for index in range(len(requests))]

    def kind(self, features: Any) -> Hashable:
        """Features of one kind can be joined. None: of no other's."""
        match features:
            case numpy.ndarray() if features.ndim:
                return features.dtype, features.shape[1:]
            case dict() if len({len(array) for array in features.values()}) == 1:
                kinds = [(name, self.kind(array)) for name, array in features.items()]
                return None if any(kind is None for _, kind in kinds) else tuple(kinds)
        return None

    def join(self, parts: Sequence[Any]) -> Any:
        """Features of one kind as one."""
        if isinstance(parts[0], dict):
            return {name: self.join([part[name] for part in parts]) for name in parts[0]}
        return numpy.concatenate(parts)

    def _read(self, index: int, request: Request) -> _Pending:
        accept, inputs = self.read(request)
        with phase("predict"):
            wish = self.wish(request)
            with phase("decode"):
                return _Pending(index, accept, inputs, wish, self.features(inputs))

    def _outputs(self, group: Sequence[_Pending]) -> list[Any]:
        """Of each, or the exception that it failed with."""
        if len(group) == 1 or self._apart:
            return [self._output(member) for member in group]
        refusal: Exception | None = None
        outputs: list[Any] = []
        try:
            outputs = self._joined(group)
            if group[0].wish in self._tried:
                return outputs
        except Exception as error:
            refusal = error
        alone = [self._output(member) for member in group]
        if not any(isinstance(output, Exception) for output in alone):
            self._learn(group[0].wish, refusal or _difference(outputs, alone))
        return alone

    def _joined(self, group: Sequence[_Pending]) -> list[Any]:
        output = self.forward(self.join([member.features for member in group]), group[0].wish)
        return split(output, [_count(member.features) for member in group])

    def _learn(self, wish: Hashable, refusal: Exception | None) -> None:
        """From a batch that was answered both ways: together, and one by one without an error."""
        if refusal is None:
            self._tried.add(wish)
            return
        self._apart = True
        logger.warning(
            "the model does not take the rows of several requests in one call, so each goes alone from now on: %s: %s",
            type(refusal).__name__,
            refusal,
        )

    def _output(self, member: _Pending) -> Any:
        try:
            with phase("predict"):
                return self.forward(member.features, member.wish)
        except Exception as error:
            return error

    def _written(self, member: _Pending, output: Any) -> Answer | Exception:
        if isinstance(output, Exception):
            return output
        try:
            with phase("predict"):
                prediction = self.interpret(output, member.inputs)
            return self.write(prediction, member.inputs, member.accept)
        except Exception as error:
            return error


def _count(features: Any) -> int:
    return len(next(iter(features.values()))) if isinstance(features, dict) else len(features)


def split(output: Any, counts: Sequence[int]) -> list[Any]:
    """The output's rows, so many to each. Raises InseparableError where it has not as many in all."""
    match output:
        case numpy.ndarray() if output.ndim and len(output) == sum(counts):
            return numpy.split(output, list(itertools.accumulate(counts))[:-1])
        case dict() if output:
            return [dict(zip(output, parts, strict=True)) for parts in _across(output.values(), counts)]
        case [_, *_]:
            return [list(parts) for parts in _across(output, counts)]
    given = f"shape {list(output.shape)}" if isinstance(output, numpy.ndarray) else f"type {type(output).__name__}"
    raise InseparableError(f"the answer to {sum(counts)} rows holds something of {given}")


def _difference(parts: Sequence[Any], alone: Sequence[Any]) -> InseparableError | None:
    for part, lone in zip(parts, alone, strict=True):
        if _shape(part) != _shape(lone):
            return InseparableError(f"a request's part has the shape {_shape(part)}, and alone {_shape(lone)}")
        if not _close(part, lone):
            return InseparableError(
                "a request's part is another than alone: the answer to one row depends on the others"
            )
    return None


def _close(part: Any, lone: Any) -> bool:
    """Of one shape. Sums in another order, or of other kernels, differ in their last digits."""
    match part:
        case dict():
            return all(_close(part[name], lone[name]) for name in part)
        case list():
            return all(_close(*pair) for pair in zip(part, lone, strict=True))
        case numpy.ndarray() if part.dtype.kind in "fc":
            return bool(numpy.allclose(part, lone, rtol=1e-2, atol=1e-4, equal_nan=True))
    return bool(numpy.array_equal(part, lone))


def _shape(output: Any) -> Any:
    match output:
        case dict():
            return {name: _shape(value) for name, value in output.items()}
        case list():
            return [_shape(value) for value in output]
        case numpy.ndarray():
            return list(output.shape)
    return type(output).__name__


def _across(outputs: Iterable[Any], counts: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    return zip(*(split(output, counts) for output in outputs), strict=True)
