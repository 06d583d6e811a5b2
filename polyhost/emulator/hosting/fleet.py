"""The instances of one variant of an endpoint, and which of them takes a call."""

import asyncio
import secrets
from typing import Any

from polyhost.emulator.errors import ContainerGone
from polyhost.emulator.hosting.instance import Instance, Platform
from polyhost.emulator.hosting.interfaces import Answer, Call, VariantSpec
from polyhost.emulator.hosting.model_cache import LostWhileLoading
from polyhost.emulator.telemetry.recorder import Place

SPREAD_AT = 8  # calls of one model in flight on an instance, from which on another instance gets a copy of its own
RETRY_PAUSE_S = 0.05
DRAIN_S = 60.0  # an invocation takes no longer
MOST_SESSIONS = 10_000
_SESSION, _NEW_SESSION, _CLOSED_SESSION = (
    f"X-Amzn-SageMaker-{name}" for name in ("Session-Id", "New-Session-Id", "Closed-Session-Id")
)

__all__ = ["Fleet", "Platform"]


class Fleet:
    """Grows and shrinks; a call goes to where its model is."""

    def __init__(self, platform: Platform, region: str, endpoint: str, spec: VariantSpec) -> None:
        self.spec = spec
        self.instances: list[Instance] = []
        self._platform = platform
        self._region = region
        self._endpoint = endpoint
        self._leaving: set[Instance] = set()
        self._sessions: dict[str, Instance] = {}
        self._hurried = False
        self._stopped = False
        self.successor: Fleet | None = None  # takes over the calls that found no instance here

    async def start(self) -> None:
        """All instances in service; else raises what the first failure was, and leaves nothing behind."""
        try:
            await self._grow(self.spec.instance_count)
        except BaseException:
            await self.stop(drain_s=0)
            raise

    async def resize(self, count: int) -> None:
        """Instances that go finish the calls that they have; their models come back elsewhere on demand."""
        leaving, self.instances = self.instances[count:], self.instances[:count]
        await self._retire_all(leaving, DRAIN_S)
        await self._grow(count - len(self.instances))

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        self._stopped = True
        leaving, self.instances = self.instances, []
        await self._retire_all([*leaving, *self._leaving], drain_s)  # of which a resize that was cut short left some

    def hurry(self) -> None:
        """Instances that are leaving no longer finish what they have."""
        self._hurried = True

    async def _retire_all(self, instances: list[Instance], drain_s: float) -> None:
        self._leaving.update(instances)
        await asyncio.gather(*(self._retire(instance, drain_s) for instance in instances))

    async def _retire(self, instance: Instance, drain_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + drain_s
        while instance.outstanding and not self._hurried and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(RETRY_PAUSE_S)
        await instance.stop()
        self._leaving.discard(instance)

    async def _grow(self, count: int) -> None:
        new = [self._new() for _ in range(count)]
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

    def _new(self) -> Instance:
        identifier = f"i-{secrets.token_hex(8)}"
        return Instance(self._platform, Place(self._region, self._endpoint, self.spec.name, identifier), self.spec)

    async def invoke(self, call: Call) -> Answer:
        """Raises ModelNotReady, and every kind of HostingError."""
        deadline = asyncio.get_running_loop().time() + call.timeout_s
        lost = 0
        while True:
            if self._stopped:
                if self.successor is None:
                    raise ContainerGone("the variant's instances have been stopped")
                return await self.successor.invoke(call)
            instance = self._of_session(call) or self._choose(call.target_model)
            late = asyncio.get_running_loop().time() > deadline
            if instance is not None:
                try:
                    answer = await instance.invoke(call)
                    self._note_session(answer, instance)
                    return answer
                except ContainerGone as error:
                    lost += isinstance(error, LostWhileLoading)  # a model that ends containers is not to end them all
                    if late or not error.may_retry or lost > 1:
                        raise
            elif late:
                raise ContainerGone("no instance came into service in time")
            await asyncio.sleep(RETRY_PAUSE_S)

    def _of_session(self, call: Call) -> Instance | None:
        """The instance whose container opened the call's session, while it is there."""
        instance = self._sessions.get(call.headers.get(_SESSION, ""))
        return instance if instance is not None and instance in self.instances and instance.in_service else None

    def _note_session(self, answer: Answer, instance: Instance) -> None:
        """Sessions are the container's; it says when one begins and ends (botocore, InvokeEndpoint)."""
        if opened := answer.headers.get(_NEW_SESSION.lower()):
            self._sessions[opened.partition(";")[0].strip()] = instance
            if len(self._sessions) > MOST_SESSIONS:
                del self._sessions[next(iter(self._sessions))]
        if closed := answer.headers.get(_CLOSED_SESSION.lower()):
            self._sessions.pop(closed.strip(), None)

    def _choose(self, model: str | None) -> Instance | None:
        """Where the model is, while that instance is not overrun; else where there is least to do."""
        serving = [instance for instance in self.instances if instance.in_service]
        if len(serving) < 2:
            return serving[0] if serving else None
        if model is None:
            return min(serving, key=lambda instance: instance.outstanding)
        holding = [(copy.in_flight, instance) for instance in serving if (copy := instance.copies_of(model))]
        if holding:
            in_flight, best = min(holding, key=lambda pair: pair[0])
            others = [instance for instance in serving if not instance.copies_of(model)]
            if in_flight < SPREAD_AT or not others:
                return best
            other = min(others, key=_business)
            return other if other.outstanding < best.outstanding else best
        return min(serving, key=_business)

    async def snapshot(self) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(instance.snapshot() for instance in self.instances)))


def _business(instance: Instance) -> tuple[int, int]:
    return instance.outstanding, len(instance.cache.copies) if instance.cache is not None else 0
