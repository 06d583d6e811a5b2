"""A native container that sees the GPU, and the driver's view of it."""

import io
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy
import pytest

from tests.support.container import ContainerProcess, running

INPUTS = 8
ROW = numpy.arange(INPUTS, dtype=numpy.float32)[None]


class Gpu:
    """The first GPU, as its driver describes it (NVML)."""

    def __init__(self) -> None:
        import pynvml

        pynvml.nvmlInit()
        self._nvml = pynvml
        self._handle = pynvml.nvmlDeviceGetHandleByIndex(0)

    @property
    def total(self) -> int:
        """Memory in bytes."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).total)

    @property
    def used(self) -> int:
        """Memory in use, in bytes."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)


@pytest.fixture(scope="session")
def gpu() -> Gpu:
    """Return the GPU, or skip the test."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU on this machine")
    return Gpu()


@pytest.fixture(scope="module")
def served(gpu: Gpu, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerProcess]:
    """Start one native container for the module."""
    with running(tmp_path_factory.mktemp("gpu"), "native") as started:
        yield started


def add_model(container: ContainerProcess, name: str, files: Mapping[str, bytes | str]) -> str:
    """Put a model where SageMaker unpacks it, and return its name."""
    folder = container.folder(name)
    for file, contents in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents.encode() if isinstance(contents, str) else contents)
    return name


def linear(seed: int = 0) -> Any:
    """Return a module with fixed random weights that takes rows of INPUTS numbers."""
    import torch

    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(INPUTS, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).eval()


def torch_script(module: Any) -> bytes:
    """Return the module as a TorchScript archive."""
    import torch

    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript as such
        torch.jit.save(torch.jit.trace(module, torch.from_numpy(ROW)), stream)  # type: ignore[no-untyped-call]
    return stream.getvalue()


def exported(module: Any) -> bytes:
    """Return the module as a program of torch.export that takes any number of rows."""
    import torch

    rows = torch.export.Dim("rows", min=1, max=64)
    stream = io.BytesIO()
    program = torch.export.export(module, (torch.from_numpy(numpy.repeat(ROW, 2, 0)),), dynamic_shapes=({0: rows},))
    torch.export.save(program, stream)
    return stream.getvalue()


def expected(module: Any) -> Any:
    """Return what the module answers to ROW on the CPU."""
    import torch

    with torch.no_grad():
        return module(torch.from_numpy(ROW)).numpy()
