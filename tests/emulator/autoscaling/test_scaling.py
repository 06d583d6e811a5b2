"""Instances follow load, alarms, limits and schedules, and no call is lost."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.autoscaling.harness import WAIT_S, ScaledEndpoint, soon
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
Make = Callable[..., ScaledEndpoint]
PER_INSTANCE = "SageMakerVariantInvocationsPerInstance"


def test_instances_follow_invocations_and_no_call_is_lost(scaled: Make) -> None:
    endpoint = scaled("by-invocations")
    endpoint.host()
    endpoint.register(1, 3)
    policy = endpoint.track(4, PER_INSTANCE)
    high, low = sorted(alarm["AlarmName"] for alarm in policy["Alarms"])
    prefix = "TargetTracking-endpoint/by-invocations/variant/AllTraffic-Alarm"
    assert high.startswith(f"{prefix}High-")
    assert low.startswith(f"{prefix}Low-")

    with endpoint.load(senders=8, pause_s=0.1) as answers:
        endpoint.wait_for_count(3)
    endpoint.wait_for_count(1)  # the load has ended
    assert set(answers) == {200}

    out = endpoint.activities()[-1]
    assert out["Cause"] == f"monitor alarm {high} in state ALARM triggered policy track"
    count = out["Description"].removeprefix("Setting desired instance count to ").rstrip(".")
    assert out["StatusCode"] == "Successful"
    assert out["StatusMessage"] == (
        f"Successfully set desired instance count to {count}. Change successfully fulfilled by sagemaker."
    )
    assert low in endpoint.activities()[0]["Cause"]


def test_a_load_that_doubles_doubles_the_instances(scaled: Make) -> None:
    endpoint = scaled("doubled")
    endpoint.host()
    endpoint.register(1, 4)
    endpoint.track(10, endpoint.custom_metric())
    load = [10.0]
    with endpoint.shared_load(load), endpoint.load(senders=2, pause_s=0.02) as answers:
        load.append(20.0)
        endpoint.wait_for_count(2)
        load.append(40.0)
        endpoint.wait_for_count(4)
        load.append(1000.0)
        activity = endpoint.wait_for_activity(StatusCode="Unfulfilled")
        load.append(0.0)
        endpoint.wait_for_count(1)
    assert set(answers) == {200}
    (reason,) = activity["NotScaledReasons"]
    assert reason == {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 4, "MinCapacity": 1, "CurrentCapacity": 4}
    assert "NotScaledReasons" not in {name for item in endpoint.activities() for name in item}


def test_metric_math(scaled: Make) -> None:
    endpoint = scaled("by-math")
    endpoint.host()
    endpoint.register(1, 2)
    metric = {"MetricName": endpoint.name, "Namespace": "Tests"}
    expression = {"Id": "double", "Expression": "m * 2", "ReturnData": True}
    query = {"Id": "m", "MetricStat": {"Metric": metric, "Stat": "Average"}, "ReturnData": False}
    endpoint.track(10, {"Metrics": [expression, query]})
    with endpoint.shared_load([7.0]):  # of the target's 10 only as the double of it
        endpoint.wait_for_count(2)


def test_steps_with_a_cool_down(scaled: Make) -> None:
    endpoint = scaled("by-steps")
    endpoint.host()
    endpoint.register(1, 4)
    alarm = endpoint.alarms.put(Threshold=1.0, AlarmActions=[endpoint.step(1, cooldown=86_400)])
    with endpoint.alarms.publishing(6, alarm):
        endpoint.wait_for_count(2)
        # More than what the first step has added is added at once, during the cool-down.
        endpoint.step(2, cooldown=86_400)
        endpoint.wait_for_count(3)
    history = endpoint.alarms.history(alarm, HistoryItemType="Action")
    assert "Successfully executed action arn:aws:autoscaling:" in history[0]["HistorySummary"]
    assert [item["Description"][-2] for item in endpoint.activities()] == ["3", "2"]


def test_limits_are_kept_when_they_change_and_by_schedule(scaled: Make) -> None:
    endpoint = scaled("by-limits")
    endpoint.host()
    endpoint.register(2, 3)
    endpoint.wait_for_count(2)
    assert endpoint.activities()[0]["Cause"] == "minimum capacity was set to 2"

    action = {"ScheduledActionName": "evening", "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 1}}
    endpoint.scaling.put_scheduled_action(**endpoint.target, Schedule=soon(1), **action)
    endpoint.wait_for_count(1)
    record = endpoint.described_target()
    assert (record["MinCapacity"], record["MaxCapacity"]) == (1, 1)
    change, limits = endpoint.activities()[:2]
    assert change["Cause"] == "maximum capacity was set to 1"
    assert limits["Cause"] == "scheduled action name evening was triggered"
    assert limits["StatusMessage"] == "Successfully set min capacity to 1 and max capacity to 1"


def test_a_rate_is_scaled_and_what_is_suspended_does_not_act(scaled: Make) -> None:
    endpoint = scaled("suspended")
    endpoint.host()
    endpoint.register(1, 2, SuspendedState={"DynamicScalingOutSuspended": True, "ScheduledScalingSuspended": True})
    alarm = endpoint.alarms.put(AlarmActions=[endpoint.step(1)])
    action = {"ScheduledActionName": "often", "ScalableTargetAction": {"MaxCapacity": 1}}
    endpoint.scaling.put_scheduled_action(**endpoint.target, Schedule="rate(1 minute)", **action)
    with endpoint.alarms.publishing(6, alarm):
        endpoint.alarms.wait_for_state(alarm, "ALARM")
        # Carried out and in the history, while nothing comes of it.
        wait_for(lambda: endpoint.alarms.history(alarm, HistoryItemType="Action"), "the action", WAIT_S)
    assert endpoint.activities() == []
    endpoint.register(1, 2, SuspendedState={"ScheduledScalingSuspended": False})
    assert endpoint.wait_for_activity(Description="Setting max capacity to 1")["StatusCode"] == "Successful"


def test_an_endpoint_that_is_being_updated_is_not_scaled(scaled: Make, tmp_path: Path) -> None:
    endpoint, hold = scaled("updating"), tmp_path / "hold"
    endpoint.host(environment={"SMALL_HOLD": str(hold)})
    endpoint.register(1, 2)
    alarm = endpoint.alarms.put(AlarmActions=[endpoint.step(1)])
    hold.touch()
    sagemaker = endpoint.local.sagemaker
    endpoint.local.config("updating-2", model="updating")
    arn = sagemaker.update_endpoint(EndpointName="updating", EndpointConfigName="updating-2")["EndpointArn"]
    with endpoint.alarms.publishing(6, alarm):
        failed = endpoint.wait_for_activity(StatusCode="Failed")
        assert failed["StatusMessage"] == (
            f'Failed to set desired instance count to 2. Reason: Cannot update in-progress endpoint "{arn}".'
        )
        hold.unlink()
        endpoint.wait_for_count(2)  # as soon as the update is over
