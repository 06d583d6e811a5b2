"""Metrics of instances that are sampled periodically: loaded models, processor, memory, disk."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.instance import InstanceStatus
from polyhost.emulator.telemetry.recorder import Place, Recorder
from polyhost.model_cache.model_copy import CopyState

_PERIOD_S = 5.0  # AWS publishes these once a minute

logger = logging.getLogger(__name__)


class InstanceSampler:
    """Measures every instance that is not stopped. `endpoints` returns the endpoints that there are."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]], recorder: Recorder) -> None:
        self._endpoints = endpoints
        self._recorder = recorder

    async def run(self) -> None:
        """Sample until cancelled; failures are logged."""
        while True:
            try:
                await self._sample()
            except Exception:
                logger.exception("cannot sample the instances")
            await asyncio.sleep(_PERIOD_S)

    async def _sample(self) -> None:
        for endpoint in self._endpoints():
            for variant in endpoint.variants:
                for instance in await variant.fleet.snapshot():
                    if instance["status"] != InstanceStatus.STOPPED:
                        place = Place(endpoint.region, endpoint.name, variant.name, instance["id"])
                        self._measure(place, instance)
                        if variant.spec.direct:
                            self._measure_containers(place, instance)

    def _measure(self, place: Place, instance: dict[str, Any]) -> None:
        loaded = sum(model["state"] == CopyState.LOADED for model in instance["models"])
        self._recorder.measure("LoadedModelCount", loaded, "None", place)
        if instance["cpu_percent"] is not None:
            self._recorder.measure("CPUUtilization", instance["cpu_percent"], "Percent", place)
        for name, used, limit in (
            ("MemoryUtilization", instance["memory_used"], instance["memory_limit"]),
            ("DiskUtilization", instance["disk_used"], instance["disk_limit"]),
        ):
            if used is not None:
                self._recorder.measure(name, 100 * used / limit, "Percent", place)

    def _measure_containers(self, place: Place, instance: dict[str, Any]) -> None:
        for container in instance["containers"]:
            where = replace(place, container=container["name"])
            if container["cpu_percent"] is not None:
                self._recorder.measure("CPUUtilization", container["cpu_percent"], "Percent", where)
            if container["memory_used"] is not None:
                percent = 100 * container["memory_used"] / instance["memory_limit"]
                self._recorder.measure("MemoryUtilization", percent, "Percent", where)
