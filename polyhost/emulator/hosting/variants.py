"""The variants of an endpoint, each with a fleet of instances of its own."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.failure_reasons import failure_reason
from polyhost.emulator.hosting.fleet import Fleet
from polyhost.emulator.hosting.interfaces import Platform, VariantSpec
from polyhost.emulator.hosting.shadow_copies import ShadowCopies
from polyhost.emulator.telemetry.recorder import EventKind, Place


@dataclass
class Variant:
    """A variant with its instances. `desired_count` and `desired_weight` were asked for last."""

    spec: VariantSpec
    fleet: Fleet
    weight: float
    desired_weight: float
    desired_count: int
    digests: tuple[str, ...] = ()  # of the containers' images
    started: float = 0.0
    copies: ShadowCopies = field(default_factory=ShadowCopies)  # none unless it is a shadow variant

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def current_spec(self) -> VariantSpec:
        """The specification with the count and the weight that were asked for last."""
        return replace(self.spec, instance_count=self.desired_count, weight=self.desired_weight)

    async def resize(self) -> None:
        """Have as many instances as desired."""
        if len(self.fleet.instances) != self.desired_count:
            await self.fleet.resize(self.desired_count)


async def start_variants(platform: Platform, region: str, endpoint: str, specs: Sequence[VariantSpec]) -> list[Variant]:
    """Start a fleet for each specification: all of them, or none.

    Raises ContainerError with the text of a FailureReason, whatever failed.
    """
    fleets = [Fleet(platform, region, endpoint, spec) for spec in specs]
    try:
        results = await asyncio.gather(*(_start(platform, fleet) for fleet in fleets), return_exceptions=True)
        if errors := [result for result in results if isinstance(result, BaseException)]:
            raise errors[0]
    except BaseException:
        await asyncio.gather(*(fleet.stop(0) for fleet in fleets))
        raise
    started = [result for result in results if not isinstance(result, BaseException)]
    return [
        Variant(spec, fleet, spec.weight, spec.weight, spec.instance_count, digests, time.time())
        for spec, fleet, digests in zip(specs, fleets, started, strict=True)
    ]


async def _start(platform: Platform, fleet: Fleet) -> tuple[str, ...]:
    """Return the digests of the containers' images."""
    try:
        containers = fleet.spec.containers
        checks = (platform.driver.check(item.image, item.multi_model, len(containers) > 1) for item in containers)
        digests = await asyncio.gather(*checks)
        await fleet.start()
    except Exception as error:
        raise ContainerError(failure_reason(error, fleet.spec)) from error
    return tuple(digests)


async def resize_variants(variants: Sequence[Variant], weights: dict[str, float], counts: dict[str, int]) -> None:
    """Apply weights and counts by variant name: all of them, or none. Raises the first error."""
    before = {variant.name: (variant.desired_weight, variant.desired_count) for variant in variants}
    for variant in variants:
        variant.desired_weight = weights.get(variant.name, variant.desired_weight)
        variant.desired_count = counts.get(variant.name, variant.desired_count)
    try:
        results = await asyncio.gather(*(variant.resize() for variant in variants), return_exceptions=True)
        if errors := [result for result in results if result is not None]:
            raise errors[0]
    except Exception:
        for variant in variants:
            variant.desired_weight, variant.desired_count = before[variant.name]
        await asyncio.gather(*(variant.resize() for variant in variants), return_exceptions=True)
        raise
    for variant in variants:
        variant.weight = variant.desired_weight


class LeavingFleets:
    """Fleets that were replaced, and finish the invocations that they have."""

    def __init__(self, platform: Platform, place: Place) -> None:
        self._recorder = platform.recorder
        self._place = place
        self._stops: dict[Fleet, asyncio.Task[None]] = {}

    def add(self, variant: Variant, drain_s: float) -> None:
        """Begin to stop a variant's fleet; invocations may end within the drain time, copies may not."""
        variant.copies.cancel()
        fleet = variant.fleet
        task = asyncio.create_task(fleet.stop(0 if variant.spec.shadow else drain_s))
        self._stops[fleet] = task
        task.add_done_callback(partial(self._on_stopped, fleet))

    def hurry(self) -> None:
        """Stop the fleets without waiting for their invocations."""
        for fleet in self._stops:
            fleet.hurry()

    async def wait(self) -> None:
        """Return when all fleets have stopped."""
        await asyncio.gather(*self._stops.values(), return_exceptions=True)

    def _on_stopped(self, fleet: Fleet, task: "asyncio.Task[None]") -> None:
        self._stops.pop(fleet, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            message = f"variant {fleet.spec.name} did not stop properly: {error!r}"
            self._recorder.event(EventKind.FAILED, self._place, message)
