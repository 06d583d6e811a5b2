"""An endpoint's life: Creating, InService, Updating, Deleting or Failed; and its variants' shares of the traffic."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.errors import ContainerError, DownloadError, EmulatorError, ImageError, ModelDataMissing, ValidationError
from emulator.fleet import Fleet, Platform
from emulator.hosting import VariantSpec
from emulator.recorder import Place

FAILURE_REASON_LENGTH = 1024  # botocore, FailureReason
_TRANSIENT = ("Creating", "Updating", "Deleting")


@dataclass
class Variant:
    """`desired_count` and `desired_weight` are what was asked for last."""

    spec: VariantSpec
    fleet: Fleet
    weight: float
    desired_weight: float
    desired_count: int

    @property
    def name(self) -> str:
        return self.spec.name


class Endpoint:
    """Every change runs as a task of its own, one at a time; `status` tells how it goes."""

    def __init__(self, platform: Platform, region: str, name: str, arn: str, config_name: str) -> None:
        self.region = region
        self.name = name
        self.arn = arn
        self.config_name = config_name
        self.status = "Creating"
        self.failure_reason: str | None = None
        self.variants: list[Variant] = []
        self.next_config: str | None = None
        self._platform = platform
        self._place = Place(region, name)
        self._changed = asyncio.Event()
        self._told = False
        self._change: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()

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

    async def until_changed(self, timeout_s: float) -> None:
        """At once for the first who asks after a change; those who ask again wait for the next change, bounded.

        boto3's waiter sleeps 30 s between two looks, so a look that waits makes it quick.
        """
        if not self._told:
            self._told = True
        elif self.busy:
            try:
                await asyncio.wait_for(self._changed.wait(), timeout_s)
            except TimeoutError:
                return

    # Changes

    def create(self, specs: Sequence[VariantSpec]) -> None:
        self._begin("Creating", self._create(specs))

    def update(self, config_name: str, specs: Sequence[VariantSpec]) -> None:
        self.next_config = config_name
        self._begin("Updating", self._update(config_name, specs))

    def resize(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        self._begin("Updating", self._resize(weights, counts))

    async def delete(self) -> None:
        self._become("Deleting")
        await self.stop()
        self._become("Deleted")

    async def stop(self, drain_s: float = 60.0) -> None:
        if self._change is not None and self._change is not asyncio.current_task():
            self._change.cancel()
            await asyncio.gather(self._change, return_exceptions=True)
        if not drain_s:
            for task in self._retiring:
                task.cancel()
        variants, self.variants = self.variants, []
        await asyncio.gather(*(variant.fleet.stop(drain_s) for variant in variants))
        await asyncio.gather(*self._retiring, return_exceptions=True)

    async def _create(self, specs: Sequence[VariantSpec]) -> None:
        try:
            self.variants = await self._started(specs)
        except EmulatorError as error:
            self._become("Failed", error)
        else:
            self._become("InService")

    async def _update(self, config_name: str, specs: Sequence[VariantSpec]) -> None:
        """Blue and green: the old fleets serve until the new ones do, then finish what they have."""
        try:
            started = await self._started(specs)
        except EmulatorError as error:
            self._become("InService", error)  # a failed update leaves what was (aws-controllers-k8s, issue 7)
        else:
            old, self.variants, self.config_name = self.variants, started, config_name
            for variant in old:
                self._retire(variant.fleet)
            self._become("InService")
        self.next_config = None

    async def _resize(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        for variant in self.variants:
            variant.weight = variant.desired_weight = weights.get(variant.name, variant.weight)
            variant.desired_count = counts.get(variant.name, variant.desired_count)
        try:
            await asyncio.gather(*(variant.fleet.resize(variant.desired_count) for variant in self.variants))
        except EmulatorError as error:
            for variant in self.variants:
                variant.desired_count = len(variant.fleet.instances)
            self._become("InService", error)
        else:
            self._become("InService")

    async def _started(self, specs: Sequence[VariantSpec]) -> list[Variant]:
        fleets = [Fleet(self._platform, self.region, self.name, spec) for spec in specs]
        results = await asyncio.gather(*(self._start(fleet) for fleet in fleets), return_exceptions=True)
        errors = [result for result in results if result is not None]
        if errors:
            await asyncio.gather(*(fleet.stop(0) for fleet in fleets))
            raise errors[0]
        return [
            Variant(spec, fleet, spec.weight, spec.weight, spec.instance_count)
            for spec, fleet in zip(specs, fleets, strict=True)
        ]

    async def _start(self, fleet: Fleet) -> None:
        try:
            await fleet.start()
        except EmulatorError as error:
            raise ContainerError(_reason(error, fleet.spec)) from error

    def _retire(self, fleet: Fleet) -> None:
        task = asyncio.get_running_loop().create_task(fleet.stop())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    def _begin(self, status: str, work: Coroutine[Any, Any, None]) -> None:
        self._become(status)
        self._change = asyncio.create_task(work)

    def _become(self, status: str, error: EmulatorError | None = None) -> None:
        self.status = status
        self.failure_reason = str(error)[:FAILURE_REASON_LENGTH] if error is not None else None
        self._told = False
        self._changed.set()
        self._changed = asyncio.Event()
        self._platform.recorder.event("endpoint", self._place, f"{status}: {error}" if error else status)


def _reason(error: EmulatorError, spec: VariantSpec) -> str:
    """In the service's words, where they are known, and with the cause."""
    if isinstance(error, ModelDataMissing | DownloadError):
        return (
            f'Failed to download model data for container "container_1" from URL: "{spec.container.model_data_url}".'
            " Please ensure that there is an object located at the URL and that the role passed to CreateModel has"
            f" permissions to download the object. ({error})"
        )
    if isinstance(error, ImageError):
        return str(error)
    return (
        f"The primary container for production variant {spec.name} did not pass the ping health check."
        f" Please check CloudWatch logs for this endpoint. ({error})"
    )
