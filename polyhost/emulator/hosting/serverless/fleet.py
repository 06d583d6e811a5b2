"""A serverless variant: admission of calls, and their way to a container."""

import asyncio
from typing import Any

from polyhost.emulator.errors import ContainerError, ModelNotReady, ThrottlingException
from polyhost.emulator.hosting.failure_reasons import failure_reason
from polyhost.emulator.hosting.fleet import DRAIN_S
from polyhost.emulator.hosting.interfaces import (
    ContainerResponse,
    InvocationRequest,
    Platform,
    ServerlessCapacity,
    VariantFleet,
    VariantSpec,
)
from polyhost.emulator.hosting.serverless.container import ServerlessContainer
from polyhost.emulator.hosting.serverless.pool import ContainerPool
from polyhost.emulator.hosting.serverless.provisioned import ProvisionedContainers
from polyhost.emulator.telemetry.recorder import EventKind, Place
from polyhost.model_cache.errors import ContainerGoneError, ContainerTimeoutError, DownloadError

_DRAIN_POLL_S = 0.05


class ServerlessFleet:
    """Has a container of its own for each call in progress, and throttles calls above the maximum concurrency."""

    instance_count = 0

    def __init__(self, platform: Platform, region: str, endpoint: str, spec: VariantSpec) -> None:
        assert spec.serverless is not None
        self.spec = spec
        self.capacity = spec.serverless
        self.successor: VariantFleet | None = None
        self.executions = 0  # calls in progress
        self.throttled = 0
        self._recorder = platform.recorder
        self._place = Place(region, endpoint, spec.name)
        self._pool = ContainerPool(platform, self._place, spec, spec.serverless.max_concurrency)
        self._provisioned = ProvisionedContainers(self._pool)
        self._hurried = False
        self._stopped = False

    # Lifecycle

    async def start(self) -> None:
        """Return when the provisioned containers are warm, or when one container has passed its health check.

        Raises the first error, and then leaves nothing behind.
        """
        try:
            await self._provisioned.start(self.capacity.provisioned or 1)
            if not self.capacity.provisioned:
                await self._stop_the_tried()
            self._provisioned.watch()
        except BaseException:
            await self.stop(drain_s=0)
            raise

    async def _stop_the_tried(self) -> None:
        self._pool.kept = 0
        for container in self._pool.live:
            self._pool.stop(container, "has passed the health check, and the endpoint begins without containers")
        while self._pool.containers:
            await self._pool.changed()

    async def resize(self, capacity: ServerlessCapacity) -> None:
        """Apply another concurrency; return when the provisioned containers are warm.

        Raises the first error of a start, and then the concurrency is as before.
        """
        before = self.capacity
        try:
            self._pool.limit = max(before.max_concurrency, capacity.max_concurrency)
            if capacity.provisioned > before.provisioned:
                await self._provisioned.start(capacity.provisioned)
        except BaseException:
            self._pool.limit = before.max_concurrency
            raise
        self.capacity = capacity
        self._pool.limit, self._pool.kept = capacity.max_concurrency, capacity.provisioned
        self._pool.trim()

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Let calls end within the drain time, then end all containers."""
        self._stopped = True
        deadline = asyncio.get_running_loop().time() + drain_s
        while self.executions and not self._hurried and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_DRAIN_POLL_S)
        await self._provisioned.close()
        await self._pool.close()

    def hurry(self) -> None:
        """Let calls not end before the containers are stopped."""
        self._hurried = True

    # Invocations

    async def invoke(self, request: InvocationRequest) -> ContainerResponse:
        """Return a container's response.

        Raises ThrottlingException above the maximum concurrency, ModelNotReady and ModelServingError.
        """
        if self._stopped:
            if self.successor is None:
                raise ContainerGoneError("the variant's containers have been stopped")
            return await self.successor.invoke(request)
        if self.executions >= self.capacity.max_concurrency:
            self.throttled += 1
            raise ThrottlingException(None)
        self.executions += 1
        self._count()
        try:
            return await self._serve(request)
        finally:
            self.executions -= 1

    async def _serve(self, request: InvocationRequest) -> ContainerResponse:
        try:
            return await self._serve_once(request)
        except ContainerGoneError as error:
            if not error.may_retry:
                raise
            return await self._serve_once(request)  # the container ended before it had the call

    async def _serve_once(self, request: InvocationRequest) -> ContainerResponse:
        container = await self._acquire(request.timeout_s)
        try:
            response = await container.invoke(request)
        except ContainerGoneError:
            self._drop(container, "is lost")
            raise
        except BaseException as error:
            late = isinstance(error, ContainerTimeoutError)
            # It may still be busy with the call, and takes one at a time.
            self._drop(container, "did not respond in time" if late else "has lost its caller")
            raise
        self._pool.give_back(container)
        return response

    async def _acquire(self, timeout_s: float) -> ServerlessContainer:
        try:
            return await self._pool.acquire(timeout_s)
        except (ModelNotReady, ContainerGoneError):
            raise
        except (ContainerError, DownloadError, OSError) as error:
            raise ContainerGoneError(failure_reason(error, self.spec)) from error

    def _drop(self, container: ServerlessContainer, reason: str) -> None:
        self._pool.stop(container, reason, EventKind.FAILED)

    # Telemetry

    def measure_concurrency(self) -> None:
        """Record the calls in progress, in relation to what is allowed.

        Developer guide, serverless-endpoints-monitoring.
        """
        measure, place, capacity = self._recorder.measure, self._place, self.capacity
        share = self.executions / capacity.max_concurrency
        measure("ServerlessConcurrentExecutionsUtilization", share, "None", place)
        if capacity.provisioned:
            share = self.executions / capacity.provisioned
            measure("ServerlessProvisionedConcurrencyExecutions", self.executions, "Count", place)
            measure("ServerlessProvisionedConcurrencyUtilization", share, "None", place)

    def _count(self) -> None:
        """Record a call that has just been admitted."""
        self.measure_concurrency()
        if self.capacity.provisioned:
            spills = self.executions > self.capacity.provisioned
            kind = "SpilloverInvocations" if spills else "Invocations"
            self._recorder.measure(f"ServerlessProvisionedConcurrency{kind}", 1, "Count", self._place)

    async def snapshot(self) -> list[dict[str, Any]]:
        """Describe the containers in JSON, as instances."""
        return list(await asyncio.gather(*(container.snapshot() for container in self._pool.containers)))

    def summary(self) -> dict[str, Any]:
        """Describe the capacity and its use in JSON."""
        capacity = self.capacity
        return {
            "memory_mb": capacity.memory_mb,
            "max_concurrency": capacity.max_concurrency,
            "provisioned": capacity.provisioned,
            "executions": self.executions,
            "cold_starts": self._pool.cold_starts,
            "throttled": self.throttled,
        }
