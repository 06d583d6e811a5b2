"""A container of an instance: its folder, its process or engine's container, and the models in it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from polyhost.dashboard.model_snapshot import model_snapshot
from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.cache_events import CacheEvents
from polyhost.emulator.hosting.container_client import ChunkedFile, ContainerClient
from polyhost.emulator.hosting.container_keeper import ContainerKeeper
from polyhost.emulator.hosting.faulty_loads import FaultyLoads
from polyhost.emulator.hosting.interfaces import (
    Container,
    ContainerResponse,
    ContainerSpec,
    InvocationRequest,
    Launch,
    Platform,
    VariantSpec,
)
from polyhost.emulator.hosting.model_invocations import invoke_model
from polyhost.emulator.hosting.usage_meter import UsageMeter
from polyhost.emulator.telemetry.recorder import EventKind, Place
from polyhost.model_cache.cache import CacheSettings, ModelCache
from polyhost.model_cache.downloads import PrefixSource
from polyhost.model_cache.errors import ContainerGoneError, ModelServingError
from polyhost.model_cache.model_copy import ModelCopy
from polyhost.model_cache.model_url import ModelData

_TARGET_MODEL = "X-Amzn-SageMaker-Target-Model"


class ContainerListener(Protocol):
    """Hears when the container cannot serve, and when it can again."""

    def on_lost(self) -> None:
        """Note that the container has ended, or is about to be killed."""

    def on_replaced(self) -> None:
        """Note that another one is in service in its place."""


class HostedContainer:
    """Serves invocations while its container runs.

    `memory` returns what the whole instance uses, and its limit. Errors of a container that is one of several have its
    name.
    """

    def __init__(
        self,
        platform: Platform,
        place: Place,
        variant: VariantSpec,
        spec: ContainerSpec,
        launch: Launch,
        listener: ContainerListener,
        memory: Callable[[], Awaitable[tuple[int, int]]],
    ) -> None:
        self.spec = spec
        self._platform = platform
        self._place = place  # the instance
        self._own_place = replace(place, container=spec.name)
        self._variant = variant
        self._folder = launch.folder
        self._listener = listener
        self.keeper = ContainerKeeper(
            platform.driver, platform.http, launch, variant.startup_timeout_s, listener=self, report=self._event
        )
        self._meter = UsageMeter(self.keeper.usage)
        self.cache = self._new_cache(memory) if spec.multi_model else None

    def _new_cache(self, memory: Callable[[], Awaitable[tuple[int, int]]]) -> ModelCache:
        variant = self._variant
        assert self.spec.model_data_url is not None
        source = PrefixSource(
            self._platform.source,
            ModelData.parse(self.spec.model_data_url),
            self._place.region,
            variant.download_timeout_s,
        )
        return ModelCache(
            self._folder / "models",
            CacheSettings(variant.volume_bytes, self.spec.keeps_models),
            source,
            CacheEvents(self._platform.recorder, self._place),
            memory,
        )

    # Lifecycle

    async def start(self) -> None:
        """Start the container. Raises ContainerError or DownloadError, and then leaves no process behind."""
        for name in ("models", "state"):
            (self._folder / name).mkdir(parents=True)
        try:
            if self.cache is None:
                await self._provide_model()
            await self.keeper.start()
        except ContainerError as error:
            error.containers = (self.spec.name,) if self.spec.name else ()
            raise
        except ModelServingError as error:
            error.container = self.spec.name
            raise

    def watch(self) -> None:
        """Replace the container from now on whenever that is necessary."""
        self.keeper.watch()

    async def stop(self) -> None:
        """End the container; can be called again after it was cancelled."""
        await self.keeper.unwatch()
        if self.cache is not None:
            await self.cache.close()
        await self.keeper.stop()

    async def _provide_model(self) -> None:
        """Unpack the one model's archive into `model`, before the container starts."""
        folder = self._folder / "model"
        if self.spec.model_data_url is None:  # the model is part of the image
            folder.mkdir()
            return
        variant, data = self._variant, ModelData.parse(self.spec.model_data_url)
        fetch = self._platform.source.fetch
        await fetch(data, folder, variant.volume_bytes, variant.download_timeout_s, self._place.region)

    def on_started(self, container: Container, client: ContainerClient) -> None:
        if self.cache is not None:
            self.cache.attach(FaultyLoads(client, self._platform.faults, self._place), container.models_folder)

    def on_lost(self) -> None:
        if self.cache is not None:
            self.cache.detach()
        self._listener.on_lost()

    def on_replaced(self) -> None:
        self._listener.on_replaced()

    # Invocations

    async def invoke(self, request: InvocationRequest) -> ContainerResponse:
        """Return the container's response. Raises ModelNotReady and ModelServingError."""
        try:
            if self.cache is None:
                headers = {name: value for name, value in request.headers.items() if name != _TARGET_MODEL}
                response = await self.keeper.client.invoke(
                    None, _body_of(request), headers, request.timeout_s, request.relay
                )
            else:
                response = await invoke_model(self.cache, self.keeper, request, self._measure)
        except ModelServingError as error:
            error.container = self.spec.name
            if isinstance(error, ContainerGoneError):
                # The next invocations must not be lost like this one: they go elsewhere, or wait.
                await self.keeper.doubt()
            raise
        if not self.spec.name:
            return response
        latency = response.container_us
        self._platform.recorder.measure("ContainerLatency", latency, "Microseconds", self._own_place)
        return replace(response, container=self.spec.name)

    # Telemetry

    async def snapshot(self) -> dict[str, Any]:
        """Describe the container in JSON; `memory_used` and `cpu_percent` are None if they are not known."""
        memory_used, cpu_percent = await self._meter.sample()
        container = self.keeper.container
        return {
            "name": self.spec.name,
            "image": self.spec.image,
            "multi_model": self.spec.multi_model,
            "pid": container.pid if container is not None else None,
            "url": container.url if container is not None else None,
            "restarts": self.keeper.restarts,
            "memory_used": memory_used,
            "cpu_percent": cpu_percent,
            "disk_used": self.cache.disk.used_bytes if self.cache is not None else 0,
            "models": [model_snapshot(copy) for copy in self._copies_by_last_use()],
        }

    def _copies_by_last_use(self) -> list[ModelCopy]:
        return list(reversed(self.cache.models.copies.values())) if self.cache is not None else []

    def _measure(self, name: str, value: float, unit: str, model: str) -> None:
        self._platform.recorder.measure(name, value, unit, self._place, model)

    def _event(self, kind: EventKind, message: str) -> None:
        self._platform.recorder.event(kind, self._own_place, message)


def _body_of(request: InvocationRequest) -> bytes | Path | ChunkedFile:
    if request.body_file is None:
        return request.body
    return ChunkedFile(request.body_file) if request.chunked else request.body_file
