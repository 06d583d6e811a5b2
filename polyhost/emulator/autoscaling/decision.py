"""What is done when alarms call for scaling: one capacity, or a reason why there is no other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from polyhost.emulator.autoscaling.policies import ScalingPolicy


class CapacityLimits(NamedTuple):
    """The least and the most capacity of a target."""

    least: int
    most: int

    def within(self, capacity: int) -> int:
        """Return the nearest capacity that is allowed."""
        return min(max(capacity, self.least), self.most)


@dataclass(frozen=True)
class Trigger:
    """An alarm in ALARM that calls for a policy."""

    policy_name: str
    policy: ScalingPolicy
    alarm: str
    value: float
    threshold: float
    scales_out: bool = True
    scales_in: bool = True

    def asks_for_more(self, current: int) -> bool:
        return self.policy.capacity(current, self.value, self.threshold) > current

    @property
    def cause(self) -> str:
        return f"monitor alarm {self.alarm} in state ALARM triggered policy {self.policy_name}"


@dataclass(frozen=True)
class CoolDown:
    """The time in which the last change of a target is to take effect."""

    until: float
    before: int  # the capacity before that change
    scaled_out: bool


class NotScaledCode(StrEnum):
    """Why nothing is done (Application Auto Scaling API reference, NotScaledReason)."""

    AT_MOST = "AlreadyAtMaxCapacity"
    AT_LEAST = "AlreadyAtMinCapacity"


@dataclass(frozen=True)
class Decision:
    """A capacity to set or, with a code, to keep."""

    capacity: int
    trigger: Trigger
    code: NotScaledCode | None = None


def decide(
    triggers: Sequence[Trigger], current: int, limits: CapacityLimits, cool_down: CoolDown | None, now: float
) -> Decision | None:
    """Return the largest capacity that is asked for, or else the one that capacity is removed to.

    While a scale-out cools down, what it added counts as part of what is asked for. Nothing is removed meanwhile.
    """
    cools = cool_down is not None and now < cool_down.until
    base = cool_down.before if cools and cool_down is not None and cool_down.scaled_out else current
    outs = _wanted([item for item in triggers if item.scales_out], base, lambda capacity: capacity > current)
    if outs:
        wanted, trigger = max(outs, key=lambda pair: pair[0])
        if limits.within(wanted) > current:
            return Decision(limits.within(wanted), trigger)
        return Decision(current, trigger, NotScaledCode.AT_MOST)
    ins = _wanted([item for item in triggers if item.scales_in], current, lambda capacity: capacity < current)
    if not ins or cools:
        return None
    wanted, trigger = max(ins, key=lambda pair: pair[0])
    if limits.within(wanted) < current:
        return Decision(limits.within(wanted), trigger)
    return Decision(current, trigger, NotScaledCode.AT_LEAST)


def _wanted(triggers: Sequence[Trigger], base: int, counts: Callable[[int], bool]) -> list[tuple[int, Trigger]]:
    found = [(item.policy.capacity(base, item.value, item.threshold), item) for item in triggers]
    return [pair for pair in found if counts(pair[0])]
