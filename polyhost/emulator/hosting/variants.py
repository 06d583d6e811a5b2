"""The variants of an endpoint, each with a fleet of instances of its own."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.failure_reasons import failure_reason
from polyhost.emulator.hosting.fleet import Fleet
from polyhost.emulator.hosting.instance import Instance
from polyhost.emulator.hosting.interfaces import Platform, ServerlessCapacity, VariantFleet, VariantSpec
from polyhost.emulator.hosting.serverless.fleet import ServerlessFleet
from polyhost.emulator.hosting.shadow_copies import ShadowCopies
from polyhost.emulator.telemetry.recorder import EventKind, Place


@dataclass
class Variant:
    """A variant with its instances or serverless containers; what is `desired` was asked for last."""

    spec: VariantSpec
    fleet: VariantFleet
    weight: float
    desired_weight: float
    desired_count: int
    desired_capacity: ServerlessCapacity | None = None
    digests: tuple[str, ...] = ()  # of the containers' images
    started: float = 0.0
    copies: ShadowCopies = field(default_factory=ShadowCopies)  # none unless it is a shadow variant
    config: str = ""  # the endpoint configuration that the variant is of

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def current_spec(self) -> VariantSpec:
        """The specification with the count, the capacity and the weight that were asked for last."""
        return replace(
            self.spec,
            instance_count=self.desired_count,
            weight=self.desired_weight,
            serverless=self.desired_capacity,
        )

    @property
    def instances(self) -> Sequence[Instance]:
        """The instances that serve, none for a serverless variant."""
        return self.fleet.instances if isinstance(self.fleet, Fleet) else ()

    @property
    def capacity(self) -> ServerlessCapacity | None:
        """What a serverless variant may use now."""
        return self.fleet.capacity if isinstance(self.fleet, ServerlessFleet) else None

    async def resize(self) -> None:
        """Have as many instances, or the serverless capacity, as desired."""
        if isinstance(self.fleet, ServerlessFleet):
            if self.desired_capacity is not None and self.desired_capacity != self.fleet.capacity:
                await self.fleet.resize(self.desired_capacity)
        elif isinstance(self.fleet, Fleet) and self.fleet.instance_count != self.desired_count:
            await self.fleet.resize(self.desired_count)


@dataclass(frozen=True)
class VariantChanges:
    """What UpdateEndpointWeightsAndCapacities changes, by the variants' names."""

    weights: dict[str, float]
    counts: dict[str, int]
    capacities: dict[str, ServerlessCapacity] = field(default_factory=dict)

    def applied_to(self, spec: VariantSpec) -> VariantSpec:
        """Return what a variant is to be."""
        return replace(
            spec,
            instance_count=self.counts.get(spec.name, spec.instance_count),
            weight=self.weights.get(spec.name, spec.weight),
            serverless=self.capacities.get(spec.name, spec.serverless),
        )


async def start_variants(
    platform: Platform, region: str, endpoint: str, config: str, specs: Sequence[VariantSpec]
) -> list[Variant]:
    """Start a fleet for each specification: all of them, or none.

    Raises ContainerError with the text of a FailureReason, whatever failed.
    """
    fleets = [_new_fleet(platform, region, endpoint, spec) for spec in specs]
    try:
        results = await asyncio.gather(*(_start(platform, fleet) for fleet in fleets), return_exceptions=True)
        if errors := [result for result in results if isinstance(result, BaseException)]:
            raise errors[0]
    except BaseException:
        await asyncio.gather(*(fleet.stop(0) for fleet in fleets))
        raise
    started = [result for result in results if not isinstance(result, BaseException)]
    return [
        Variant(
            spec=spec,
            fleet=fleet,
            weight=spec.weight,
            desired_weight=spec.weight,
            desired_count=spec.instance_count,
            desired_capacity=spec.serverless,
            digests=digests,
            started=time.time(),
            config=config,
        )
        for spec, fleet, digests in zip(specs, fleets, started, strict=True)
    ]


def _new_fleet(platform: Platform, region: str, endpoint: str, spec: VariantSpec) -> VariantFleet:
    kind = Fleet if spec.serverless is None else ServerlessFleet
    return kind(platform, region, endpoint, spec)


async def _start(platform: Platform, fleet: VariantFleet) -> tuple[str, ...]:
    """Return the digests of the containers' images."""
    try:
        containers = fleet.spec.containers
        checks = (platform.driver.check(item.image, item.multi_model, len(containers) > 1) for item in containers)
        digests = await asyncio.gather(*checks)
        await fleet.start()
    except Exception as error:
        raise ContainerError(failure_reason(error, fleet.spec)) from error
    return tuple(digests)


async def resize_variants(variants: Sequence[Variant], changes: VariantChanges) -> None:
    """Apply changes: all of them, or none. Raises the first error."""
    before = VariantChanges(
        {variant.name: variant.desired_weight for variant in variants},
        {variant.name: variant.desired_count for variant in variants},
        {variant.name: variant.desired_capacity for variant in variants if variant.desired_capacity is not None},
    )
    _set_desired(variants, changes)
    try:
        results = await asyncio.gather(*(variant.resize() for variant in variants), return_exceptions=True)
        if errors := [result for result in results if result is not None]:
            raise errors[0]
    except Exception:
        _set_desired(variants, before)
        await asyncio.gather(*(variant.resize() for variant in variants), return_exceptions=True)
        raise
    for variant in variants:
        variant.weight = variant.desired_weight


def _set_desired(variants: Sequence[Variant], changes: VariantChanges) -> None:
    for variant in variants:
        variant.desired_weight = changes.weights.get(variant.name, variant.desired_weight)
        variant.desired_count = changes.counts.get(variant.name, variant.desired_count)
        variant.desired_capacity = changes.capacities.get(variant.name, variant.desired_capacity)


class LeavingFleets:
    """Fleets that were replaced, and finish the invocations that they have."""

    def __init__(self, platform: Platform, place: Place) -> None:
        self._recorder = platform.recorder
        self._place = place
        self._stops: dict[VariantFleet, asyncio.Task[None]] = {}

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

    def _on_stopped(self, fleet: VariantFleet, task: "asyncio.Task[None]") -> None:
        self._stops.pop(fleet, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            message = f"variant {fleet.spec.name} did not stop properly: {error!r}"
            self._recorder.event(EventKind.FAILED, self._place, message)
