"""An instance of a variant: a disk, its containers, and how an invocation passes through them."""

import asyncio
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.faults import Fault, FaultKind
from polyhost.emulator.hosting.hosted_container import HostedContainer
from polyhost.emulator.hosting.interfaces import (
    ContainerResponse,
    ContainerSpec,
    InvocationRequest,
    Launch,
    Platform,
    VariantSpec,
)
from polyhost.emulator.hosting.memory_watch import MemoryWatch
from polyhost.emulator.hosting.pipeline import run_pipeline
from polyhost.emulator.telemetry.recorder import EventKind, Place
from polyhost.instance_types import TYPES
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError
from polyhost.model_cache.model_copy import ModelCopy


class InstanceStatus(StrEnum):
    """States of an instance; the values are part of the JSON below /_polyhost/state."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    RESTARTING = "Restarting"
    STOPPED = "Stopped"


_TRANSITIONS: dict[InstanceStatus, frozenset[InstanceStatus]] = {
    InstanceStatus.CREATING: frozenset({InstanceStatus.IN_SERVICE, InstanceStatus.STOPPED}),
    InstanceStatus.IN_SERVICE: frozenset({InstanceStatus.RESTARTING, InstanceStatus.STOPPED}),
    # Further containers may be lost before the first is back.
    InstanceStatus.RESTARTING: frozenset(
        {InstanceStatus.RESTARTING, InstanceStatus.IN_SERVICE, InstanceStatus.STOPPED}
    ),
    InstanceStatus.STOPPED: frozenset({InstanceStatus.STOPPED}),  # a stop that was cancelled is repeated
}


class Instance:
    """Serves invocations while all its containers run; `outstanding` counts those in progress."""

    def __init__(self, platform: Platform, place: Place, spec: VariantSpec) -> None:
        self.id = place.instance
        self.status = InstanceStatus.CREATING
        self.outstanding = 0
        self._platform = platform
        self._place = place
        self._spec = spec
        self._folder = platform.folder / self.id
        self._memory_limit = _memory_limit(spec, platform.memory_scale)
        self._lost = 0
        self.containers = [self._new_container(container) for container in spec.containers]
        self._by_name = {container.spec.name: container for container in self.containers}
        self._watch = MemoryWatch(self.containers, self._memory_limit, self._event)

    def _new_container(self, spec: ContainerSpec) -> HostedContainer:
        place = replace(self._place, container=spec.name)
        name = f"{place.endpoint.lower()}-{self.id}"
        folder = self._folder / "containers" / spec.name if spec.name else self._folder
        launch = Launch(
            name=f"{name}-{spec.name}" if spec.name else name,
            image=spec.image,
            environment=spec.environment,
            folder=folder,
            multi_model=spec.multi_model,
            memory_bytes=self._memory_limit,
            on_line=lambda line: self._platform.recorder.log_line(place, line),
            owner=self._platform.folder.name,
            shared_with=f"{name}-all" if spec.name else "",
            hostname=spec.name,
            region=place.region,
        )
        return HostedContainer(self._platform, self._place, self._spec, spec, launch, self, self._memory)

    @property
    def in_service(self) -> bool:
        return self.status is InstanceStatus.IN_SERVICE and not any(
            container.keeper.doubted for container in self.containers
        )

    # Lifecycle

    async def start(self) -> None:
        """Start the containers. Raises ContainerError or DownloadError, and then leaves nothing behind."""
        try:
            await self._start_all()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._become(InstanceStatus.IN_SERVICE)
        self._event(EventKind.INSTANCE, "in service")
        if self._spec.serverless is not None:  # then nothing replaces a container but the next call
            return
        for container in self.containers:
            container.watch()
        if len(self.containers) > 1 and not self._platform.driver.limits_together:
            self._watch.start()

    async def stop(self) -> None:
        self._become(InstanceStatus.STOPPED)
        await self._watch.stop()
        await asyncio.gather(*(container.stop() for container in self.containers))
        await asyncio.to_thread(shutil.rmtree, self._folder, True)
        self._event(EventKind.INSTANCE, "stopped")
        self._platform.recorder.remove(self._place)

    async def until_ended(self) -> int:
        """Return the exit status of the first container once it has ended; not for one that is replaced then."""
        return await self.containers[0].keeper.until_ended()

    async def _start_all(self) -> None:
        """Start all containers, or none."""
        try:
            results = await asyncio.gather(
                *(container.start() for container in self.containers), return_exceptions=True
            )
            if errors := [result for result in results if result is not None]:
                raise _one_of(errors)
        except BaseException:
            await asyncio.gather(*(container.stop() for container in self.containers))
            raise

    def on_lost(self) -> None:
        self._lost += 1
        if self.status is not InstanceStatus.STOPPED:
            self._become(InstanceStatus.RESTARTING)

    def on_replaced(self) -> None:
        self._lost -= 1
        if not self._lost and self.status is not InstanceStatus.STOPPED:
            self._become(InstanceStatus.IN_SERVICE)

    def _become(self, status: InstanceStatus) -> None:
        assert status in _TRANSITIONS[self.status], f"{self.id} is {self.status} and cannot become {status}"
        self.status = status

    # Invocations

    @property
    def model_count(self) -> int:
        """How many models are in the containers, on their way included."""
        return sum(len(container.cache.models.copies) for container in self.containers if container.cache is not None)

    def copy_of(self, request: InvocationRequest) -> ModelCopy | None:
        """Return the copy of the request's model, if it has one and it is here."""
        spec = self._spec.container_for(request.target_container)
        cache = self._by_name[spec.name].cache if spec is not None else None
        return cache.models.copies.get(request.target_model or "") if cache is not None else None

    async def invoke(self, request: InvocationRequest) -> ContainerResponse:
        """Return the response of the container or the pipeline. Raises ModelNotReady and ModelServingError."""
        self.outstanding += 1
        killed = False
        try:
            first = self._by_name[request.target_container] if request.target_container else self.containers[0]
            if self._take_fault(FaultKind.TIME_OUT, request):
                error = ContainerTimeoutError("a fault on demand: the container gave no response in time")
                error.container = first.spec.name
                raise error
            if self._take_fault(FaultKind.KILL_CONTAINER, request) and first.keeper.container is not None:
                self._event(EventKind.FAULT, "the container is killed on demand")
                await first.keeper.kill()
                killed = True
            if self._spec.direct or len(self.containers) == 1:
                return await first.invoke(request)
            return await run_pipeline(self.containers, request)
        except ContainerGoneError as error:
            if killed:  # the caller is to see it, also where the request met a closed port
                error.may_retry = False
            raise
        finally:
            self.outstanding -= 1

    # Telemetry

    async def snapshot(self) -> dict[str, Any]:
        """Describe the instance in JSON; `memory_used` and `cpu_percent` are None if they are not known."""
        containers = await asyncio.gather(*(container.snapshot() for container in self.containers))
        return {
            "id": self.id,
            "status": self.status,
            "pid": containers[0]["pid"],
            "url": containers[0]["url"],
            "restarts": sum(container["restarts"] for container in containers),
            "memory_used": _sum_if_known(container["memory_used"] for container in containers),
            "memory_limit": self._memory_limit,
            "cpu_percent": _sum_if_known(container["cpu_percent"] for container in containers),
            "disk_used": sum(container["disk_used"] for container in containers),
            "disk_limit": self._spec.volume_bytes,
            "outstanding": self.outstanding,
            "containers": containers,
            "models": [model for container in containers for model in container["models"]],
        }

    async def _memory(self) -> tuple[int, int]:
        """Return the bytes that all containers use, as far as that is known, and the limit."""
        usages = await asyncio.gather(*(container.keeper.usage() for container in self.containers))
        return sum(usage.memory_bytes for usage in usages if usage is not None), self._memory_limit

    def _take_fault(self, kind: FaultKind, request: InvocationRequest) -> Fault | None:
        if not self._platform.faults.pending:
            return None
        target = request.target_model or ""
        endpoint, variant = self._place.endpoint, self._place.variant
        # A shadow variant must not use up the faults that a client is to see.
        return self._platform.faults.take(kind, endpoint, variant, target, by_name=self._spec.shadow)

    def _event(self, kind: EventKind, message: str) -> None:
        self._platform.recorder.event(kind, self._place, message)


def _memory_limit(spec: VariantSpec, scale: float) -> int:
    """Return bytes; those of a serverless container are as many as were asked for, whatever the scale."""
    if spec.serverless is not None:
        return spec.serverless.memory_mb << 20
    return int(TYPES[spec.instance_type].memory_bytes * scale)


def _sum_if_known(values: Iterable[float | None]) -> float | None:
    """Return the sum, or None if a value is."""
    known = list(values)
    return None if None in known else sum(value for value in known if value is not None)


def _one_of(errors: Sequence[BaseException]) -> BaseException:
    """Return the first error, or, if all are of containers that did not start, one that names all of these."""
    failed = [error for error in errors if isinstance(error, ContainerError)]
    if len(failed) < 2 or len(failed) < len(errors):
        return errors[0]
    together = ContainerError("; ".join(f"{', '.join(error.containers)}: {error}" for error in failed))
    together.containers = tuple(name for error in failed for name in error.containers)
    return together
