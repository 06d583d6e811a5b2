"""Operations that describe targets, policies, scheduled actions and activities."""

from collections.abc import Sequence
from typing import Any

from polyhost.emulator.autoscaling.activities import activities
from polyhost.emulator.autoscaling.errors import InvalidNextTokenError
from polyhost.emulator.autoscaling.scalable_target import NAMESPACE, scalable_targets, scaling_backend
from polyhost.emulator.autoscaling.service import AutoScaling
from polyhost.emulator.autoscaling.triggers import sagemaker_policies

Members = dict[str, Any]
_PAGE_SIZE = 50


def describe_scalable_targets(_scaling: AutoScaling, region: str, members: Members) -> Members:
    wanted = members.get("ResourceIds")
    records = scalable_targets(region).values()
    found = [record for record in _of_dimension(records, members) if not wanted or record.resource_id in wanted]
    return _page("ScalableTargets", [_target(record) for record in found], members)


def describe_scaling_policies(_scaling: AutoScaling, region: str, members: Members) -> Members:
    names = members.get("PolicyNames")
    found = _of_resource(sagemaker_policies(region), members)
    described = [_policy(policy) for policy in found if not names or policy.policy_name in names]
    return _page("ScalingPolicies", described, members)


def describe_scheduled_actions(_scaling: AutoScaling, region: str, members: Members) -> Members:
    names = members.get("ScheduledActionNames")
    records = [item for item in scaling_backend(region).scheduled_actions if item.service_namespace == NAMESPACE]
    found = _of_resource(records, members)
    described = [_scheduled_action(item) for item in found if not names or item.scheduled_action_name in names]
    return _page("ScheduledActions", described, members)


def describe_scaling_activities(_scaling: AutoScaling, region: str, members: Members) -> Members:
    resource, dimension = members.get("ResourceId"), members.get("ScalableDimension")
    found = [
        activity.members()
        for activity in activities(region)
        if resource in (None, activity.resource_id)
        and dimension in (None, activity.dimension)
        and (activity.reason is None or members.get("IncludeNotScaledActivities"))
    ]
    return _page("ScalingActivities", found, members)


def _of_resource(records: Any, members: Members) -> list[Any]:
    resource = members.get("ResourceId")
    return [record for record in _of_dimension(records, members) if resource in (None, record.resource_id)]


def _of_dimension(records: Any, members: Members) -> list[Any]:
    dimension = members.get("ScalableDimension")
    return [record for record in list(records) if dimension in (None, record.scalable_dimension)]


def _target(record: Any) -> Members:
    return {
        "ServiceNamespace": NAMESPACE,
        "ResourceId": record.resource_id,
        "ScalableDimension": record.scalable_dimension,
        "MinCapacity": record.min_capacity,
        "MaxCapacity": record.max_capacity,
        "RoleARN": record.role_arn,
        "CreationTime": record.creation_time,
        "SuspendedState": record.suspended_state,
        "ScalableTargetARN": record.arn,
    }


def _policy(policy: Any) -> Members:
    configurations = {
        "StepScalingPolicyConfiguration": policy.step_scaling_policy_configuration,
        "TargetTrackingScalingPolicyConfiguration": policy.target_tracking_scaling_policy_configuration,
    }
    described = {
        "PolicyARN": policy.policy_arn,
        "PolicyName": policy.policy_name,
        "ServiceNamespace": NAMESPACE,
        "ResourceId": policy.resource_id,
        "ScalableDimension": policy.scalable_dimension,
        "PolicyType": policy.policy_type,
        "Alarms": [{"AlarmName": alarm.name, "AlarmARN": alarm.alarm_arn} for alarm in policy.alarms],
        "CreationTime": policy.creation_time,
    }
    return described | {name: value for name, value in configurations.items() if value is not None}


def _scheduled_action(action: Any) -> Members:
    described = {
        "ScheduledActionName": action.scheduled_action_name,
        "ScheduledActionARN": action.arn,
        "ServiceNamespace": NAMESPACE,
        "Schedule": action.schedule,
        "Timezone": action.timezone,
        "ResourceId": action.resource_id,
        "ScalableDimension": action.scalable_dimension,
        "StartTime": action.start_time,
        "EndTime": action.end_time,
        "ScalableTargetAction": action.scalable_target_action,
        "CreationTime": action.creation_time,
    }
    return {name: value for name, value in described.items() if value is not None}


def _page(name: str, items: Sequence[Members], members: Members) -> Members:
    token, size = members.get("NextToken") or "0", members.get("MaxResults") or _PAGE_SIZE
    if not token.isdigit():
        raise InvalidNextTokenError(f"The next token {token!r} is invalid.")
    start = int(token)
    following = {"NextToken": str(start + size)} if start + size < len(items) else {}
    return {name: list(items[start : start + size]), **following}
