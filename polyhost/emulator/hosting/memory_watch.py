"""The memory limit of an instance with several containers, where the driver can limit them one by one only."""

import asyncio
from collections.abc import Callable, Sequence

from polyhost.emulator.hosting.hosted_container import HostedContainer
from polyhost.emulator.telemetry.recorder import EventKind

PERIOD_S = 1.0


class MemoryWatch:
    """Kills the container that uses most when all together exceed the limit, as the kernel kills a process."""

    def __init__(
        self, containers: Sequence[HostedContainer], limit_bytes: int, report: Callable[[EventKind, str], None]
    ) -> None:
        self._containers = containers
        self._limit_bytes = limit_bytes
        self._report = report
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the watch; can be called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self._check()
            except Exception as error:  # of the engine, for example: the next look may work
                self._report(EventKind.FAILED, f"the memory of the containers could not be compared: {error!r}")

    async def _check(self) -> None:
        usages = await asyncio.gather(*(container.keeper.usage() for container in self._containers))
        used = [usage.memory_bytes if usage is not None else 0 for usage in usages]
        if sum(used) <= self._limit_bytes:
            return
        largest = self._containers[used.index(max(used))]
        self._report(
            EventKind.FAILED,
            f"the containers use {sum(used)} bytes of {self._limit_bytes} together: {largest.spec.name},"
            f" with {max(used)} bytes, is killed",
        )
        await largest.keeper.kill()
