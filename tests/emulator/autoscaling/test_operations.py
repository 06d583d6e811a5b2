"""What Application Auto Scaling answers about endpoints: records, and AWS's words for what it rejects."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polyhost.emulator.server import Emulator
from tests.emulator.autoscaling.harness import PROVISIONED, ScaledEndpoint
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
Make = Callable[..., ScaledEndpoint]
PER_INSTANCE = "SageMakerVariantInvocationsPerInstance"


@pytest.fixture(scope="module")
def plain(scaled_emulator: Emulator) -> ScaledEndpoint:
    """Host an endpoint with a scalable target, which tests do not change."""
    endpoint = ScaledEndpoint(scaled_emulator, "plain")
    endpoint.host()
    endpoint.register(1, 2)
    return endpoint


def _error(call: Callable[..., Any], **members: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def _expect(call: Callable[..., Any], words: str, code: str = "ValidationException", **members: Any) -> None:
    found = _error(call, **members)
    assert found[0] == code
    assert re.search(words, found[1]), found[1]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"ResourceId": "endpoint/none/variant/AllTraffic"}, "does not exist: endpoint/none/variant/AllTraffic"),
        ({"ResourceId": "endpoint/plain/variant/none"}, "does not exist: endpoint/plain/variant/none"),
        ({"ResourceId": "endpoint/Plain/variant/AllTraffic"}, "does not exist"),
        ({"ResourceId": "table/plain"}, "Unsupported service namespace, resource type or scalable dimension"),
        ({"ScalableDimension": "ecs:service:DesiredCount"}, "Unsupported service namespace"),
        ({"ScalableDimension": PROVISIONED}, "has no provisioned concurrency"),
        ({"MinCapacity": 3}, "Maximum capacity cannot be less than minimum capacity"),
        ({"MinCapacity": -1}, "must be 0 or more"),
        ({"MinCapacity": 0}, "only variants of asynchronous endpoints"),
        ({"ScalableDimension": "x"}, "Member must satisfy enum value set"),
    ],
)
def test_targets_that_are_rejected(plain: ScaledEndpoint, members: dict[str, Any], words: str) -> None:
    _expect(
        plain.scaling.register_scalable_target, words, **{**plain.target, "MinCapacity": 1, "MaxCapacity": 2, **members}
    )
    assert len(plain.described_targets()) == 1
    assert plain.described_target()["MaxCapacity"] == 2


def test_a_new_target_needs_both_limits(scaled: Make, plain: ScaledEndpoint) -> None:
    plain.scaling.register_scalable_target(**plain.target, MaxCapacity=2)  # it is known: the other limit stays
    assert plain.described_target()["MinCapacity"] == 1
    endpoint = scaled("no-limits")
    endpoint.host()
    _expect(endpoint.scaling.register_scalable_target, "MinCapacity and MaxCapacity are needed", **endpoint.target)
    assert endpoint.described_targets() == []


def _tracking(**config: Any) -> dict[str, Any]:
    return {"PolicyType": "TargetTrackingScaling", "TargetTrackingScalingPolicyConfiguration": config}


def _predefined(name: str) -> dict[str, Any]:
    return {"TargetValue": 5, "PredefinedMetricSpecification": {"PredefinedMetricType": name}}


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (_tracking(TargetValue=5), "either PredefinedMetricSpecification or CustomizedMetricSpecification"),
        (_tracking(**_predefined("SageMakerVariantProvisionedConcurrencyUtilization")), "cannot be used with the sca"),
        (_tracking(**_predefined("ECSServiceAverageCPUUtilization")), "does not have the predefined metric ECSService"),
        (_tracking(**{**_predefined(PER_INSTANCE), "TargetValue": 0}), "it must be above 0"),
        (_tracking(TargetValue=1, CustomizedMetricSpecification={"MetricName": "m"}), "lacks Namespace, Statistic"),
        (
            _tracking(
                TargetValue=1,
                CustomizedMetricSpecification={
                    "Metrics": [{"Id": "e", "Expression": "SEARCH('m')", "ReturnData": True}]
                },
            ),
            "SEARCH|one period",
        ),
        ({"PolicyType": "StepScaling"}, "needs StepScalingPolicyConfiguration"),
        ({"PolicyType": "PredictiveScaling"}, "PredictiveScaling"),
        ({"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": {}}, "AdjustmentType and StepAdjustments"),
    ],
)
def test_policies_that_are_rejected_leave_nothing(plain: ScaledEndpoint, policy: dict[str, Any], words: str) -> None:
    _expect(plain.scaling.put_scaling_policy, words, **{**plain.target, "PolicyName": "bad", **policy})
    found = plain.scaling.describe_scaling_policies(ServiceNamespace="sagemaker", PolicyNames=["bad"])
    assert found["ScalingPolicies"] == []
    alarms = plain.alarms.cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-endpoint/plain/")
    assert alarms["MetricAlarms"] == []


def test_what_does_not_exist_is_named(plain: ScaledEndpoint) -> None:
    target = {**plain.target, "ResourceId": "endpoint/none/variant/AllTraffic"}
    described = (
        "for service namespace: sagemaker, resource ID: endpoint/none/variant/AllTraffic, scalable dimension:"
        " sagemaker:variant:DesiredInstanceCount"
    )
    scaling, code = plain.scaling, "ObjectNotFoundException"
    config = _tracking(**_predefined(PER_INSTANCE))
    action = {"ScalableTargetAction": {"MinCapacity": 1}, "Schedule": "rate(1 day)"}
    for call, words, members in (
        (scaling.put_scaling_policy, f"No scalable target registered {described}", {"PolicyName": "p", **config}),
        (
            scaling.put_scheduled_action,
            f"No scalable target registered {described}",
            {"ScheduledActionName": "a", **action},
        ),
        (scaling.deregister_scalable_target, f"No scalable target found {described}", {}),
        (scaling.delete_scaling_policy, f"No scaling policy found {described}, policy name: p", {"PolicyName": "p"}),
        (scaling.delete_scheduled_action, f"No scheduled action found {described}", {"ScheduledActionName": "a"}),
    ):
        _expect(call, re.escape(words), code, **target, **members)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"Schedule": "at(2020-01-01T00:00:00)"}, "in the past"),
        ({"Schedule": "often"}, "must be at"),
        ({"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 9}}, "Maximum capacity cannot be less"),
        ({"ScalableTargetAction": {"MinCapacity": 1}}, "Schedule and ScalableTargetAction are needed"),
        ({"Schedule": "cron(0 9 ? * MON *)", "Timezone": "Mars/Olympus"}, "Timezone 'Mars/Olympus' is unknown"),
    ],
)
def test_scheduled_actions_that_are_rejected(plain: ScaledEndpoint, members: dict[str, Any], words: str) -> None:
    action = {"ScheduledActionName": "bad", "ScalableTargetAction": {"MinCapacity": 1, "MaxCapacity": 1}} | members
    if "Schedule" not in members:
        del action["ScalableTargetAction"]
    _expect(plain.scaling.put_scheduled_action, words, **plain.target, **action)
    assert plain.scaling.describe_scheduled_actions(ServiceNamespace="sagemaker")["ScheduledActions"] == []


def test_records_as_clients_see_them(scaled: Make) -> None:
    endpoint = scaled("described")
    endpoint.host()
    endpoint.register(1, 2)
    first = endpoint.track(5, PER_INSTANCE)
    again = endpoint.track(6, PER_INSTANCE, DisableScaleIn=True)
    assert again["PolicyARN"] == first["PolicyARN"]
    (kept,) = again["Alarms"]
    prefix = "TargetTracking-endpoint/described/"
    (alarm,) = endpoint.alarms.cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"]
    expected = {
        "AlarmName": kept["AlarmName"],
        "Namespace": "AWS/SageMaker",
        "MetricName": "InvocationsPerInstance",
        "Statistic": "Sum",
        "Period": 60,
        "EvaluationPeriods": 3,
        "Threshold": 6.0,
        "ComparisonOperator": "GreaterThanThreshold",
        "Dimensions": [{"Name": "EndpointName", "Value": "described"}, {"Name": "VariantName", "Value": "AllTraffic"}],
    }
    assert expected.items() <= alarm.items()
    assert alarm["AlarmDescription"].startswith("DO NOT EDIT OR DELETE. For TargetTrackingScaling policy arn:aws:")
    endpoint.step(1)
    found = endpoint.scaling.describe_scaling_policies(ServiceNamespace="sagemaker", MaxResults=1)
    token = found["NextToken"]
    names = [policy["PolicyName"] for policy in found["ScalingPolicies"]]
    found = endpoint.scaling.describe_scaling_policies(ServiceNamespace="sagemaker", NextToken=token)
    assert names + [policy["PolicyName"] for policy in found["ScalingPolicies"]] == ["track", "step"]
    _expect(
        endpoint.scaling.describe_scaling_policies,
        "next token",
        "InvalidNextTokenException",
        ServiceNamespace="sagemaker",
        NextToken="x",
    )
    endpoint.scaling.delete_scaling_policy(**endpoint.target, PolicyName="track")
    assert endpoint.alarms.cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"] == []


def test_an_update_that_takes_a_scaled_variant_away_is_rejected(plain: ScaledEndpoint) -> None:
    variant = {"VariantName": "Other", "ModelName": "plain", "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    for name, members in (("removed", {}), ("retyped", {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large"})):
        plain.local.sagemaker.create_endpoint_config(
            EndpointConfigName=f"plain-{name}", ProductionVariants=[variant | members]
        )
        _expect(
            plain.local.sagemaker.update_endpoint,
            r'The variant\(s\) "AllTraffic" must be deregistered as scalable targets with AWS Auto Scaling before',
            EndpointName="plain",
            EndpointConfigName=f"plain-{name}",
        )


def test_an_endpoint_that_is_deleted_takes_its_records_along(scaled_emulator: Emulator) -> None:
    endpoint = ScaledEndpoint(scaled_emulator, "deleted")
    endpoint.host()
    endpoint.register(1, 2)
    endpoint.track(5, PER_INSTANCE)
    action = {"ScheduledActionName": "later", "ScalableTargetAction": {"MinCapacity": 1}}
    endpoint.scaling.put_scheduled_action(
        **endpoint.target, Schedule=f"at({time.gmtime().tm_year + 1}-01-01T00:00:00)", **action
    )
    endpoint.delete()
    wait_for(lambda: not endpoint.described_targets(), "the end of the target", 60)
    members = {"ServiceNamespace": "sagemaker", "ResourceId": endpoint.target["ResourceId"]}
    assert endpoint.scaling.describe_scaling_policies(**members)["ScalingPolicies"] == []
    assert endpoint.scaling.describe_scheduled_actions(**members)["ScheduledActions"] == []
    prefix = "TargetTracking-endpoint/deleted/"
    assert endpoint.alarms.cloudwatch.describe_alarms(AlarmNamePrefix=prefix)["MetricAlarms"] == []


def test_other_services_records_are_motos_as_before(plain: ScaledEndpoint) -> None:
    target = {
        "ServiceNamespace": "dynamodb",
        "ResourceId": "table/t",
        "ScalableDimension": "dynamodb:table:ReadCapacityUnits",
    }
    plain.scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    (found,) = plain.scaling.describe_scalable_targets(ServiceNamespace="dynamodb")["ScalableTargets"]
    assert found["ResourceId"] == "table/t"
    _expect(plain.scaling.describe_scaling_activities, "does not have", "NotImplemented", ServiceNamespace="dynamodb")
