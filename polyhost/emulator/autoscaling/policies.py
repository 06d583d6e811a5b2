"""Scaling policies: the capacity that a value of a metric asks for (Application Auto Scaling user guide)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

_DEFAULT_COOLDOWN_S = 300.0
_ROUNDING = 1e-9  # 3 instances at 1.0000000001 of the target are enough


@dataclass(frozen=True)
class TargetTracking:
    """Keeps a metric that falls as the capacity grows near a value.

    Cool-downs are seconds before scaling by `--time-scale`.
    """

    target: float
    out_cooldown_s: float = _DEFAULT_COOLDOWN_S
    in_cooldown_s: float = _DEFAULT_COOLDOWN_S
    scales_in: bool = True

    def capacity(self, current: int, value: float, threshold: float) -> int:
        """Return the capacity that is wanted, given the value of an alarm's metric and the alarm's threshold."""
        return math.ceil(current * value / self.target - _ROUNDING)


class AdjustmentType(StrEnum):
    """How an adjustment is meant (botocore, AdjustmentType)."""

    CHANGE = "ChangeInCapacity"
    PERCENT = "PercentChangeInCapacity"
    EXACT = "ExactCapacity"


class Step(NamedTuple):
    """An adjustment for values whose distance from the threshold is between two bounds."""

    lower: float
    upper: float
    adjustment: int

    def includes(self, distance: float) -> bool:
        # Above the threshold the lower bound belongs to the step, below it the upper one.
        if self.lower >= 0:
            return self.lower <= distance < self.upper
        return self.lower < distance <= self.upper if self.upper <= 0 else self.lower < distance < self.upper


@dataclass(frozen=True)
class StepScaling:
    """Adds or removes capacity by how far a metric is from an alarm's threshold."""

    adjustment_type: AdjustmentType
    steps: tuple[Step, ...]
    out_cooldown_s: float = _DEFAULT_COOLDOWN_S
    in_cooldown_s: float = _DEFAULT_COOLDOWN_S
    least_change: int = 0

    def capacity(self, current: int, value: float, threshold: float) -> int:
        """Return the capacity that is wanted, given the value of an alarm's metric and the alarm's threshold."""
        step = next((step for step in self.steps if step.includes(value - threshold)), None)
        if step is None:
            return current
        if self.adjustment_type is AdjustmentType.EXACT:
            return step.adjustment
        if self.adjustment_type is AdjustmentType.CHANGE:
            return current + step.adjustment
        return current + self._of_percent(current * step.adjustment / 100)

    def _of_percent(self, change: float) -> int:
        """Round a change towards zero, but to 1 at least."""
        magnitude = max(math.floor(abs(change)), 1, self.least_change) if change else 0
        return int(math.copysign(magnitude, change))


ScalingPolicy = TargetTracking | StepScaling


def scaling_policy(policy: Any) -> ScalingPolicy:
    """Translate a policy of moto's. Raises ValueError."""
    if policy.policy_type == "TargetTrackingScaling":
        return target_tracking(policy.target_tracking_scaling_policy_configuration)
    return step_scaling(policy.step_scaling_policy_configuration)


def target_tracking(config: Mapping[str, Any]) -> TargetTracking:
    """Translate a TargetTrackingScalingPolicyConfiguration. Raises ValueError."""
    if config["TargetValue"] <= 0:
        raise ValueError(f"TargetValue is {config['TargetValue']}; it must be above 0.")
    return TargetTracking(
        target=config["TargetValue"],
        out_cooldown_s=_seconds(config, "ScaleOutCooldown"),
        in_cooldown_s=_seconds(config, "ScaleInCooldown"),
        scales_in=not config.get("DisableScaleIn"),
    )


def step_scaling(config: Mapping[str, Any]) -> StepScaling:
    """Translate a StepScalingPolicyConfiguration. Raises ValueError."""
    if missing := [name for name in ("AdjustmentType", "StepAdjustments") if not config.get(name)]:
        raise ValueError(f"A step scaling policy needs {' and '.join(missing)}.")
    steps = tuple(sorted(_step(item) for item in config["StepAdjustments"]))
    for step in steps:
        if step.lower >= step.upper:
            raise ValueError("The lower bound of a step adjustment must be less than its upper bound.")
    for one, following in pairwise(steps):
        if one.upper > following.lower:
            raise ValueError("There is overlap between the step adjustments; their intervals must not overlap.")
        if one.upper < following.lower:
            raise ValueError("There is a gap between the step adjustments; their intervals must follow one another.")
    cooldown = _seconds(config, "Cooldown")
    least = config.get("MinAdjustmentMagnitude") or 0
    return StepScaling(AdjustmentType(config["AdjustmentType"]), steps, cooldown, cooldown, least)


def _step(item: Mapping[str, Any]) -> Step:
    lower, upper = item.get("MetricIntervalLowerBound"), item.get("MetricIntervalUpperBound")
    return Step(
        -math.inf if lower is None else lower, math.inf if upper is None else upper, int(item["ScalingAdjustment"])
    )


def _seconds(config: Mapping[str, Any], name: str) -> float:
    value = config.get(name)
    if value is not None and value < 0:
        raise ValueError(f"{name} is {value}; it must be 0 or more.")
    return _DEFAULT_COOLDOWN_S if value is None else float(value)
