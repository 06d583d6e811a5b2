"""ONNX: any model that onnxruntime reads, its inputs and outputs by their names."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy
import onnxruntime

from polyhost.handlers import labels, recognition
from polyhost.handlers.base import HandlerRequest, Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body.payload import Expected, Inputs, Picture
from polyhost.handlers.errors import BadBodyError, BadModelError, WrongLabelsError, WrongShapeError
from polyhost.handlers.onnx import inputs as onnx_inputs
from polyhost.handlers.onnx import sessions
from polyhost.handlers.onnx.inputs import TEXT, ModelInput


class OnnxHandler(BatchingHandler):
    """Serves one output as it is, several as an object; the custom attribute `output` chooses one by its name."""

    def load(self, source: Source) -> None:
        path = recognition.only_file(source.directory, "onnx")
        self.use_model(sessions.opened(path), path.name, source)

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        if not isinstance(model, onnxruntime.InferenceSession):
            raise BadModelError(
                f"{origin} gives a {type(model).__name__}, not an InferenceSession; add a predict_fn that takes it"
            )
        self.model = model
        self._inputs = [ModelInput.of(node) for node in model.get_inputs()]
        self._output_names = tuple(node.name for node in model.get_outputs())
        self._maps = {node.name for node in model.get_outputs() if node.type.startswith("seq(map")}
        self._labels = labels.read(source.directory, "synset.txt", "labels.txt")
        table = onnx_inputs.are_columns(self._inputs)
        texts = [place for place, each in enumerate(self._inputs) if each.type == TEXT and table]
        names = tuple(each.name for each in self._inputs)
        self.expected = Expected(names=names, table=table, text_columns=frozenset(texts))

    def variant(self, request: HandlerRequest, inputs: Inputs) -> Hashable:
        """Return the output that is asked for, None for all."""
        name = request.options.get("output")
        if name is not None and name not in self._output_names:
            raise BadBodyError(
                f"the custom attribute output={name} is unknown; use one of {', '.join(self._output_names)}"
            )
        return name

    def features(self, inputs: Inputs) -> dict[str, Any]:
        return onnx_inputs.fill(inputs, self._inputs)

    def batch_key(self, features: Any) -> Hashable:
        if isinstance(features, dict) and not all(array.ndim for array in features.values()):
            return None
        return super().batch_key(features)

    def forward(self, features: dict[str, Any], variant: Hashable) -> Any:
        names = self._output_names if variant is None else (str(variant),)
        parts = [
            [self._columns(name, output) for name, output in zip(names, outputs, strict=True)]
            for outputs in (sessions.run(self.model, names, part) for part in self._parts(features))
        ]
        joined = parts[0] if len(parts) == 1 else [_joined(pieces) for pieces in zip(*parts, strict=True)]
        return joined[0] if len(names) == 1 else dict(zip(names, joined, strict=True))

    def interpret(self, output: Any, inputs: Inputs) -> Any:
        if self._labels:
            return self._best(output, inputs)
        if isinstance(output, dict) and not output.keys() <= set(self._output_names):
            return _rows_of(output)
        if isinstance(output, dict):
            return {name: _rows_of(value) if name in self._maps else value for name, value in output.items()}
        return output

    def _parts(self, features: dict[str, Any]) -> list[dict[str, Any]]:
        """Divide the rows for a model that takes a fixed number of them, mostly one."""
        fixed = {each.name: each.shape[0] for each in self._inputs if each.shape and each.shape[0] is not None}
        if not fixed:
            return [features]
        size = next(iter(fixed.values())) or 1
        counts = {name: len(features[name]) for name in fixed}
        if len(fixed) < len(features) or len(set(fixed.values())) > 1 or any(count % size for count in counts.values()):
            if counts == fixed:
                return [features]
            raise WrongShapeError("; ".join(map(str, self._inputs)), {n: list(a.shape) for n, a in features.items()})
        rows = next(iter(counts.values()))
        return [
            {name: array[start : start + size] for name, array in features.items()} for start in range(0, rows, size)
        ]

    def _columns(self, name: str, output: Any) -> Any:
        """Return rows of probabilities by class, as converters of scikit-learn write them, as an array by class."""
        if name not in self._maps or not output:
            return output
        return {key: numpy.array([row[key] for row in output]) for key in output[0]}

    def _best(self, output: Any, inputs: Inputs) -> Any:
        if not isinstance(output, numpy.ndarray) or output.ndim < 2:
            raise WrongLabelsError("labels need a model with one output of rows of scores; this one has another")
        best = [labels.best(row, self._labels) for row in output]
        return best[0] if isinstance(inputs, Picture) else best


def _joined(pieces: Sequence[Any]) -> Any:
    """Join the outputs of parts by rows."""
    if isinstance(pieces[0], dict):
        return {key: _joined([piece[key] for piece in pieces]) for key in pieces[0]}
    if not isinstance(pieces[0], numpy.ndarray) or not pieces[0].ndim:
        raise BadBodyError(
            "the model takes one batch of fixed size only, for its outputs have no rows; send as many rows"
        )
    return numpy.concatenate(pieces)


def _rows_of(columns: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """Return an object for each row."""
    names = [str(key) for key in columns]
    return [
        dict(zip(names, row, strict=True)) for row in zip(*(array.tolist() for array in columns.values()), strict=True)
    ]
