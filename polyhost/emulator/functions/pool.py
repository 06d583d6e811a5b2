"""The environments of one version of a function."""

import asyncio
from collections.abc import Callable

from polyhost.emulator.functions.environment import Environment, EnvironmentStatus
from polyhost.emulator.functions.invocation import FunctionCall, FunctionResult
from polyhost.emulator.functions.spec import FunctionSpec


class EnvironmentPool:
    """Reuses the environment that became idle last, and ends those that are idle for long."""

    def __init__(self, spec: FunctionSpec, make: Callable[[], Environment], idle_s: float) -> None:
        self.spec = spec
        self._make = make
        self._idle_s = idle_s
        self._retired = False
        self._environments: set[Environment] = set()
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def in_use(self) -> bool:
        """Whether an environment is left."""
        return bool(self._environments)

    async def run(self, call: FunctionCall) -> FunctionResult:
        """Run a call in an environment of its own for its time. Raises OSError."""
        environment = self._take()
        try:
            result = await environment.run(call)
        except BaseException:
            self._environments.discard(environment)
            raise
        if environment.status is EnvironmentStatus.STOPPED:
            self._environments.discard(environment)
        elif self._retired:
            await self._end(environment)
        else:
            self._watch(environment)
        return result

    async def retire(self) -> None:
        """End idle environments now, and busy ones after their calls."""
        self._retired = True
        await asyncio.gather(*(self._end(environment) for environment in self._idle()))

    async def close(self) -> None:
        """End all environments now."""
        self._retired = True
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*(self._end(environment) for environment in list(self._environments)))

    def _take(self) -> Environment:
        if idle := self._idle():
            return max(idle, key=lambda environment: environment.idle_since)
        environment = self._make()
        self._environments.add(environment)
        return environment

    def _idle(self) -> list[Environment]:
        return [item for item in self._environments if item.status is EnvironmentStatus.IDLE]

    def _watch(self, environment: Environment) -> None:
        """End the environment if it stays idle, or if its process ends meanwhile."""
        task = asyncio.create_task(self._until_unused(environment, environment.idle_since))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)

    async def _until_unused(self, environment: Environment, since: float) -> None:
        try:
            await asyncio.wait_for(environment.until_ended(), self._idle_s)
        except TimeoutError:
            pass
        if environment.status is EnvironmentStatus.IDLE and environment.idle_since == since:
            await self._end(environment)

    async def _end(self, environment: Environment) -> None:
        self._environments.discard(environment)
        await environment.stop()
