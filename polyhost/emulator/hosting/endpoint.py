"""An endpoint: its lifecycle, and how its variants share the traffic."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polyhost.emulator.errors import EmulatorError
from polyhost.emulator.hosting.failure_reasons import failure_reason
from polyhost.emulator.hosting.fleet import DRAIN_S
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.hosting.traffic import choose
from polyhost.emulator.hosting.variants import LeavingFleets, Variant, resize_variants, start_variants
from polyhost.emulator.telemetry.recorder import EventKind, Place


class EndpointStatus(StrEnum):
    """States of an endpoint (botocore, EndpointStatus); the last one is never shown: the endpoint does not exist."""

    CREATING = "Creating"
    IN_SERVICE = "InService"
    UPDATING = "Updating"
    FAILED = "Failed"
    DELETING = "Deleting"
    DELETED = "Deleted"


_CREATING, _IN_SERVICE, _UPDATING = EndpointStatus.CREATING, EndpointStatus.IN_SERVICE, EndpointStatus.UPDATING
_FAILED, _DELETING, _DELETED = EndpointStatus.FAILED, EndpointStatus.DELETING, EndpointStatus.DELETED

_TRANSITIONS: dict[EndpointStatus, frozenset[EndpointStatus]] = {
    _CREATING: frozenset({_CREATING, _IN_SERVICE, _FAILED, _DELETING}),
    _IN_SERVICE: frozenset({_UPDATING, _DELETING}),
    _UPDATING: frozenset({_IN_SERVICE, _DELETING}),  # a failed update leaves what was (aws-controllers-k8s, issue 7)
    _FAILED: frozenset({_DELETING}),
    _DELETING: frozenset({_DELETING, _DELETED}),  # two requests at the same moment can both delete it
    _DELETED: frozenset({_DELETED}),
}


@dataclass(frozen=True)
class Deployment:
    """The change that an endpoint is going through."""

    config_name: str
    specs: tuple[VariantSpec, ...]
    since: float


class Endpoint:
    """Changes itself in tasks, one at a time; `status` shows the progress, and `on_change` is called at each step."""

    def __init__(
        self,
        platform: Platform,
        region: str,
        name: str,
        arn: str,
        config_name: str,
        on_change: Callable[["Endpoint"], None] = lambda _: None,
    ) -> None:
        self.region = region
        self.name = name
        self.arn = arn
        self.config_name = config_name
        self.status = EndpointStatus.CREATING
        self.failure_reason: str | None = None
        self.variants: list[Variant] = []
        self.deployment: Deployment | None = None
        self._platform = platform
        self._on_change = on_change
        self._place = Place(region, name)
        self._changed = asyncio.Event()
        self._described = False  # since the last change
        self._change: asyncio.Task[None] | None = None
        self._leaving = LeavingFleets(platform, self._place)

    @property
    def serving(self) -> bool:
        return self.status in (_IN_SERVICE, _UPDATING)

    @property
    def busy(self) -> bool:
        return self.status in (_CREATING, _UPDATING, _DELETING)

    def choose(self, target: str | None) -> Variant:
        """Choose a production variant by weight, or the one of this name. Raises ValidationError without it."""
        return choose(self.variants, self.name, target)

    async def until_changed(self, timeout_s: float, patient: bool) -> None:
        """Wait for the end of a change in progress, before the endpoint is described.

        Waiters of botocore are patient: they sleep 30 s between two requests, so a request that waits makes them quick.
        Other clients get the first description after a change at once.
        """
        if not self.busy:
            return
        waits, self._described = patient or self._described, True
        if waits:
            try:
                await asyncio.wait_for(self._changed.wait(), timeout_s)
            except TimeoutError:
                return

    # Changes

    def create(self, specs: Sequence[VariantSpec]) -> None:
        self.deployment = Deployment(self.config_name, tuple(specs), time.time())
        self._begin(_CREATING, self._create(specs))

    def update(self, config_name: str, specs: Sequence[VariantSpec]) -> None:
        self.deployment = Deployment(config_name, tuple(specs), time.time())
        self._begin(_UPDATING, self._update(config_name, specs))

    def resize(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        self._begin(_UPDATING, self._resize(weights, counts))

    async def delete(self) -> None:
        if self.status is _DELETED:
            return
        self._become(_DELETING)
        await self.stop()
        self._become(_DELETED)
        self._platform.recorder.remove(self._place)

    def fail(self, reason: str) -> None:
        self._become(_FAILED, reason)

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Stop all instances; without a drain time, also those that are leaving already."""
        if self._change is not None and self._change is not asyncio.current_task():
            self._change.cancel()
            await asyncio.gather(self._change, return_exceptions=True)
        variants, self.variants = self.variants, []
        for variant in variants:
            self._leaving.add(variant, drain_s)
        if not drain_s:
            self._leaving.hurry()
        await self._leaving.wait()

    async def _create(self, specs: Sequence[VariantSpec]) -> None:
        try:
            self.variants = await self._start(specs)
        except EmulatorError as error:
            self._become(_FAILED, str(error))
        else:
            self._become(_IN_SERVICE)

    async def _update(self, config_name: str, specs: Sequence[VariantSpec]) -> None:
        """Deploy blue/green: the old fleets serve until the new ones do, then finish what they have."""
        try:
            started = await self._start(specs)
        except EmulatorError as error:
            self._become(_IN_SERVICE, str(error))
        else:
            old, self.variants, self.config_name = self.variants, started, config_name
            by_name = {variant.name: variant.fleet for variant in started if not variant.spec.shadow}
            for variant in old:
                if not variant.spec.shadow:
                    variant.fleet.successor = by_name.get(variant.name, started[0].fleet)
                self._leaving.add(variant, DRAIN_S)
            self._become(_IN_SERVICE)

    async def _resize(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        try:
            await resize_variants(self.variants, weights, counts)
        except Exception as error:
            self._become(_IN_SERVICE, failure_reason(error, self.variants[0].spec))
        else:
            self._become(_IN_SERVICE)

    async def _start(self, specs: Sequence[VariantSpec]) -> list[Variant]:
        return await start_variants(self._platform, self.region, self.name, specs)

    def _begin(self, status: EndpointStatus, work: Coroutine[Any, Any, None]) -> None:
        self._become(status)
        self._change = asyncio.create_task(work)

    def _become(self, status: EndpointStatus, reason: str | None = None) -> None:
        assert status in _TRANSITIONS[self.status], f"{self.name} is {self.status} and cannot become {status}"
        self.status = status
        self.failure_reason = reason
        if not self.busy:
            self.deployment = None
        self._described = False
        self._on_change(self)
        self._changed.set()
        self._changed = asyncio.Event()
        self._platform.recorder.event(EventKind.ENDPOINT, self._place, f"{status}: {reason}" if reason else status)
