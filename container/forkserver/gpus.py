"""Placement on GPUs: a model goes to the one with the most free memory, as NVIDIA's management library counts it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from polyhost.events import get_logger

_DRIVER = Path("/dev/nvidiactl")

logger = get_logger(__name__)


@dataclass(frozen=True)
class Gpu:
    """A GPU with its free memory in bytes; `id` counts those that CUDA may see."""

    id: int
    free: int


def choose(gpus: Iterable[Gpu], promised: Mapping[int, int]) -> int | None:
    """Return the id of the GPU with the most free memory, or None without a GPU.

    `promised`: bytes that loads in progress will take, by GPU.
    """
    best = max(gpus, key=lambda gpu: gpu.free - promised.get(gpu.id, 0), default=None)
    return None if best is None else best.id


class GpuGauge:
    """Reads the GPUs from the driver. Without a driver, or if its library fails, the list is empty."""

    def __init__(self, visible: str | None, driver: Path = _DRIVER) -> None:
        """`visible`: CUDA_VISIBLE_DEVICES, which also sets the order."""
        self._visible = visible
        self._read: Callable[[], list[Gpu]] | None = None if driver.exists() else list

    def read(self) -> list[Gpu]:
        """Return the GPUs that CUDA may see."""
        if self._read is None:
            try:
                self._read = _make_reader(self._visible)
            except Exception as error:
                logger.warning("models are not placed by free GPU memory: %s", error)
                self._read = list
        return self._read()


def _make_reader(visible: str | None) -> Callable[[], list[Gpu]]:
    import pynvml  # imported late: most containers have no GPU

    pynvml.nvmlInit()
    indices = visible_indices(visible, pynvml.nvmlDeviceGetCount())
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in indices]
    return lambda: [Gpu(id, pynvml.nvmlDeviceGetMemoryInfo(handle).free) for id, handle in enumerate(handles)]


def visible_indices(visible: str | None, count: int) -> list[int]:
    """Return the driver's indices of the devices that CUDA may see, in CUDA's order.

    An invalid index hides all behind it (CUDA C Programming Guide, environment variables). Raises ValueError for
    devices that are named by something else than an index.
    """
    if visible is None:
        return list(range(count))
    indices: list[int] = []
    for word in filter(None, (word.strip() for word in visible.split(","))):
        if not word.lstrip("-").isdecimal():
            raise ValueError(f"CUDA_VISIBLE_DEVICES={visible!r} names devices by something else than an index")
        if not 0 <= int(word) < count:
            break
        indices.append(int(word))
    return indices
