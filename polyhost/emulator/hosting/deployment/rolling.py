"""Rolling deployments: instances are replaced batch by batch, so that few more are needed than the endpoint has."""

import asyncio
import math
from dataclasses import replace

from polyhost.emulator.errors import ContainerError
from polyhost.emulator.hosting.deployment.policy import CapacitySize, CapacityType
from polyhost.emulator.hosting.deployment.rollout import Rollout
from polyhost.emulator.hosting.deployment.stages import DeploymentStage
from polyhost.emulator.hosting.deployment.watch import RollbackError
from polyhost.emulator.hosting.failure_reasons import failure_reason
from polyhost.emulator.hosting.fleet import Fleet
from polyhost.emulator.hosting.generations import Generation
from polyhost.emulator.hosting.interfaces import VariantSpec

_ALL = CapacitySize(CapacityType.CAPACITY_PERCENT, 100)


class RollingRollout(Rollout):
    """Each batch starts new instances, shifts their share of the traffic, and ends as much of the old fleet."""

    async def _advance(self) -> None:
        size, specs = self._policy.size, self.deployment.specs
        assert size is not None
        batches = self._policy.batches(specs)
        for number in range(1, batches + 1):
            async with self._watch.working():
                new = await self._grow_new(size, number)
                self._become(DeploymentStage.SHIFTING, f"replaces batch {number} of {batches}")
                share = 1.0 if number == batches else _mean_share(new)
                self._generations.shift(new, share)
                await self._shrink(self._old, new, share)
            await self._bake()

    async def _return(self) -> None:
        new = self.new
        if new is None:
            return
        size = self._policy.rollback_size or _ALL
        for number in range(1, _batches(self._old, size) + 1):
            try:
                await asyncio.gather(*(_grow(generation, size, number) for generation in self._old))
            except ContainerError as error:
                raise RollbackError(f"The old fleet cannot be brought up again: {error}") from error
            await self._revive()
            share = 1 - min(_mean_share(generation) for generation in self._old)
            self._generations.shift(new, min(share, new.share))
            await self._shrink([new], self._old[0], 1 - share)
        self._generations.drop(new, self._old[0])

    async def _grow_new(self, size: CapacitySize, number: int) -> Generation:
        """Bring the new fleet to the instances that it has after so many batches."""
        if self.new is None:
            new = await self._start([_first_batch(spec, size) for spec in self.deployment.specs])
            for variant, spec in zip(new.variants, self.deployment.specs, strict=True):
                variant.spec, variant.desired_count = spec, spec.instance_count
            return new
        await _grow(self.new, size, number)
        return self.new

    async def _shrink(self, leaving: list[Generation], taking: Generation, share: float) -> None:
        """End as many instances of fleets as the share that others have of the traffic."""
        for generation in leaving:
            for variant in generation.variants:
                if isinstance(variant.fleet, Fleet):
                    # What has chosen this fleet, and finds no instance in it any more, goes on there.
                    variant.fleet.successor = taking.fleet_for(variant.name)
                    kept = math.ceil(round(variant.desired_count * (1 - share), 6))
                    if kept < variant.fleet.instance_count:
                        await variant.fleet.resize(kept)


async def _grow(generation: Generation, size: CapacitySize, number: int) -> None:
    """Bring the fleets of a generation to the instances that they have after so many batches. Raises ContainerError."""
    for variant in generation.variants:
        if isinstance(variant.fleet, Fleet):
            variant.fleet.successor = None
            count = min(variant.desired_count, size.instances_of(variant.desired_count) * number)
            if count <= variant.fleet.instance_count:
                continue
            try:
                await variant.fleet.resize(count)
            except Exception as error:
                raise ContainerError(failure_reason(error, variant.spec)) from error


def _first_batch(spec: VariantSpec, size: CapacitySize) -> VariantSpec:
    return replace(spec, instance_count=size.instances_of(spec.instance_count))


def _mean_share(generation: Generation) -> float:
    """Return the share of its instances that a generation has."""
    wanted = sum(variant.desired_count for variant in generation.variants)
    return sum(variant.fleet.instance_count for variant in generation.variants) / wanted if wanted else 1.0


def _batches(generations: list[Generation], size: CapacitySize) -> int:
    """Return the batches in which the fleets of generations come up."""
    counts = [variant.desired_count for generation in generations for variant in generation.variants]
    return max((math.ceil(count / size.instances_of(count)) for count in counts if count), default=1)
