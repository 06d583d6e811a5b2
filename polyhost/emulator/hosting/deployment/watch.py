"""Alarms and time during a deployment."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from polyhost.emulator.errors import EmulatorError
from polyhost.emulator.hosting.interfaces import AlarmStates
from polyhost.emulator.time_scale import TimeScale

_POLL_S = 0.05
_ALARM = "ALARM"


class DeploymentError(EmulatorError):
    """A deployment cannot go on, and is to be rolled back; the message is the beginning of a FailureReason."""


class RollbackError(EmulatorError):
    """A deployment cannot be rolled back; the message says why."""


class DeploymentWatch:
    """Bakes: waits while it watches the alarms. Waits are scaled; the time limit counts them as they were asked for."""

    def __init__(
        self, region: str, alarms: Iterable[str], states: AlarmStates, scale: TimeScale, limit_s: float | None
    ) -> None:
        self._region = region
        self._alarms = tuple(alarms)
        self._states = states
        self._scale = scale
        self._limit_s = limit_s
        self._started = asyncio.get_running_loop().time()
        self._baked_s = 0.0  # as asked for

    async def check(self) -> None:
        """Raise DeploymentError if an alarm has tripped, or does not exist."""
        if not self._alarms:
            return
        states = await asyncio.to_thread(self._states, self._region, self._alarms)
        if missing := [name for name, state in states.items() if state is None]:
            raise DeploymentError(f"The alarm(s) {', '.join(missing)} of AutoRollbackConfiguration do not exist.")
        if tripped := [name for name, state in states.items() if state == _ALARM]:
            raise DeploymentError(f"The alarm(s) {', '.join(tripped)} of AutoRollbackConfiguration tripped.")

    async def bake(self, seconds: float) -> None:
        """Wait for these seconds, scaled. Raises DeploymentError if an alarm trips, or time has run out."""
        await self.check()
        if not seconds:
            return
        allowed = min(seconds, self.remaining_s())
        loop = asyncio.get_running_loop()
        begun = loop.time()
        end = begun + self._scale.passing(allowed)
        while (left := end - loop.time()) > 0:
            await asyncio.sleep(min(_POLL_S, left))
            await self.check()
        # Asked for, in place of what has passed.
        self._started += loop.time() - begun
        self._baked_s += allowed
        if allowed < seconds:
            raise self._out_of_time()

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run the block, which may take the time that is left. Raises DeploymentError when that has run out."""
        left = self.remaining_s()
        try:
            async with asyncio.timeout(None if math.isinf(left) else left):
                yield
        except TimeoutError as error:
            raise self._out_of_time() from error

    def passing(self, seconds: float) -> float:
        """Return the seconds that pass for these."""
        return self._scale.passing(seconds)

    def remaining_s(self) -> float:
        """Return the seconds that are left. Raises DeploymentError once the time is up."""
        if self._limit_s is None:
            return float("inf")
        left = self._limit_s - self._baked_s - (asyncio.get_running_loop().time() - self._started)
        if left <= 0:
            raise self._out_of_time()
        return left

    def _out_of_time(self) -> DeploymentError:
        return DeploymentError(f"The deployment exceeded MaximumExecutionTimeoutInSeconds, {self._limit_s:.0f}.")
