"""A container of a serverless variant, which takes one call at a time."""

import asyncio
import time
from enum import StrEnum
from typing import Any

from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import ContainerResponse, InvocationRequest
from polyhost.model_cache.errors import ContainerGoneError


class ContainerStatus(StrEnum):
    """States of a serverless container; the values are part of the JSON below /_polyhost/state."""

    STARTING = "Starting"
    WARM = "Warm"
    BUSY = "Busy"
    STOPPING = "Stopping"


_TRANSITIONS: dict[ContainerStatus, frozenset[ContainerStatus]] = {
    ContainerStatus.STARTING: frozenset({ContainerStatus.WARM}),  # one that does not start is forgotten
    ContainerStatus.WARM: frozenset({ContainerStatus.BUSY, ContainerStatus.STOPPING}),
    ContainerStatus.BUSY: frozenset({ContainerStatus.WARM, ContainerStatus.STOPPING}),
    ContainerStatus.STOPPING: frozenset(),
}


class ServerlessContainer:
    """`instance` is its folder and its process. `claimed` says that a call has chosen it, and waits for its start."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.status = ContainerStatus.STARTING
        self.claimed = False
        self.ended = False  # its process has ended during a call
        self.start: asyncio.Task[None] | None = None
        self._warm_since = 0.0

    @property
    def id(self) -> str:
        return self.instance.id

    @property
    def idle_s(self) -> float:
        """For how many seconds it has waited for a call."""
        return time.monotonic() - self._warm_since if self.status is ContainerStatus.WARM else 0.0

    def become(self, status: ContainerStatus) -> None:
        assert status in _TRANSITIONS[self.status], f"{self.id} is {self.status} and cannot become {status}"
        self.status = status
        self._warm_since = time.monotonic()

    async def until_started(self) -> None:
        """Return when it is warm. Raises the error of its start, and ContainerGoneError if the start was withdrawn."""
        assert self.start is not None
        await asyncio.wait({self.start})  # goes on without those that wait for it
        if self.start.cancelled():
            raise ContainerGoneError("the endpoint's containers have been stopped")
        await self.start

    async def invoke(self, request: InvocationRequest) -> ContainerResponse:
        return await self.instance.invoke(request)

    async def snapshot(self) -> dict[str, Any]:
        """Describe it in JSON, as an instance."""
        return await self.instance.snapshot() | {"status": self.status}
