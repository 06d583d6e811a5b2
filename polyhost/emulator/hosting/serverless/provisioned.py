"""Provisioned concurrency: containers that are warm before the calls come."""

import asyncio
import time

from polyhost.emulator.hosting.serverless.container import ServerlessContainer
from polyhost.emulator.hosting.serverless.pool import ContainerPool

_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0  # containers that lived for so long are replaced without a pause


class ProvisionedContainers:
    """Starts containers until as many are there as the pool is to keep, and replaces those that end."""

    def __init__(self, pool: ContainerPool) -> None:
        self._pool = pool
        self._starting = False  # then a container that does not start is not replaced
        self._task: asyncio.Task[None] | None = None

    async def start(self, count: int) -> None:
        """Keep this many containers, and return when they are warm or busy.

        Raises the first error of a start, and then as many are kept as before.
        """
        before, self._pool.kept = self._pool.kept, count
        self._starting = True
        try:
            await _all_started([self._pool.launch(cold=False) for _ in range(count - len(self._pool.live))])
        except BaseException:
            self._pool.kept = before
            raise
        finally:
            self._starting = False
            self._pool.notify()

    def watch(self) -> None:
        """Replace containers from now on."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Leave the pool alone from now on; can be called again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        pause, last = 0.0, time.monotonic() - _STEADY_S
        while True:
            if self._starting or not self._missing:
                await self._pool.changed()
                continue
            if time.monotonic() - last >= _STEADY_S:
                pause = 0.0
            await asyncio.sleep(pause)
            pause = min(max(_FIRST_PAUSE_S, pause * 2), _LONGEST_PAUSE_S)
            last = time.monotonic()
            started = [self._pool.launch(cold=False) for _ in range(self._missing)]
            await asyncio.gather(*(container.until_started() for container in started), return_exceptions=True)

    @property
    def _missing(self) -> int:
        """How many containers to start: as many as are missing, and have room."""
        pool = self._pool
        return max(0, min(pool.kept - len(pool.live), pool.limit - len(pool.containers)))


async def _all_started(containers: list[ServerlessContainer]) -> None:
    results = await asyncio.gather(*(container.until_started() for container in containers), return_exceptions=True)
    if errors := [result for result in results if result is not None]:
        raise errors[0]
