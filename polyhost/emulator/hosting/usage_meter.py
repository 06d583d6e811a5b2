"""Memory and CPU of a container."""

import time
from collections.abc import Awaitable, Callable

from polyhost.emulator.hosting.interfaces import ResourceUsage

_LOAD_OVER_S = 0.9


class UsageMeter:
    """What a container uses; `usage` returns None if that cannot be measured."""

    def __init__(self, usage: Callable[[], Awaitable[ResourceUsage | None]]) -> None:
        self._usage = usage
        self._cpu = CpuLoad()

    async def sample(self) -> tuple[int | None, float | None]:
        """Return the bytes in use and the percentage of a CPU core; None for what is not known."""
        usage = await self._usage()
        return usage.memory_bytes if usage is not None else None, self._cpu.percent(usage)


class CpuLoad:
    """Percent of a core, over a second or more."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._cpu_s = 0.0
        self._percent: float | None = None

    def percent(self, usage: ResourceUsage | None) -> float | None:
        elapsed = time.monotonic() - self._since
        if usage is None:
            self._percent = None
        elif elapsed >= _LOAD_OVER_S:
            spent = usage.cpu_s - self._cpu_s
            # It is less than before if the container is another one, or if processes of this one have ended.
            self._percent = round(100 * max(0.0, spent) / elapsed, 1)
            self._since, self._cpu_s = time.monotonic(), usage.cpu_s
        return self._percent
