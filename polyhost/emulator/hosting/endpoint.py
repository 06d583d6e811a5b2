"""An endpoint's life: Creating, InService, Updating, Deleting or Failed; and its variants' shares of the traffic."""

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from polyhost.emulator.errors import (
    ContainerError,
    DownloadError,
    EmulatorError,
    HostingError,
    ImageError,
    ModelDataMissing,
    ValidationError,
)
from polyhost.emulator.hosting.downloads import missing
from polyhost.emulator.hosting.fleet import DRAIN_S, Fleet, Platform
from polyhost.emulator.hosting.interfaces import VariantSpec
from polyhost.emulator.telemetry.recorder import EventKind, Place

FAILURE_REASON_LENGTH = 1024  # botocore, FailureReason
_TRANSIENT = ("Creating", "Updating", "Deleting")


@dataclass
class Variant:
    """`desired_count` and `desired_weight` are what was asked for last; `digest` is the image's."""

    spec: VariantSpec
    fleet: Fleet
    weight: float
    desired_weight: float
    desired_count: int
    digest: str = ""
    started: float = 0.0

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def current_spec(self) -> VariantSpec:
        """With the count and the weight that it has by now."""
        return replace(self.spec, instance_count=self.desired_count, weight=self.desired_weight)


@dataclass(frozen=True)
class Deployment:
    """What an endpoint is on its way to."""

    config_name: str
    specs: tuple[VariantSpec, ...]
    since: float


class Endpoint:
    """Every change runs as a task of its own, one at a time; `status` tells how it goes, `on_change` hears of it."""

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
        self.status = "Creating"
        self.failure_reason: str | None = None
        self.variants: list[Variant] = []
        self.deployment: Deployment | None = None
        self._platform = platform
        self._on_change = on_change
        self._place = Place(region, name)
        self._changed = asyncio.Event()
        self._told = False
        self._change: asyncio.Task[None] | None = None
        self._leaving: dict[Fleet, asyncio.Task[None]] = {}

    # For calls

    @property
    def serving(self) -> bool:
        return self.status in ("InService", "Updating")

    @property
    def busy(self) -> bool:
        return self.status in _TRANSIENT

    def choose(self, target: str | None) -> Variant:
        """By weight, unless the call names its variant. Raises ValidationError for one that does not exist."""
        if target:
            for variant in self.variants:
                if variant.name == target:
                    return variant
            raise ValidationError(f"Variant {target} not found for endpoint {self.name}.")
        if len(self.variants) == 1:
            return self.variants[0]
        weights = [variant.weight for variant in self.variants]
        return random.choices(self.variants, weights if any(weights) else None)[0]  # noqa: S311 - no secret

    async def until_changed(self, timeout_s: float, patient: bool) -> None:
        """While a change is under way. Waiters are patient: theirs sleep 30 s between two looks, so that a look that
        waits makes them quick. For others the first look after a change is answered at once."""
        if not self.busy:
            return
        waits, self._told = patient or self._told, True
        if waits:
            try:
                await asyncio.wait_for(self._changed.wait(), timeout_s)
            except TimeoutError:
                return

    # Changes

    def create(self, specs: Sequence[VariantSpec]) -> None:
        self.deployment = Deployment(self.config_name, tuple(specs), time.time())
        self._begin("Creating", self._create(specs))

    def update(self, config_name: str, specs: Sequence[VariantSpec]) -> None:
        self.deployment = Deployment(config_name, tuple(specs), time.time())
        self._begin("Updating", self._update(config_name, specs))

    def resize(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        self._begin("Updating", self._resize(weights, counts))

    async def delete(self) -> None:
        self._become("Deleting")
        await self.stop()
        self._become("Deleted")
        self._platform.recorder.remove(self._place)

    def fail(self, reason: str) -> None:
        self._become("Failed", reason)

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        if self._change is not None and self._change is not asyncio.current_task():
            self._change.cancel()
            await asyncio.gather(self._change, return_exceptions=True)
        variants, self.variants = self.variants, []
        for variant in variants:
            self._retire(variant.fleet, drain_s)
        if not drain_s:
            for fleet in self._leaving:
                fleet.hurry()
        await asyncio.gather(*self._leaving.values(), return_exceptions=True)

    async def _create(self, specs: Sequence[VariantSpec]) -> None:
        try:
            self.variants = await self._started(specs)
        except EmulatorError as error:
            self._become("Failed", str(error))
        else:
            self._become("InService")

    async def _update(self, config_name: str, specs: Sequence[VariantSpec]) -> None:
        """Blue and green: the old fleets serve until the new ones do, then finish what they have."""
        try:
            started = await self._started(specs)
        except EmulatorError as error:
            self._become("InService", str(error))  # a failed update leaves what was (aws-controllers-k8s, issue 7)
        else:
            old, self.variants, self.config_name = self.variants, started, config_name
            by_name = {variant.name: variant.fleet for variant in started}
            for variant in old:
                variant.fleet.successor = by_name.get(variant.name, started[0].fleet)
                self._retire(variant.fleet)
            self._become("InService")

    async def _resize(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        """All of it, or nothing of it."""
        before = {variant.name: (variant.desired_weight, variant.desired_count) for variant in self.variants}
        for variant in self.variants:
            variant.desired_weight = weights.get(variant.name, variant.desired_weight)
            variant.desired_count = counts.get(variant.name, variant.desired_count)
        try:
            results = await asyncio.gather(*(_resized(variant) for variant in self.variants), return_exceptions=True)
            if errors := [result for result in results if result is not None]:
                raise errors[0]
        except Exception as error:
            for variant in self.variants:
                variant.desired_weight, variant.desired_count = before[variant.name]
            await asyncio.gather(*(_resized(variant) for variant in self.variants), return_exceptions=True)
            self._become("InService", _reason(error, self.variants[0].spec))
        else:
            for variant in self.variants:
                variant.weight = variant.desired_weight
            self._become("InService")

    async def _started(self, specs: Sequence[VariantSpec]) -> list[Variant]:
        fleets = [Fleet(self._platform, self.region, self.name, spec) for spec in specs]
        try:
            results = await asyncio.gather(*(self._start(fleet) for fleet in fleets), return_exceptions=True)
            if errors := [result for result in results if isinstance(result, BaseException)]:
                raise errors[0]
        except BaseException:
            await asyncio.gather(*(fleet.stop(0) for fleet in fleets))
            raise
        return [
            Variant(spec, fleet, spec.weight, spec.weight, spec.instance_count, str(digest), time.time())
            for spec, fleet, digest in zip(specs, fleets, results, strict=True)
        ]

    async def _start(self, fleet: Fleet) -> str:
        """The image's digest. Raises ContainerError with the text of a FailureReason, whatever went wrong."""
        try:
            container = fleet.spec.container
            digest = await self._platform.driver.check(container.image, container.multi_model)
            await fleet.start()
        except Exception as error:
            raise ContainerError(_reason(error, fleet.spec)) from error
        return digest

    def _retire(self, fleet: Fleet, drain_s: float = DRAIN_S) -> None:
        task = asyncio.create_task(fleet.stop(drain_s))
        self._leaving[fleet] = task
        task.add_done_callback(partial(self._has_left, fleet))

    def _has_left(self, fleet: Fleet, task: "asyncio.Task[None]") -> None:
        self._leaving.pop(fleet, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            message = f"variant {fleet.spec.name} did not end as it should: {error!r}"
            self._platform.recorder.event(EventKind.FAILED, self._place, message)

    def _begin(self, status: str, work: Coroutine[Any, Any, None]) -> None:
        self._become(status)
        self._change = asyncio.create_task(work)

    def _become(self, status: str, reason: str | None = None) -> None:
        self.status = status
        self.failure_reason = reason
        if not self.busy:
            self.deployment = None
        self._told = False
        self._on_change(self)
        self._changed.set()
        self._changed = asyncio.Event()
        self._platform.recorder.event(EventKind.ENDPOINT, self._place, f"{status}: {reason}" if reason else status)


async def _resized(variant: Variant) -> None:
    if len(variant.fleet.instances) != variant.desired_count:
        await variant.fleet.resize(variant.desired_count)


def _reason(error: BaseException, spec: VariantSpec) -> str:
    """In the service's words, where they are known, and with the cause, whose end tells most."""
    if isinstance(error, ImageError):
        return str(error)[:FAILURE_REASON_LENGTH]
    if isinstance(error, ModelDataMissing):
        return str(error)[:FAILURE_REASON_LENGTH]
    if isinstance(error, DownloadError):
        words = missing(spec.container.model_data_url)
    elif isinstance(error, HostingError):
        words = (
            f"The primary container for production variant {spec.name} did not pass the ping health check."
            " Please check CloudWatch logs for this endpoint."
        )
    else:  # the machine has no disk, no process or no port left
        words = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error."
    room = FAILURE_REASON_LENGTH - len(words) - len(" ()")
    cause = str(error) or repr(error)
    return f"{words} ({cause if len(cause) <= room else '…' + cause[-room + 1 :]})"
