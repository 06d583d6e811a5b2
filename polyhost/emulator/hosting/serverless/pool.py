"""The containers of a serverless variant: started when a call finds none idle, ended when they are idle for long."""

import asyncio
import secrets
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from polyhost.emulator.errors import ContainerError, ModelNotReady
from polyhost.emulator.hosting.faults import FaultKind
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.hosting.serverless.container import ContainerStatus, ServerlessContainer
from polyhost.emulator.telemetry.recorder import EventKind, Place
from polyhost.model_cache.errors import ContainerGoneError

_STARTING, _WARM = ContainerStatus.STARTING, ContainerStatus.WARM
_BUSY, _STOPPING = ContainerStatus.BUSY, ContainerStatus.STOPPING


class ContainerPool:
    """At most `limit` containers, those included that start or stop; `kept` of them do not end for idleness."""

    def __init__(self, platform: Platform, place: Place, spec: VariantSpec, limit: int) -> None:
        self.limit = limit
        self.kept = 0
        self.cold_starts = 0
        self.containers: list[ServerlessContainer] = []
        self._platform = platform
        self._place = place
        self._spec = spec
        self._closed = False
        self._changed = asyncio.Event()
        self._going_on: set[asyncio.Task[None]] = set()  # starts and watches
        self._stops: set[asyncio.Task[None]] = set()

    @property
    def live(self) -> list[ServerlessContainer]:
        """The containers that start or serve."""
        return [container for container in self.containers if container.status is not _STOPPING]

    async def changed(self) -> None:
        """Return when a container has come, gone or become idle."""
        await self._changed.wait()

    def notify(self) -> None:
        """Wake those that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    # Calls

    async def acquire(self, timeout_s: float) -> ServerlessContainer:
        """Return a warm container, started if need be, that takes no other call until it is given back.

        Raises ModelNotReady if that takes too long, while the start goes on for the next call. Raises the error of a
        start.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while (container := self._claim()) is None:  # all that there may be are about to end
                    await self.changed()
                try:
                    await container.until_started()
                finally:
                    container.claimed = False
        except TimeoutError:
            raise ModelNotReady(
                f"Variant {self._place.variant} is not ready for inference: its container is still starting. Try again."
            ) from None
        if container.status is not _WARM:
            raise ContainerGoneError("the container ended as soon as it had started")
        container.become(_BUSY)
        return container

    def give_back(self, container: ServerlessContainer) -> None:
        """Let the container take another call, unless it has ended or is one too many."""
        if container.status is not _BUSY:
            return
        if container.ended:
            self.stop(container, "has ended", EventKind.FAILED)
        elif len(self.live) > self.limit:
            self.stop(container, "is above the maximum concurrency")
        else:
            container.become(_WARM)
            self.notify()

    def _claim(self) -> ServerlessContainer | None:
        """Choose the container that became idle last, or else one that starts; start one if there is room."""
        free = [container for container in self.containers if not container.claimed]
        warm = [container for container in free if container.status is _WARM]
        chosen = min(warm, key=lambda container: container.idle_s) if warm else None
        chosen = chosen or next((container for container in free if container.status is _STARTING), None)
        if chosen is None and len(self.containers) < self.limit:
            chosen = self.launch(cold=True)
        if chosen is not None:
            chosen.claimed = True
        return chosen

    # Lifecycle

    def launch(self, cold: bool) -> ServerlessContainer:
        """Begin to start a container; `cold` says that a call waits for it. Raises ContainerGoneError after `close`."""
        if self._closed:
            raise ContainerGoneError("the endpoint's containers have been stopped")
        place = replace(self._place, instance=f"i-{secrets.token_hex(8)}")
        container = ServerlessContainer(Instance(self._platform, place, self._spec))
        self.containers.append(container)
        container.start = self._run(self._start(container, cold))
        return container

    def stop(self, container: ServerlessContainer, reason: str, kind: EventKind = EventKind.INSTANCE) -> None:
        """Begin to end a container that serves; it takes no more calls."""
        if container.status is _STOPPING:
            return
        container.become(_STOPPING)
        self._event(kind, container, f"the container {reason}")
        task = asyncio.create_task(self._stop(container))
        self._stops.add(task)
        task.add_done_callback(self._stops.discard)

    def trim(self) -> None:
        """End idle containers above the limit; busy ones end with their calls."""
        while len(live := self.live) > self.limit:
            idle = [container for container in live if container.status is _WARM and not container.claimed]
            if not idle:
                return
            self.stop(max(idle, key=lambda container: container.idle_s), "is above the maximum concurrency")

    async def close(self) -> None:
        """End all containers; can be called again after it was cancelled."""
        self._closed = True
        for task in self._going_on:
            task.cancel()
        await asyncio.gather(*self._going_on, return_exceptions=True)
        for container in self.live:
            self.stop(container, "is no longer needed")
        if self._stops:
            await asyncio.wait(set(self._stops))

    async def _start(self, container: ServerlessContainer, cold: bool) -> None:
        began = time.perf_counter()
        try:
            if cold:
                await self._fail_on_demand()
            await container.instance.start()
        except BaseException as error:
            self.containers.remove(container)
            if isinstance(error, Exception):
                self._event(EventKind.FAILED, container, f"the container did not start: {error}")
            self.notify()
            raise
        elapsed = time.perf_counter() - began
        if cold:
            self.cold_starts += 1
            self._platform.recorder.measure("ModelSetupTime", elapsed * 1e6, "Microseconds", self._place)
            self._event(EventKind.LOADED, container, f"cold start in {elapsed * 1e3:.0f} ms", ms=elapsed * 1e3)
        container.become(_WARM)
        self._run(self._watch(container))
        self.notify()

    async def _watch(self, container: ServerlessContainer) -> None:
        """End the container if its process ends, or if it is idle for too long and not one of those that are kept."""
        limit_s = self._platform.serverless_idle_s
        end = asyncio.create_task(container.instance.until_ended())
        try:
            while not end.done():
                left_s = limit_s - container.idle_s
                if left_s <= 0 and not container.claimed and len(self.live) > self.kept:
                    self.stop(container, f"was idle for {limit_s:g} s")
                    return
                await asyncio.wait({end}, timeout=left_s if left_s > 0 else limit_s)
        finally:
            end.cancel()
        error = end.exception()
        how = f"ended while it was idle, with status {end.result()}" if error is None else f"is lost: {error!r}"
        container.ended = True
        if container.status is _WARM:
            self.stop(container, how, EventKind.FAILED)

    async def _stop(self, container: ServerlessContainer) -> None:
        try:
            await container.instance.stop()
        except Exception as error:  # of the engine, for example
            self._event(EventKind.FAILED, container, f"the container does not end: {error!r}")
        finally:
            self.containers.remove(container)
            self.notify()

    async def _fail_on_demand(self) -> None:
        take, place = self._platform.faults.take, self._place
        if slow := take(FaultKind.SLOW_LOAD, place.endpoint, place.variant):
            await asyncio.sleep(slow.seconds)
        if take(FaultKind.REFUSE_LOAD, place.endpoint, place.variant):
            raise ContainerError("a fault on demand: the container does not start")

    def _run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._going_on.add(task)

        def on_done(task: "asyncio.Task[None]") -> None:
            self._going_on.discard(task)
            if not task.cancelled():
                task.exception()  # events tell of it, and the call that waits for the start

        task.add_done_callback(on_done)
        return task

    def _event(self, kind: EventKind, container: ServerlessContainer, message: str, **details: Any) -> None:
        self._platform.recorder.event(kind, replace(self._place, instance=container.id), message, **details)
