"""The capacity that policies ask for: rows from Application Auto Scaling's user guide, and of our own."""

import math
from typing import Any

import pytest

from polyhost.emulator.autoscaling.policies import step_scaling, target_tracking

STEPS = [
    {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 15, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 15, "MetricIntervalUpperBound": 25, "ScalingAdjustment": 2},
    {"MetricIntervalLowerBound": 25, "ScalingAdjustment": 3},
]
STEPS_IN = [
    {"MetricIntervalLowerBound": -10, "MetricIntervalUpperBound": 0, "ScalingAdjustment": -1},
    {"MetricIntervalUpperBound": -10, "ScalingAdjustment": -2},
]


@pytest.mark.parametrize(
    ("current", "value", "wanted"),
    [(1, 10, 1), (1, 20, 2), (2, 20.5, 5), (4, 2.5, 1), (3, 0, 0), (3, 10.0000000001, 3)],
)
def test_target_tracking(current: int, value: float, wanted: int) -> None:
    assert target_tracking({"TargetValue": 10}).capacity(current, value, 10) == wanted


@pytest.mark.parametrize(
    ("steps", "value", "wanted"),
    [
        (STEPS, 60, 11),
        (STEPS, 74, 11),
        (STEPS, 75, 12),
        (STEPS, 85, 13),
        (STEPS, 1000, 13),
        (STEPS, 59, 10),
        (STEPS_IN, 60, 9),
        (STEPS_IN, 51, 9),
        (STEPS_IN, 50, 8),
        (STEPS_IN, 0, 8),
        (STEPS_IN, 61, 10),
    ],
)
def test_steps_are_relative_to_the_threshold(steps: list[dict[str, Any]], value: float, wanted: int) -> None:
    policy = step_scaling({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps})
    assert policy.capacity(10, value, 60) == wanted


@pytest.mark.parametrize(
    ("adjustment", "current", "least", "wanted"),
    [(25, 4, None, 5), (25, 4, 2, 6), (10, 3, None, 4), (50, 7, None, 10), (-50, 7, None, 4), (-10, 3, None, 2)],
)
def test_percentages_are_rounded_towards_zero_but_to_one_at_least(
    adjustment: int, current: int, least: int | None, wanted: int
) -> None:
    step = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": adjustment}
    config = {"AdjustmentType": "PercentChangeInCapacity", "StepAdjustments": [step], "MinAdjustmentMagnitude": least}
    assert step_scaling(config).capacity(current, 1, 0) == wanted


def test_an_exact_capacity() -> None:
    step = {"MetricIntervalLowerBound": 0, "ScalingAdjustment": 7}
    assert step_scaling({"AdjustmentType": "ExactCapacity", "StepAdjustments": [step]}).capacity(2, 1, 0) == 7


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (
            [{"MetricIntervalLowerBound": 5, "MetricIntervalUpperBound": 1, "ScalingAdjustment": 1}],
            "less than its upper",
        ),
        ([*STEPS, {"MetricIntervalLowerBound": 5, "ScalingAdjustment": 1}], "overlap"),
        ([STEPS[0], STEPS[2]], "gap"),
        ([], "needs StepAdjustments"),
    ],
)
def test_steps_that_do_not_fit_are_rejected(steps: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        step_scaling({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps})


def test_targets_and_cooldowns_that_are_impossible_are_rejected() -> None:
    with pytest.raises(ValueError, match="TargetValue is 0"):
        target_tracking({"TargetValue": 0})
    with pytest.raises(ValueError, match="ScaleInCooldown is -1"):
        target_tracking({"TargetValue": 1, "ScaleInCooldown": -1})
    assert target_tracking({"TargetValue": math.pi}).out_cooldown_s == 300
