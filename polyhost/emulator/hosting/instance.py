"""An instance of a variant: a disk, a container, and the models in it."""

import asyncio
import shutil
import time
from dataclasses import replace
from enum import StrEnum
from typing import Any

from polyhost.emulator.errors import ModelNotReady
from polyhost.emulator.hosting.cache_events import CacheEvents
from polyhost.emulator.hosting.container_client import ContainerClient
from polyhost.emulator.hosting.container_keeper import ContainerKeeper
from polyhost.emulator.hosting.faults import Fault, FaultKind
from polyhost.emulator.hosting.faulty_loads import FaultyLoads
from polyhost.emulator.hosting.instance_types import TYPES
from polyhost.emulator.hosting.interfaces import (
    Container,
    ContainerResponse,
    InvocationRequest,
    Launch,
    Platform,
    VariantSpec,
)
from polyhost.emulator.hosting.model_snapshot import model_snapshot
from polyhost.emulator.hosting.usage_meter import UsageMeter
from polyhost.emulator.telemetry.recorder import EventKind, Place
from polyhost.model_cache.cache import CacheSettings, ModelCache
from polyhost.model_cache.disk_cache import DiskSettings
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError
from polyhost.model_cache.model_copy import ModelCopy
from polyhost.model_cache.model_url import ModelData


class InstanceStatus(StrEnum):
    """States of an instance; the values are part of the JSON below /_polyhost/state."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    RESTARTING = "Restarting"
    STOPPED = "Stopped"


_TRANSITIONS: dict[InstanceStatus, frozenset[InstanceStatus]] = {
    InstanceStatus.CREATING: frozenset({InstanceStatus.IN_SERVICE, InstanceStatus.STOPPED}),
    InstanceStatus.IN_SERVICE: frozenset({InstanceStatus.RESTARTING, InstanceStatus.STOPPED}),
    InstanceStatus.RESTARTING: frozenset({InstanceStatus.IN_SERVICE, InstanceStatus.STOPPED}),
    InstanceStatus.STOPPED: frozenset({InstanceStatus.STOPPED}),  # a stop that was cancelled is repeated
}


class Instance:
    """Serves invocations while its container runs; `outstanding` counts those in progress."""

    def __init__(self, platform: Platform, place: Place, spec: VariantSpec) -> None:
        self.id = place.instance
        self.status = InstanceStatus.CREATING
        self.outstanding = 0
        self._platform = platform
        self._place = place
        self._spec = spec
        self._folder = platform.folder / self.id
        memory_limit = int(TYPES[spec.instance_type].memory_bytes * platform.memory_scale)
        launch = Launch(
            name=f"{place.endpoint.lower()}-{self.id}",
            image=spec.container.image,
            environment=spec.container.environment,
            folder=self._folder,
            multi_model=spec.container.multi_model,
            memory_bytes=memory_limit,
            on_line=lambda line: platform.recorder.log_line(place, line),
        )
        self.keeper = ContainerKeeper(
            platform.driver, platform.http, launch, spec.startup_timeout_s, listener=self, report=self._event
        )
        self._meter = UsageMeter(self.keeper.usage, memory_limit)
        self.cache = self._new_cache() if spec.container.multi_model else None

    def _new_cache(self) -> ModelCache:
        spec = self._spec
        assert spec.container.model_data_url is not None
        disk = DiskSettings(
            ModelData.parse(spec.container.model_data_url),
            self._place.region,
            spec.volume_bytes,
            spec.download_timeout_s,
        )
        return ModelCache(
            self._folder / "models",
            CacheSettings(disk, spec.container.keeps_models),
            self._platform.source,
            CacheEvents(self._platform.recorder, self._place),
            self._meter.memory,
        )

    @property
    def in_service(self) -> bool:
        return self.status is InstanceStatus.IN_SERVICE and not self.keeper.doubted

    # Lifecycle

    async def start(self) -> None:
        """Start the container. Raises ContainerError or DownloadError, and then leaves nothing behind."""
        try:
            for name in ("models", "state"):
                (self._folder / name).mkdir(parents=True)
            if self.cache is None:
                await self._provide_model()
            await self.keeper.start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._become(InstanceStatus.IN_SERVICE)
        self._event(EventKind.INSTANCE, "in service")
        self.keeper.watch()

    async def stop(self) -> None:
        self._become(InstanceStatus.STOPPED)
        await self.keeper.unwatch()
        if self.cache is not None:
            await self.cache.close()
        await self.keeper.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, True)
        self._event(EventKind.INSTANCE, "stopped")
        self._platform.recorder.remove(self._place)

    async def _provide_model(self) -> None:
        """Unpack the one model's archive into `model`, before the container starts."""
        folder = self._folder / "model"
        url = self._spec.container.model_data_url
        if url is None:  # the model is part of the image
            folder.mkdir()
            return
        fetch = self._platform.source.fetch
        data = ModelData.parse(url)
        await fetch(data, folder, self._spec.volume_bytes, self._spec.download_timeout_s, self._place.region)

    def on_started(self, container: Container, client: ContainerClient) -> None:
        if self.cache is not None:
            self.cache.attach(FaultyLoads(client, self._platform.faults, self._place), container.models_folder)

    def on_lost(self) -> None:
        self._become(InstanceStatus.RESTARTING)
        if self.cache is not None:
            self.cache.detach()

    def on_replaced(self) -> None:
        self._become(InstanceStatus.IN_SERVICE)

    def _become(self, status: InstanceStatus) -> None:
        assert status in _TRANSITIONS[self.status], f"{self.id} is {self.status} and cannot become {status}"
        self.status = status

    # Invocations

    def copy_of(self, model: str) -> ModelCopy | None:
        return self.cache.models.copies.get(model) if self.cache is not None else None

    async def invoke(self, request: InvocationRequest) -> ContainerResponse:
        """Return the container's response. Raises ModelNotReady and ModelServingError."""
        self.outstanding += 1
        try:
            if self._take_fault(FaultKind.TIME_OUT, request):
                raise ContainerTimeoutError("a fault on demand: the container gave no response in time")
            if self._take_fault(FaultKind.KILL_CONTAINER, request) and self.keeper.container is not None:
                self._event(EventKind.FAULT, "the container is killed on demand")
                await self.keeper.kill()
            if self.cache is None:
                return await self._ask(None, request)
            assert request.target_model is not None
            return await self._invoke_model(self.cache, request.target_model, request)
        except ContainerGoneError:
            # The next invocations must not be lost like this one: they go elsewhere, or wait.
            await self.keeper.doubt()
            raise
        finally:
            self.outstanding -= 1

    async def _invoke_model(self, cache: ModelCache, name: str, request: InvocationRequest) -> ContainerResponse:
        waited_us, hit = 0, True
        for attempt in (1, 2):
            copy = cache.loaded(name)
            if copy is None:
                hit = False
                waited_us += await self._wait_for(cache, name, request)
                copy = cache.loaded(name)
                if copy is None:  # evicted before its turn
                    continue
            cache.acquire(copy)
            try:
                response = await self._ask(copy.key, request)
            finally:
                cache.release(copy)
            if response.status == 404 and attempt == 1 and not await self.keeper.client.is_loaded(copy.key):
                cache.discard(copy)
                continue
            copy.usage.latencies_ms.append(response.container_us / 1e3)
            copy.usage.errors += response.status >= 400
            self._measure("ModelCacheHit", float(hit), "None", name)
            if not hit:
                self._measure("ModelLoadingWaitTime", waited_us, "Microseconds", name)
            return replace(response, waited_us=waited_us, cache_hit=hit)
        raise ContainerGoneError(f"{name} was unloaded as often as it was loaded")

    async def _wait_for(self, cache: ModelCache, name: str, request: InvocationRequest) -> int:
        """Return the time in microseconds that it took until the model was loaded."""
        start = time.monotonic()
        try:
            async with asyncio.timeout(request.timeout_s):
                await cache.load(name)
        except TimeoutError:
            raise ModelNotReady(
                f"Model {name} is not ready for inference: it is still being downloaded or loaded. Try again."
            ) from None
        return int((time.monotonic() - start) * 1e6)

    async def _ask(self, key: str | None, request: InvocationRequest) -> ContainerResponse:
        return await self.keeper.client.invoke(key, request.body, request.headers, request.timeout_s, request.relay)

    # Telemetry

    async def snapshot(self) -> dict[str, Any]:
        """Describe the instance in JSON; `memory_used` and `cpu_percent` are None if they are not known."""
        memory_used, cpu_percent = await self._meter.sample()
        container = self.keeper.container
        return {
            "id": self.id,
            "status": self.status,
            "pid": container.pid if container is not None else None,
            "url": container.url if container is not None else None,
            "restarts": self.keeper.restarts,
            "memory_used": memory_used,
            "memory_limit": self._meter.memory_limit,
            "cpu_percent": cpu_percent,
            "disk_used": self.cache.disk.used_bytes if self.cache is not None else 0,
            "disk_limit": self._spec.volume_bytes,
            "outstanding": self.outstanding,
            "models": [model_snapshot(copy) for copy in self._copies_by_last_use()],
        }

    def _copies_by_last_use(self) -> list[ModelCopy]:
        return list(reversed(self.cache.models.copies.values())) if self.cache is not None else []

    def _take_fault(self, kind: FaultKind, request: InvocationRequest) -> Fault | None:
        if not self._platform.faults.pending:
            return None
        target = request.target_model or ""
        return self._platform.faults.take(kind, self._place.endpoint, self._place.variant, target)

    def _measure(self, name: str, value: float, unit: str, model: str) -> None:
        self._platform.recorder.measure(name, value, unit, self._place, model)

    def _event(self, kind: EventKind, message: str) -> None:
        self._platform.recorder.event(kind, self._place, message)
