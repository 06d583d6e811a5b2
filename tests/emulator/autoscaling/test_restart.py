"""Targets, policies, scheduled actions and activities survive SIGKILL with the same --state, and act again."""

from pathlib import Path
from typing import Any

import pytest

from tests.emulator.async_inference.machine import Machine
from tests.emulator.autoscaling.harness import TIME_SCALE, ScaledEndpoint

pytestmark = pytest.mark.slow


def test_scaling_survives_a_killed_emulator(tmp_path: Path) -> None:
    machine = Machine(tmp_path, time_scale=TIME_SCALE)
    with machine.emulator() as local:
        endpoint = ScaledEndpoint(local.emulator, "kept")
        endpoint.host()
        endpoint.register(2, 3)
        endpoint.track(10, endpoint.custom_metric())
        endpoint.step(1)
        action = {"ScheduledActionName": "later", "ScalableTargetAction": {"MinCapacity": 1}}
        endpoint.scaling.put_scheduled_action(**endpoint.target, Schedule="cron(0 9 1 1 ? 2199)", **action)
        endpoint.wait_for_count(2)
        endpoint.wait_for_activity(StatusCode="Successful")
        before = _records(endpoint)
        machine.kill(local)

    with machine.emulator() as local:
        endpoint = ScaledEndpoint(local.emulator, "kept")
        after = _records(endpoint)
        (first,) = before.pop("ScalingActivities")
        (same,) = after.pop("ScalingActivities")
        assert after == before
        # Its end is saved after a client can see it.
        assert same["ActivityId"] == first["ActivityId"]
        endpoint.local.wait("kept")
        with endpoint.shared_load([30.0]):
            endpoint.wait_for_count(3)


def _records(endpoint: ScaledEndpoint) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for operation, name in (
        ("describe_scalable_targets", "ScalableTargets"),
        ("describe_scaling_policies", "ScalingPolicies"),
        ("describe_scheduled_actions", "ScheduledActions"),
        ("describe_scaling_activities", "ScalingActivities"),
    ):
        found[name] = getattr(endpoint.scaling, operation)(ServiceNamespace="sagemaker")[name]
    return found
