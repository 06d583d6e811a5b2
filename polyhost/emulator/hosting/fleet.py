"""The instances of one variant of an endpoint, and the choice of one for each invocation."""

import asyncio
import secrets
from dataclasses import replace
from typing import Any

from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import (
    ContainerResponse,
    InvocationRequest,
    Platform,
    VariantFleet,
    VariantSpec,
)
from polyhost.emulator.telemetry.recorder import Place, PlaceKind
from polyhost.model_cache.errors import ContainerGoneError, LostWhileLoadingError

SPREAD_AT = 8  # invocations of one model in flight on an instance, from which on another instance gets a copy too
DRAIN_S = 60.0  # no invocation takes longer
_RETRY_PAUSE_S = 0.05
_MAX_SESSIONS = 10_000
_SESSION, _NEW_SESSION, _CLOSED_SESSION = (
    f"X-Amzn-SageMaker-{name}" for name in ("Session-Id", "New-Session-Id", "Closed-Session-Id")
)


class Fleet:
    """Grows and shrinks; sends an invocation to an instance that has its model."""

    def __init__(
        self,
        platform: Platform,
        region: str,
        endpoint: str,
        spec: VariantSpec,
        kind: PlaceKind = PlaceKind.ENDPOINT,
    ) -> None:
        self.spec = spec
        self.instances: list[Instance] = []
        self.successor: VariantFleet | None = None  # gets the invocations that found no instance here
        self._platform = platform
        self._place = Place(region, endpoint, spec.name, kind=kind)
        self._leaving: set[Instance] = set()
        self._sessions: dict[str, Instance] = {}
        self._hurried = False
        self._stopped = False

    @property
    def instance_count(self) -> int:
        return len(self.instances)

    async def start(self) -> None:
        """Return when all instances are in service. Raises the first error, and then leaves nothing behind."""
        try:
            await self._grow(self.spec.instance_count)
        except BaseException:
            await self.stop(drain_s=0)
            raise

    async def resize(self, count: int) -> None:
        """Grow or shrink. Instances that leave finish their invocations; others load their models on demand."""
        leaving, self.instances = self.instances[count:], self.instances[:count]
        await self._stop_all(leaving, DRAIN_S)
        await self._grow(count - len(self.instances))

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Stop all instances, and those that a cancelled resize has left."""
        self._stopped = True
        leaving, self.instances = self.instances, []
        await self._stop_all([*leaving, *self._leaving], drain_s)

    def hurry(self) -> None:
        """Let instances that leave not finish their invocations."""
        self._hurried = True

    async def _stop_all(self, instances: list[Instance], drain_s: float) -> None:
        self._leaving.update(instances)
        await asyncio.gather(*(self._drain_and_stop(instance, drain_s) for instance in instances))

    async def _drain_and_stop(self, instance: Instance, drain_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + drain_s
        while instance.outstanding and not self._hurried and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_RETRY_PAUSE_S)
        await instance.stop()
        self._leaving.discard(instance)

    async def _grow(self, count: int) -> None:
        new = [self._new_instance() for _ in range(count)]
        try:
            results = await asyncio.gather(*(instance.start() for instance in new), return_exceptions=True)
        except asyncio.CancelledError:
            await asyncio.gather(*(instance.stop() for instance in new))
            raise
        errors = [error for error in results if isinstance(error, BaseException)]
        started = [instance for instance, error in zip(new, results, strict=True) if error is None]
        if errors:
            await asyncio.gather(*(instance.stop() for instance in started))
            raise errors[0]
        self.instances += started

    def _new_instance(self) -> Instance:
        identifier = f"i-{secrets.token_hex(8)}"
        return Instance(self._platform, replace(self._place, instance=identifier), self.spec)

    async def invoke(self, request: InvocationRequest) -> ContainerResponse:
        """Return a container's response. Raises ModelNotReady and ModelServingError.

        An invocation that reached no model is tried again, on another instance if there is one, until its timeout.
        """
        deadline = asyncio.get_running_loop().time() + request.timeout_s
        losses = 0
        while True:
            if self.successor is not None and (self._stopped or not self.instances):
                return await self.successor.invoke(request)
            if self._stopped:
                raise ContainerGoneError("the variant's instances have been stopped")
            instance = self._of_session(request) or self._choose(request)
            late = asyncio.get_running_loop().time() > deadline
            if instance is not None:
                try:
                    response = await instance.invoke(request)
                    self._update_sessions(response, instance)
                    return response
                except ContainerGoneError as error:
                    # A model that ends each container that loads it must not end one after the other.
                    losses += isinstance(error, LostWhileLoadingError)
                    if late or not error.may_retry or losses > 1:
                        raise
            elif late:
                raise ContainerGoneError("no instance came into service in time")
            await asyncio.sleep(_RETRY_PAUSE_S)

    def has_session(self, session: str) -> bool:
        """Return whether an instance that serves has opened the session."""
        instance = self._sessions.get(session)
        return instance is not None and instance in self.instances

    def _of_session(self, request: InvocationRequest) -> Instance | None:
        """Return the instance whose container opened the request's session, while that is in service."""
        instance = self._sessions.get(request.headers.get(_SESSION, ""))
        return instance if instance is not None and instance in self.instances and instance.in_service else None

    def _update_sessions(self, response: ContainerResponse, instance: Instance) -> None:
        """Note a session that a container opened or closed (botocore, InvokeEndpoint)."""
        if opened := response.headers.get(_NEW_SESSION.lower()):
            self._sessions[opened.partition(";")[0].strip()] = instance
            if len(self._sessions) > _MAX_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
        if closed := response.headers.get(_CLOSED_SESSION.lower()):
            self._sessions.pop(closed.strip(), None)

    def _choose(self, request: InvocationRequest) -> Instance | None:
        """Choose an instance that has the model, unless it is overloaded; else the one with the least to do."""
        serving = [instance for instance in self.instances if instance.in_service]
        if len(serving) < 2:
            return serving[0] if serving else None
        if request.target_model is None:
            return min(serving, key=lambda instance: instance.outstanding)
        holding = [(copy.in_flight, instance) for instance in serving if (copy := instance.copy_of(request))]
        if holding:
            in_flight, best = min(holding, key=lambda pair: pair[0])
            others = [instance for instance in serving if not instance.copy_of(request)]
            if in_flight < SPREAD_AT or not others:
                return best
            other = min(others, key=_workload)
            return other if other.outstanding < best.outstanding else best
        return min(serving, key=_workload)

    async def snapshot(self) -> list[dict[str, Any]]:
        """Describe the instances in JSON."""
        return list(await asyncio.gather(*(instance.snapshot() for instance in self.instances)))


def _workload(instance: Instance) -> tuple[int, int]:
    """Return invocations in progress and models."""
    return instance.outstanding, instance.model_count
