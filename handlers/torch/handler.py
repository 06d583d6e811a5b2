"""PyTorch: TorchScript archives and programs of torch.export. Both are read without unpickling."""

import re
import warnings
import zipfile
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy
import torch

from polyhost.events import get_logger
from polyhost.handlers import frameworks, labels, model_files, shapes_file, tensors
from polyhost.handlers.base import Source
from polyhost.handlers.batching import BatchingHandler
from polyhost.handlers.body import envelopes
from polyhost.handlers.body.payload import Expected, Inputs, Picture, Rows
from polyhost.handlers.errors import BadBodyError, BadModelError, UnsuitableMediaTypeError, WrongLabelsError
from polyhost.handlers.settings import Settings
from polyhost.handlers.shapes_file import InputShape
from polyhost.handlers.torch import models as torch_models

logger = get_logger(__name__)

# How torch words an input that a layer cannot take; it has no exception of its own for that.
_WRONG_INPUT = re.compile(r"\b(shapes?|sizes?|dimensions?|channels?|unbatched|dtype)\b|Guard failed")
# How an embedding words float32, which JSON's numbers become here and in SageMaker's image.
_WANTS_INTEGERS = re.compile(r"scalar types: Long, Int; but got")
# How TorchScript, a program of torch.export and a plain module word another number of inputs.
_WRONG_COUNT = re.compile(r"forward\(\) (is missing|missing|expected at most|takes)|input tree spec")


class TorchHandler(BatchingHandler):
    """Serves a module that is called with one tensor for each of its inputs."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._place = torch_models.TorchPlace(None, torch.device("cpu"))
        self._evaluated: list[torch.nn.Module] = []
        self.without_gradients: Callable[[], AbstractContextManager[Any]] = torch.inference_mode
        self._inputs: list[InputShape] | None = None
        self._labels: list[str] = []

    def load(self, source: Source) -> None:
        path = model_files.only_match(source.directory, frameworks.named("torch").files)
        there = device(source.gpu_id)
        self._serve(_loader(path)(path, there), torch_models.TorchPlace(None, there), source)

    def use_model(self, model: Any, origin: str, source: Source) -> None:
        """Predict as SageMaker's PyTorch image does: in evaluation mode, without gradients."""
        called = torch_models.function(model, origin)
        self._evaluated = torch_models.evaluable(called)
        self.without_gradients = torch.no_grad
        self._serve(called, torch_models.TorchPlace(called, device(source.gpu_id)), source)

    def _serve(self, model: Any, place: torch_models.TorchPlace, source: Source) -> None:
        self.model = model
        self._place = place
        self._inputs = _shapes(source.directory)
        self.expected = Expected(names=tuple(shape.name for shape in self._inputs or ()))
        self._labels = labels.read(source.directory, "synset.txt", "labels.txt")

    def features(self, inputs: Inputs) -> dict[str, Any]:
        """Return the inputs by name, in the order of the model's arguments."""
        if self._inputs is not None:
            return tensors.fill(inputs, self._inputs)
        if isinstance(inputs, Picture):
            raise UnsuitableMediaTypeError(
                f"the model's input size is unknown, for which images need a shapes.json, such as {shapes_file.EXAMPLE}"
            )
        return {"input": _untyped(inputs)}

    def interpret(self, output: Any, inputs: Inputs) -> Any:
        if not self._labels:
            return output
        if not isinstance(output, numpy.ndarray) or output.ndim < 2:
            raise WrongLabelsError("labels need a model with one output of rows of scores; this one has another")
        best = [labels.best(row, self._labels) for row in output]
        return best[0] if isinstance(inputs, Picture) else best

    def forward(self, features: dict[str, Any], variant: Hashable) -> Any:
        return torch_models.outputs(self.run(*map(torch_models.tensor, features.values())))

    def run(self, *arguments: Any, **named: Any) -> Any:
        """Call the model on tensors, moved to where it is. Raises BadBodyError for those that it cannot take."""
        there = self._place.device
        for module in self._evaluated:
            if module.training:  # by the script, since it was loaded
                module.eval()
        try:
            with self.without_gradients():
                return self.model(
                    *(torch_models.moved(argument, there) for argument in arguments),
                    **{name: torch_models.moved(argument, there) for name, argument in named.items()},
                )
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            shapes = [list(argument.shape) for argument in (*arguments, *named.values()) if hasattr(argument, "shape")]
            text = _input_error(error, shapes)
            if text is None:
                raise
            raise BadBodyError(text) from error


def _input_error(error: Exception, given: list[list[int]]) -> str | None:
    """Return a text for the caller if the error is due to the input, None if it is the model's."""
    if _WRONG_COUNT.search(str(error)):
        return (
            f"the model takes another number of inputs than {len(given)}: add a shapes.json that names each, in the "
            f"order of its arguments, such as {shapes_file.EXAMPLE}, and send an object with a value for each"
        )
    if _WANTS_INTEGERS.search(str(error)):
        return (
            "the model takes whole numbers, such as tokens, and was given others: send application/x-npy of int64, or "
            'add a shapes.json with "dtype": "int64" for that input, by which the numbers of JSON and CSV are read'
        )
    reason = str(error).strip().rpartition("\n")[2].removeprefix("RuntimeError: ")
    if isinstance(error, RuntimeError | AssertionError) and _WRONG_INPUT.search(reason):
        return f"the model cannot take input of shape {given}: {reason}"
    return None


def _shapes(directory: Path) -> list[InputShape] | None:
    """Return the shapes of the model's inputs, if a file beside it has them."""
    found = model_files.matching(directory, ["shapes.json", "*-shapes.json"])
    if len(found) > 1:
        raise BadModelError(f"two files have the input's shape: {', '.join(path.name for path in found)}; keep one")
    return shapes_file.read(found[0]) if found else None


def _untyped(rows: Rows) -> Any:
    """Convert numbers to float32, except an array of integers, such as tokens; a flat list is one row."""
    if rows.names is not None and any(isinstance(value, list | numpy.ndarray) for value in rows.values[0]):
        raise BadBodyError(
            f"the model's inputs have no names, such as {list(rows.names)}: add a shapes.json that names each, such as "
            f"{shapes_file.EXAMPLE}, or send other than an object of lists: {envelopes.UNDERSTOOD}"
        )
    array = rows.values
    if not isinstance(array, numpy.ndarray) or array.dtype.kind == "f":
        array = tensors.numbers(array)
    if array.dtype.kind not in "iufb":
        raise BadBodyError(f"a tensor holds numbers; given {array.dtype}")
    return array.reshape(1, -1) if array.ndim < 2 else array


def device(gpu_id: int | None) -> torch.device:
    if gpu_id is None:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        logger.warning("GPU %d was assigned, but this PyTorch (%s) sees none; using the CPU", gpu_id, torch.__version__)
        return torch.device("cpu")
    return torch.device("cuda", gpu_id)


def _loader(path: Path) -> Callable[[Path, torch.device], Any]:
    """Choose by what the file holds: its suffix says nothing."""
    names = _names_in(path)
    if any(name.endswith("/constants.pkl") for name in names):
        return _load_script
    if any(name.endswith(("/models/model.json", "serialized_exported_program.json")) for name in names):
        return _load_program
    raise BadModelError(
        f"{path.name} is neither TorchScript nor a program of torch.export, but {_kind(path, names)}; "
        "save the model with torch.export.save(torch.export.export(model, (example,)), 'model.pt2') "
        "or torch.jit.script(model).save('model.pt'), or add an inference.py with a model_fn that builds it"
    )


def _names_in(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except zipfile.BadZipFile:
        return []


def _kind(path: Path, names: list[str]) -> str:
    if any(name.endswith("/data.pkl") for name in names):
        return "what torch.save writes, a state dict or a pickled module, which is not unpickled here"
    with path.open("rb") as file:
        start = file.read(2)
    return "a pickle" if start[:1] == b"\x80" else "a damaged or truncated archive"


def _load_script(path: Path, device: torch.device) -> Any:
    with warnings.catch_warnings():
        # TorchScript is deprecated, which concerns its writers; it is read as long as PyTorch reads it.
        warnings.simplefilter("ignore", DeprecationWarning)
        load: Callable[..., Any] = torch.jit.load
        return _loaded(path, lambda: load(str(path), map_location=device).eval())


def _load_program(path: Path, device: torch.device) -> Any:
    program = _loaded(path, lambda: torch.export.load(path))
    return program.module().to(device)


def _loaded(path: Path, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, KeyError) as error:
        if "memory" in str(error):
            raise
        raise BadModelError(f"{path.name} cannot be loaded by PyTorch {torch.__version__}: {error}") from error
