"""Models of MXNet that a script made, Gluon blocks and modules, called as the handler calls its own networks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy

from polyhost.handlers.errors import BadModelError
from polyhost.handlers.mxnet import compat as mxnet_compat
from polyhost.handlers.script import model_parts
from polyhost.handlers.shapes_file import InputShape
from polyhost.handlers.tensors import Array

with mxnet_compat.import_conditions():
    import mxnet


class BlockNetwork:
    """A Gluon block, or a function, called with an NDArray for each of its inputs."""

    def __init__(self, block: Callable[..., Any], inputs: Sequence[InputShape] | None) -> None:
        self.inputs = inputs
        self.rows_first = False
        self._block = block
        self._place = MxnetPlace(block, mxnet.cpu())

    def __call__(self, arrays_: Mapping[str, Array]) -> list[Any]:
        outputs = arrays(self.run(arrays_))
        return outputs if isinstance(outputs, list) else [outputs]

    def run(self, arrays_: Mapping[str, Array]) -> Any:
        """Return the block's output as it is."""
        return self.call([ndarray(array, self._place.context) for array in arrays_.values()])

    def call(self, arguments: Sequence[Any]) -> Any:
        there = self._place.context
        return self._block(*(argument.as_in_context(there) for argument in arguments))


class ModuleNetwork:
    """A bound module. Its batch is fixed: rows go through in as many forward passes as they need."""

    def __init__(self, module: Any, origin: str) -> None:
        if not (module.binded and module.params_initialized):
            raise BadModelError(
                f"{origin} gives a {type(module).__name__} without shapes or parameters; call its "
                "bind(for_training=False, data_shapes=...) and set_params"
            )
        self.module = module
        self.inputs = [_input_shape(described) for described in module.data_shapes]
        self.rows_first = all(shape[:1] == (self.inputs[0].batch,) for _, shape in module.output_shapes)

    def __call__(self, arrays_: Mapping[str, Array]) -> list[Array]:
        return [output.asnumpy() for output in self._outputs(arrays_)]

    def run(self, arrays_: Mapping[str, Array]) -> Any:
        outputs = self._outputs(arrays_)
        return outputs[0] if len(outputs) == 1 else outputs

    def iterator(self, arrays_: Mapping[str, Array]) -> Any:
        """Return what SageMaker's MXNet image gives a module: batches, the last filled up with rows that do not count.

        MXNet fills up only after a whole batch. Fewer rows are filled up here, and counted by `getpad`.
        """
        batch = self.inputs[0].batch
        added = max(0, batch - len(next(iter(arrays_.values()))))
        filled = {name: numpy.pad(array, [(0, added)] + [(0, 0)] * (array.ndim - 1)) for name, array in arrays_.items()}
        iterator = mxnet.io.NDArrayIter(filled, batch_size=batch, last_batch_handle="pad")
        if added:
            iterator.getpad = lambda: added
        return iterator

    def _outputs(self, arrays_: Mapping[str, Array]) -> list[Any]:
        outputs: list[Any] = self.module.predict(self.iterator(arrays_), always_output_list=True)
        return outputs


class MxnetPlace:
    """Where a model is: the context of its first parameter."""

    def __init__(self, model: Any, otherwise: Any) -> None:
        self._parameter: Any = None
        self._otherwise = otherwise
        blocks = (part for part in model_parts.parts(model) if isinstance(part, mxnet.gluon.Block))
        for block in blocks:
            self._parameter = next(iter(block.collect_params().values()), None)
            self._otherwise = mxnet.cpu()
            if self._parameter is not None:
                return

    @property
    def context(self) -> Any:
        try:
            return self._otherwise if self._parameter is None else self._parameter.list_ctx()[0]
        except RuntimeError:  # not initialised
            return self._otherwise


def function(model: Any, origin: str) -> Callable[..., Any]:
    """Return what predicts: the block itself, or another object's `predict`. Raises BadModelError."""
    called = model if isinstance(model, mxnet.gluon.Block) else getattr(model, "predict", model)
    if not callable(called):
        raise BadModelError(f"{origin} gives a {type(model).__name__}, which cannot be called on an NDArray")
    return called  # type: ignore[no-any-return]


def module(model: Any) -> Any:
    """Return the module of MXNet that a model is or holds, None without one."""
    found = (part for part in model_parts.parts(model) if isinstance(part, mxnet.module.BaseModule))
    return next(found, None)


def read_module(symbol: Any, params: Mapping[str, Any], inputs: Sequence[InputShape], context: Any) -> Any:
    """Return a bound module of a network's files, as the MXNet image's own model_fn does."""
    args, aux = ({n[4:]: params[n] for n in params if n.startswith(kind)} for kind in ("arg:", "aux:"))
    names = [shape.name for shape in inputs]
    read = mxnet.mod.Module(symbol, data_names=names, label_names=None, context=context)
    read.bind(for_training=False, data_shapes=[mxnet.io.DataDesc(i.name, i.shape, i.dtype) for i in inputs])
    read.set_params(args, aux, allow_missing=True)
    return read


def ndarray(array: Any, context: Any) -> Any:
    """Copy an array to the context; to MXNet's array of numpy's semantics where the script has chosen those."""
    # mxnet.nd.array does the same after a look at names that scipy warns of.
    make = mxnet.np.array if mxnet.util.is_np_array() else mxnet.nd.ndarray.array
    return make(array.astype(array.dtype.newbyteorder("="), copy=False), ctx=context, dtype=array.dtype.name)


def is_array(value: Any) -> bool:
    return isinstance(value, mxnet.nd.NDArray)


def is_iterator(value: Any) -> bool:
    return isinstance(value, mxnet.io.DataIter)


def arrays(value: Any) -> Any:
    """Convert NDArrays to numpy's arrays, in whatever holds them."""
    match value:
        case dict():
            return {key: arrays(item) for key, item in value.items()}
        case list() | tuple():
            return [arrays(item) for item in value]
    return value.asnumpy() if is_array(value) else value


def _input_shape(described: Any) -> InputShape:
    name, shape = described[0], tuple(described[1])
    return InputShape(name, shape, numpy.dtype(getattr(described, "dtype", "float32")).name)
