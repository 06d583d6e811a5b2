"""Which GPU a model goes to: the one with the most memory free, as NVIDIA's management library counts it."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_DRIVER = Path("/dev/nvidiactl")

logger = logging.getLogger("polyhost.memory")


@dataclass(frozen=True)
class Gpu:
    """`id` as CUDA counts those that it may see."""

    id: int
    free: int


def choose(gpus: Iterable[Gpu], promised: Mapping[int, int]) -> int | None:
    """The id of the one with the most bytes free, less what loads under way were promised there; None without any."""
    best = max(gpus, key=lambda gpu: gpu.free - promised.get(gpu.id, 0), default=None)
    return None if best is None else best.id


class GpuGauge:
    """Asks the driver. Where there is none, or its library cannot be used, there are no GPUs."""

    def __init__(self, visible: str | None, driver: Path = _DRIVER) -> None:
        """`visible`: CUDA_VISIBLE_DEVICES, which also sets the order."""
        self._visible = visible
        self._read: Callable[[], list[Gpu]] | None = None if driver.exists() else list

    def read(self) -> list[Gpu]:
        if self._read is None:
            try:
                self._read = _reader(self._visible)
            except Exception as error:
                logger.warning("models are not placed by the memory of GPUs: %s", error)
                self._read = list
        return self._read()


def _reader(visible: str | None) -> Callable[[], list[Gpu]]:
    import pynvml  # only here: most containers have no GPU

    pynvml.nvmlInit()
    handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in numbers(visible, pynvml.nvmlDeviceGetCount())]
    return lambda: [Gpu(id, pynvml.nvmlDeviceGetMemoryInfo(handle).free) for id, handle in enumerate(handles)]


def numbers(visible: str | None, count: int) -> list[int]:
    """The driver's numbers of the devices that CUDA shows, in CUDA's order; it stops at the first that is none.

    Raises ValueError for devices named otherwise than by number.
    """
    if visible is None:
        return list(range(count))
    shown: list[int] = []
    for word in filter(None, (word.strip() for word in visible.split(","))):
        if not word.lstrip("-").isdecimal():
            raise ValueError(f"CUDA_VISIBLE_DEVICES={visible!r} names devices otherwise than by number")
        if not 0 <= int(word) < count:
            break
        shown.append(int(word))
    return shown
