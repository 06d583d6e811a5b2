"""Faults on demand between the model cache and a container."""

import asyncio

from polyhost.emulator.hosting.faults import FaultKind, Faults
from polyhost.emulator.hosting.interfaces import ContainerResponse
from polyhost.emulator.telemetry.recorder import Place
from polyhost.model_cache.interfaces import ApiResponse, ModelServer


class FaultyLoads:
    """A `ModelServer` with faults: loads that take longer, or are answered with 507."""

    def __init__(self, server: ModelServer, faults: Faults, place: Place) -> None:
        self._server = server
        self._faults = faults
        self._place = place

    async def load(self, key: str, url: str, target_model: str) -> ApiResponse:
        if slow := self._faults.take(FaultKind.SLOW_LOAD, self._place.endpoint, self._place.variant, target_model):
            await asyncio.sleep(slow.seconds)
        if self._faults.take(FaultKind.REFUSE_LOAD, self._place.endpoint, self._place.variant, target_model):
            return ContainerResponse(507, {}, b"a fault on demand: no memory", 0)
        return await self._server.load(key, url, target_model)

    async def unload(self, key: str) -> ApiResponse:
        return await self._server.unload(key)
