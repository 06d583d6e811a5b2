"""MXNet: symbol, parameters and shapes, as `Module.save_checkpoint` and `HybridBlock.export` write them."""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy

from polyhost.events import get_logger
from polyhost.handlers import labels, model_files, shapes_file, tensors
from polyhost.handlers.base import Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body.payload import Expected, Inputs, Picture
from polyhost.handlers.errors import BadBodyError, BadModelError, UnsuitableMediaTypeError
from polyhost.handlers.mxnet import compat as mxnet_compat
from polyhost.handlers.mxnet import models as mxnet_models
from polyhost.handlers.mxnet import params as mxnet_params
from polyhost.handlers.settings import Settings
from polyhost.handlers.shapes_file import InputShape
from polyhost.handlers.tensors import Array

with mxnet_compat.import_conditions():
    import mxnet

logger = get_logger(__name__)

_SYMBOL = "-symbol.json"
# How MXNet words an input that a network cannot take; it has one exception for everything.
_WRONG_INPUT = re.compile(r"[Ss]hape|[Dd]imension|ndim")
_EPOCH = re.compile(r"-(\d{4,})\.params$")


class MxnetHandler(BatchingHandler):
    """Serves one network of the archive, with the parameters of its highest epoch."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._labels: list[str] = []

    def load(self, source: Source) -> None:
        symbol, params, inputs = _files(source.directory)
        self.model = Network(symbol, params, inputs, context(source.gpu_id))
        self._labels = labels.read(source.directory, "synset.txt")
        self.expected = _expected(inputs)

    def read_module(self, source: Source) -> Any:
        """Return the archive's network as a bound module: what a script's functions get."""
        symbol, params, inputs = _files(source.directory)
        return mxnet_models.read_module(_read_symbol(symbol), _read_params(params), inputs, context(source.gpu_id))

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        if isinstance(model, mxnet.module.BaseModule):
            self.model = mxnet_models.ModuleNetwork(model, origin)
        else:
            self.model = mxnet_models.BlockNetwork(mxnet_models.function(model, origin), _inputs(source.directory))
        self._labels = labels.read(source.directory, "synset.txt")
        self.expected = _expected(self.model.inputs)

    def features(self, inputs: Inputs) -> dict[str, Array]:
        if self.model.inputs is not None:
            return tensors.fill(inputs, self.model.inputs)
        if isinstance(inputs, Picture):
            raise UnsuitableMediaTypeError(
                f"the model's input size is unknown, for which images need a shapes file, such as {shapes_file.EXAMPLE}"
            )
        rows = tensors.numbers(inputs.values)
        return {"data": rows.reshape(1, -1) if rows.ndim < 2 else rows}

    def forward(self, features: Mapping[str, Array], variant: Hashable) -> Any:
        return self.model(features)

    def run(self, features: Mapping[str, Array]) -> Any:
        """Return the network's output as MXNet has it. Raises BadBodyError for arrays that it cannot take."""
        return self._called(lambda: self.model.run(features), [list(array.shape) for array in features.values()])

    def run_arrays(self, arrays: Sequence[Any]) -> Any:
        """Return the output for NDArrays that a script made."""
        if isinstance(self.model, mxnet_models.BlockNetwork):
            return self._called(lambda: self.model.call(arrays), [list(array.shape) for array in arrays])
        if len(arrays) != len(self.model.inputs):
            raise BadBodyError(f"the model has {len(self.model.inputs)} inputs; input_fn gives {len(arrays)}")
        named = zip(self.model.inputs, arrays, strict=True)
        return self.run({shape.name: tensors.sized(array.asnumpy(), shape) for shape, array in named})

    def run_batches(self, batches: Any) -> Any:
        """Return the output for an iterator of batches that a script made."""
        if not isinstance(self.model, mxnet_models.ModuleNetwork):
            raise BadModelError(f"input_fn gives a {type(batches).__name__}, which only a module takes")
        return self.model.module.predict(batches)

    def interpret(self, output: Any, inputs: Inputs) -> Any:
        if isinstance(inputs, Picture) and self._labels:
            return labels.best(output[0][0], self._labels)
        if len(output) == 1:
            return output[0]
        return list(zip(*output, strict=True)) if self.model.rows_first else output

    def _called(self, call: Callable[[], Any], shapes: list[Any]) -> Any:
        try:
            return call()
        except mxnet.MXNetError as error:
            if not _WRONG_INPUT.search(_reason(error)):
                raise
            raise BadBodyError(f"the model cannot take input of shape {shapes}: {_reason(error)}") from error


def _expected(inputs: Sequence[InputShape] | None) -> Expected:
    return Expected(names=tuple(shape.name for shape in inputs or ()))


class Network:
    """A bound graph. Its batch is fixed by the shapes file: rows go through in as many forward passes as they need."""

    def __init__(self, symbol: Path, params: Path, inputs: Sequence[InputShape], context: Any) -> None:
        self.inputs = inputs
        self._batch = inputs[0].batch
        network = _read_symbol(symbol)
        self._executor = _bind(network, _read_params(params), inputs, context, params.name)
        self._outputs = _inferred(network, _given(inputs))[1]
        self.rows_first = all(shape[:1] == (self._batch,) for shape in self._outputs)

    def __call__(self, arrays: Mapping[str, Array]) -> list[Array]:
        """Return the outputs, each with a row for every row given. Raises BadBodyError."""
        rows = len(next(iter(arrays.values())))
        if not self.rows_first and rows != self._batch:
            raise BadBodyError(
                f"the network's outputs have the shapes {self._outputs}, which do not all begin with the batch of its "
                f"shapes file, so they cannot be cut: send {self._batch} rows, not {rows}"
            )
        outputs = [self._forward(batch) for batch in self._batches(arrays, rows)]
        return [numpy.concatenate(parts) for parts in zip(*outputs, strict=True)]

    def run(self, arrays: Mapping[str, Array]) -> Any:
        """Return what `__call__` does, as MXNet's own arrays."""
        outputs = [mxnet_models.ndarray(output, mxnet.cpu()) for output in self(arrays)]
        return outputs[0] if len(outputs) == 1 else outputs

    def _batches(self, arrays: Mapping[str, Array], rows: int) -> Iterator[dict[str, Array]]:
        for start in range(0, rows, self._batch):
            yield {name: array[start : start + self._batch] for name, array in arrays.items()}

    def _forward(self, batch: Mapping[str, Array]) -> list[Array]:
        rows = len(next(iter(batch.values())))
        padded = {name: _padded(array, self._batch) for name, array in batch.items()}
        outputs = [output.asnumpy() for output in self._executor.forward(is_train=False, **padded)]
        return outputs if rows == self._batch else [output[:rows] for output in outputs]


def context(gpu_id: int | None) -> Any:
    if gpu_id is None:
        return mxnet.cpu()
    if not mxnet.context.num_gpus():
        logger.warning("GPU %d was assigned, but this MXNet (%s) sees none; using the CPU", gpu_id, mxnet.__version__)
        return mxnet.cpu()
    return mxnet.gpu(gpu_id)


def _given(inputs: Sequence[InputShape]) -> dict[str, tuple[int, ...]]:
    return {shape.name: shape.shape for shape in inputs}


def _padded(array: Array, rows: int) -> Array:
    if len(array) == rows:
        return array
    return numpy.concatenate([array, numpy.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


def _bind(symbol: Any, params: Mapping[str, Any], inputs: Sequence[InputShape], context: Any, file: str) -> Any:
    given = _given(inputs)
    _check_names(symbol, params, given, file)
    arg_shapes, _, aux_shapes = _inferred(symbol, given)
    dtypes = {shape.name: shape.dtype for shape in inputs}

    def array(kind: str, name: str, shape: tuple[int, ...]) -> Any:
        weight = params.get(f"{kind}:{name}")
        if name in given or weight is None:
            return mxnet.nd.zeros(shape, ctx=context, dtype=dtypes.get(name, "float32"))
        if weight.shape != shape:
            raise BadModelError(f"with the inputs {given}, {name} is {shape}, but {file} holds {weight.shape}")
        return weight.as_in_context(context)

    args = {name: array("arg", name, shape) for name, shape in arg_shapes.items()}
    aux = {name: array("aux", name, shape) for name, shape in aux_shapes.items()}
    return symbol.bind(context, args, grad_req="null", aux_states=aux)


def _check_names(symbol: Any, params: Mapping[str, Any], given: Mapping[str, Any], file: str) -> None:
    """Raise BadModelError unless every argument has a value; only a training label may stay empty."""
    names = {f"arg:{name}" for name in symbol.list_arguments() if name not in given and not name.endswith("label")}
    missing = names.union(f"aux:{name}" for name in symbol.list_auxiliary_states()).difference(params)
    unknown = set(given).difference(symbol.list_arguments())
    if missing or unknown:
        lacking = sorted(name.partition(":")[2] for name in missing)
        raise BadModelError(
            f"the symbol does not fit the other files: {file} lacks {lacking or 'nothing'}, "
            f"and the shapes file names the inputs {sorted(given)}; unknown of these: {sorted(unknown) or 'none'}"
        )


def _inferred(symbol: Any, given: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    try:
        args, outputs, aux = symbol.infer_shape(**given)
    except mxnet.MXNetError as error:
        raise BadModelError(f"the network cannot take the shapes {dict(given)}: {_reason(error)}") from error
    if args is None:
        raise BadModelError(f"the shapes {dict(given)} leave shapes inside the network unknown")
    arguments, states = symbol.list_arguments(), symbol.list_auxiliary_states()
    return dict(zip(arguments, args, strict=True)), outputs, dict(zip(states, aux, strict=True))


def _read_symbol(path: Path) -> Any:
    try:
        return mxnet.sym.load(str(path))
    except mxnet.MXNetError as error:
        raise BadModelError(f"{path.name} is not a symbol file: {_reason(error)}") from error


def _read_params(path: Path) -> dict[str, Any]:
    if arrays := mxnet_params.mapped(path):
        return {name: mxnet.nd.from_numpy(array) for name, array in arrays.items()}
    try:
        params = mxnet.nd.load(str(path))
    except mxnet.MXNetError as error:
        if "allocate" in str(error):
            raise  # out of memory: not the file's fault
        raise BadModelError(f"{path.name} is damaged, or not a parameter file: {_reason(error)}") from error
    if not isinstance(params, dict):
        raise BadModelError(f"{path.name} holds arrays without names; save it with save_checkpoint or export")
    return params


def _newest_params(directory: Path, name: str) -> Path:
    """Return the parameters of the highest epoch."""
    found = [path for path in model_files.matching(directory, [f"{name}-*.params"]) if _EPOCH.search(path.name)]
    if not found:
        listed = model_files.listed(model_files.visible(directory))
        raise BadModelError(f"{name}{_SYMBOL} needs its parameters in {name}-0000.params; found: {listed}")
    return max(found, key=_epoch)


def _epoch(path: Path) -> int:
    found = _EPOCH.search(path.name)
    assert found is not None
    return int(found[1])


def _files(directory: Path) -> tuple[Path, Path, list[InputShape]]:
    """Return the symbol, the parameters, and what the shapes file says."""
    symbol = model_files.only_match(directory, [f"*{_SYMBOL}"])
    name = symbol.name.removesuffix(_SYMBOL)
    return symbol, _newest_params(directory, name), shapes_file.read(_shapes_file(directory, name))


def _inputs(directory: Path) -> list[InputShape] | None:
    """Return the shapes of a script's model, if a file beside it has them."""
    found = model_files.matching(directory, ["shapes.json", "*-shapes.json"])
    return shapes_file.read(found[0]) if len(found) == 1 else None


def _shapes_file(directory: Path, name: str) -> Path:
    path = directory / f"{name}-shapes.json"
    if not path.is_file():
        raise BadModelError(f"{name}{_SYMBOL} needs {path.name} beside it, such as {shapes_file.EXAMPLE}")
    return path


def _reason(error: Exception) -> str:
    """Return MXNet's own text without the lines of its C++ trace."""
    return str(error).rpartition("MXNetError: ")[2].strip().partition("\n")[0]
