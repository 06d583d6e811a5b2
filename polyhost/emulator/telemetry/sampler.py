"""Metrics of instances that are sampled periodically: loaded models, processor, memory, disk."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from polyhost.emulator.batch_transform.job import TransformJob
from polyhost.emulator.hosting.endpoint import Endpoint
from polyhost.emulator.hosting.instance import InstanceStatus
from polyhost.emulator.hosting.serverless.container import ContainerStatus
from polyhost.emulator.hosting.serverless.fleet import ServerlessFleet
from polyhost.emulator.telemetry.recorder import Place, PlaceKind, Recorder
from polyhost.model_cache.model_copy import CopyState

logger = logging.getLogger(__name__)


class InstanceSampler:
    """Measures every instance that is not stopped, of the endpoints and transform jobs that there are."""

    def __init__(
        self,
        endpoints: Callable[[], Sequence[Endpoint]],
        jobs: Callable[[], Sequence[TransformJob]],
        recorder: Recorder,
        period_s: float,
    ) -> None:
        self._endpoints = endpoints
        self._jobs = jobs
        self._recorder = recorder
        self._period_s = period_s

    async def run(self) -> None:
        """Sample until cancelled; failures are logged."""
        while True:
            try:
                await self._sample()
            except Exception:
                logger.exception("cannot sample the instances")
            await asyncio.sleep(self._period_s)

    async def _sample(self) -> None:
        for endpoint in self._endpoints():
            for variant in endpoint.generations.variants:
                if isinstance(variant.fleet, ServerlessFleet):
                    await self._sample_serverless(Place(endpoint.region, endpoint.name, variant.name), variant.fleet)
                    continue
                for instance in await variant.fleet.snapshot():
                    if instance["status"] != InstanceStatus.STOPPED:
                        place = Place(endpoint.region, endpoint.name, variant.name, instance["id"])
                        self._measure(place, instance)
                        if variant.spec.direct:
                            self._measure_containers(place, instance)

        for job in self._jobs():
            for instance in await job.snapshot():
                if instance["status"] != InstanceStatus.STOPPED:
                    where = Place(job.region, job.name, instance=instance["id"], kind=PlaceKind.TRANSFORM_JOB)
                    self._measure(where, instance)

    async def _sample_serverless(self, place: Place, fleet: ServerlessFleet) -> None:
        """Measure what AWS publishes for serverless endpoints, and no more (serverless-endpoints-monitoring)."""
        fleet.measure_concurrency()
        for container in await fleet.snapshot():
            if container["memory_used"] is not None and container["status"] != ContainerStatus.STOPPING:
                percent = 100 * container["memory_used"] / container["memory_limit"]
                where = replace(place, instance=container["id"])
                self._recorder.measure("MemoryUtilization", percent, "Percent", where)

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
