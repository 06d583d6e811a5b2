"""How an update replaces the fleets of an endpoint: UpdateEndpoint's DeploymentConfig, free of AWS's JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from polyhost.emulator.hosting.interfaces import VariantSpec


class Strategy(StrEnum):
    """How traffic gets to the new fleet: the types of TrafficRoutingConfiguration, and rolling updates."""

    ALL_AT_ONCE = "ALL_AT_ONCE"
    CANARY = "CANARY"
    LINEAR = "LINEAR"
    ROLLING = "ROLLING"


class CapacityType(StrEnum):
    """Units of a capacity (botocore, CapacitySizeType)."""

    INSTANCE_COUNT = "INSTANCE_COUNT"
    CAPACITY_PERCENT = "CAPACITY_PERCENT"


@dataclass(frozen=True)
class CapacitySize:
    """A part of a fleet."""

    type: CapacityType
    value: int

    def percent_of(self, count: int) -> float:
        """Return how much of a variant of so many instances it is."""
        return float(self.value) if self.type is CapacityType.CAPACITY_PERCENT else 100 * self.value / max(1, count)

    def instances_of(self, count: int) -> int:
        """Return the instances that it is of so many, at least one of those that there are."""
        if self.type is CapacityType.INSTANCE_COUNT:
            return min(self.value, count)
        return min(count, max(1, math.floor(count * self.value / 100)))

    def share(self, specs: Sequence[VariantSpec]) -> float:
        """Return how much of an endpoint's traffic it stands for: by the variants' weights, where they differ."""
        production = [spec for spec in specs if not spec.shadow]
        weights = [spec.weight for spec in production]
        if not sum(weights):
            weights = [1.0] * len(production)
        percents = [self.percent_of(spec.instance_count) for spec in production]
        mean = sum(weight * percent for weight, percent in zip(weights, percents, strict=True)) / sum(weights)
        return min(1.0, mean / 100)


@dataclass(frozen=True)
class DeploymentPolicy:
    """A strategy with its sizes and waits, in seconds as the request has them.

    `size` is the canary's, a linear step's or a batch's. A wait follows each step, `termination_wait_s` the last one.
    `limit_s` is for all of it, with None for no limit. `rollback_size` is the batch of a rolling update's rollback.
    """

    strategy: Strategy = Strategy.ALL_AT_ONCE
    size: CapacitySize | None = None
    wait_s: int = 0
    termination_wait_s: int = 0
    limit_s: int | None = None
    rollback_size: CapacitySize | None = None
    alarms: tuple[str, ...] = ()

    def shares(self, specs: Sequence[VariantSpec]) -> list[float]:
        """Return the new fleet's shares of the traffic, step by step; the last one is all of it."""
        if self.size is None:
            return [1.0]
        step = self.size.share(specs)
        if self.strategy is Strategy.CANARY:
            return [step, 1.0]
        number = math.ceil(round(1 / step, 6))
        return [*(step * count for count in range(1, number)), 1.0]

    def batches(self, specs: Sequence[VariantSpec]) -> int:
        """Return the batches of a rolling update."""
        assert self.size is not None
        counts = [spec.instance_count for spec in specs if spec.instance_count]
        return max((math.ceil(count / self.size.instances_of(count)) for count in counts), default=1)

    def waits_s(self, specs: Sequence[VariantSpec]) -> int:
        """Return the sum of all waits."""
        steps = self.batches(specs) if self.strategy is Strategy.ROLLING else len(self.shares(specs))
        return self.wait_s * steps + self.termination_wait_s
