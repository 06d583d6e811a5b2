"""Models of PyTorch that a script made: their modules, where they are, and their tensors."""

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import torch

from polyhost.events import get_logger
from polyhost.handlers.errors import BadModelError
from polyhost.handlers.script import model_parts

# Layers that compute something else while they are trained: random numbers, or the statistics of the batch.
_TRAINED_OTHERWISE = (torch.nn.modules.dropout._DropoutNd, torch.nn.modules.batchnorm._NormBase)

logger = get_logger(__name__)


def modules(model: Any) -> list[torch.nn.Module]:
    """Return the modules in a model, each without those inside it."""
    return [part for part in model_parts.parts(model) if isinstance(part, torch.nn.Module)]


def function(model: Any, origin: str) -> Callable[..., Any]:
    """Return what predicts: the module itself, or another object's `predict`. Raises BadModelError."""
    if isinstance(model, torch.export.ExportedProgram):
        model = model.module()
    called = model if isinstance(model, torch.nn.Module) else getattr(model, "predict", model)
    if not callable(called):
        raise BadModelError(f"{origin} gives a {type(model).__name__}, which cannot be called on a tensor")
    return called  # type: ignore[no-any-return]


def evaluable(model: Any) -> list[torch.nn.Module]:
    """Set the model's modules to evaluation, and return those whose mode is cheap to look at again.

    Programs of torch.export know no training, and TorchScript takes 8 us to tell.
    """
    found = []
    for module in modules(model):
        try:
            module.eval()
        except NotImplementedError:
            continue
        if not isinstance(module, torch.jit.ScriptModule):
            found.append(module)
    return found


def warn_if_trained(model: Any, origin: str) -> None:
    """Log that a model whose layers differ in training is in training; SageMaker's image leaves that to predict_fn."""
    for module in modules(model):
        layers = {type(layer).__name__ for layer in module.modules() if isinstance(layer, _TRAINED_OTHERWISE)}
        if layers and module.training:
            logger.warning(
                "%s leaves the %s in training mode, in which %s change the answers: unless predict_fn does so, call "
                "model.eval() there",
                origin,
                type(module).__name__,
                ", ".join(sorted(layers)),
            )


class TorchPlace:
    """Where a model is: the device that its inputs go to.

    Found once. What is kept is where the model's first tensor is held, so that a move of the model is seen.
    """

    def __init__(self, model: Any, otherwise: torch.device) -> None:
        """`otherwise` is for a model in which there is neither a tensor nor a module."""
        self._device = otherwise
        self._tensor: Callable[[], Any] | None = None
        for part in model_parts.parts(model):
            if isinstance(part, torch.export.ExportedProgram):
                part = next(iter(part.state_dict.values()), None)
            if isinstance(part, torch.nn.Module):
                self._device = torch.device("cpu")  # a module without tensors computes where its input is
                self._tensor = _first_tensor(part)
            elif isinstance(part, torch.Tensor):
                self._tensor = functools.partial(_same, part)
            if self._tensor:
                return

    @property
    def device(self) -> torch.device:
        return self._tensor().device if self._tensor else self._device


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _first_tensor(module: torch.nn.Module) -> Callable[[], Any] | None:
    """Return a function that gives the module's first parameter, else its first buffer, else another tensor in it."""
    if isinstance(module, torch.jit.ScriptModule):
        tensor = next(module.parameters(), next(module.buffers(), None))
        return None if tensor is None else lambda: tensor
    for name in ("_parameters", "_buffers", "__dict__"):
        for part in module.modules():
            held = getattr(part, name, {})
            key = next((key for key, value in held.items() if isinstance(value, torch.Tensor)), None)
            if key is not None:
                return functools.partial(operator.getitem, held, key)
    return None


def tensor(array: Any) -> torch.Tensor:
    """Copy an array, which may be a read-only or big-endian view of the request's body."""
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))


def moved(value: Any, device: torch.device) -> Any:
    """Return tensors, in whatever holds them, on the device."""
    match value:
        case torch.Tensor():
            return value.to(device)
        case dict():
            return {name: moved(item, device) for name, item in value.items()}
        case list() | tuple():
            return type(value)(moved(item, device) for item in value)
    return value.to(device) if hasattr(value, "to") else value


def arrays(value: Any) -> Any:
    """Convert tensors to arrays, in whatever holds them."""
    match value:
        case torch.Tensor():
            return _array(value)
        case Mapping():
            return {key: arrays(item) for key, item in value.items()}
        case list() | tuple():
            return [arrays(item) for item in value]
    return arrays(_fields(value)) if dataclasses.is_dataclass(value) else value


def outputs(value: Any) -> Any:
    """Convert a module's output as `arrays` does; a tuple or list of one output is that output."""
    match value:
        case torch.Tensor():
            return _array(value)
        case Mapping():
            return {str(key): outputs(item) for key, item in value.items()}
        case [single]:
            return outputs(single)
        case [*several]:
            return [outputs(item) for item in several]
    return outputs(_fields(value)) if dataclasses.is_dataclass(value) else value


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def _array(value: torch.Tensor) -> numpy.ndarray[Any, Any]:
    value = value.detach()
    try:
        return value.cpu().numpy()
    except (TypeError, RuntimeError):  # a type, or a form in memory, that numpy does not have
        if value.is_quantized:
            value = value.dequantize()
        if value.layout != torch.strided:
            value = value.to_dense()
        if value.is_floating_point():
            value = value.float()
        return value.cpu().resolve_conj().resolve_neg().numpy()
