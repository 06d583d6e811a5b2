"""Operations that change targets, policies and scheduled actions. They raise moto's errors, or ValueError."""

import time
from typing import Any

from polyhost.emulator.autoscaling.checks import check_limits, check_scalable
from polyhost.emulator.autoscaling.errors import NoSuchRecordError
from polyhost.emulator.autoscaling.policies import scaling_policy
from polyhost.emulator.autoscaling.records import delete_policy
from polyhost.emulator.autoscaling.scalable_target import NAMESPACE, TargetId, scalable_targets, scaling_backend
from polyhost.emulator.autoscaling.scheduled_actions import LIMITS_CHANGED, set_limits
from polyhost.emulator.autoscaling.schedules import schedule
from polyhost.emulator.autoscaling.service import AutoScaling
from polyhost.emulator.autoscaling.tracking_alarms import delete_tracking_alarms, put_tracking_alarms
from polyhost.emulator.autoscaling.triggers import policies_of
from polyhost.emulator.config import ACCOUNT

Members = dict[str, Any]
SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
    "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
)


def register_scalable_target(scaling: AutoScaling, region: str, members: Members) -> Members:
    target = TargetId.parse(members["ResourceId"], members["ScalableDimension"])
    check_scalable(scaling, region, target)
    record = scalable_targets(region).get(target)
    least, most = members.get("MinCapacity"), members.get("MaxCapacity")
    if record is None:
        if least is None or most is None:
            raise ValueError("MinCapacity and MaxCapacity are needed to register a scalable target.")
        check_limits(scaling, region, target, least, most)
        record = _new_target(region, target, least, most, members.get("RoleARN") or _ROLE)
    elif least is not None or most is not None:
        limits = (record.min_capacity if least is None else least), (record.max_capacity if most is None else most)
        check_limits(scaling, region, target, *limits)
        set_limits(record, *limits)
    record.suspended_state = record.suspended_state | (members.get("SuspendedState") or {})
    return {"ScalableTargetARN": record.arn}


def _new_target(region: str, target: TargetId, least: int, most: int, role: str) -> Any:
    from moto.applicationautoscaling.models import FakeScalableTarget

    # moto's own way in does not know the dimension of provisioned concurrency.
    backend, name, kind = scaling_backend(region), target.resource_id, target.dimension.value
    suspended: Any = dict.fromkeys(SUSPENSIONS, False)
    record = FakeScalableTarget(backend, NAMESPACE, name, kind, least, most, role, suspended)
    backend.targets.setdefault(kind, {})[name] = record
    vars(record)[LIMITS_CHANGED] = True
    return record


def deregister_scalable_target(scaling: AutoScaling, region: str, members: Members) -> Members:
    target = _registered(region, members, "No scalable target found for")
    scaling.forget(region, target)
    return {}


def put_scaling_policy(scaling: AutoScaling, region: str, members: Members) -> Members:
    from moto.applicationautoscaling.models import FakeApplicationAutoscalingPolicy

    target = _registered(region, members)
    name = members["PolicyName"]
    known = next((policy for policy in policies_of(region, target) if policy.policy_name == name), None)
    kind = members.get("PolicyType") or (known.policy_type if known is not None else "StepScaling")
    if known is not None and kind != known.policy_type:
        raise ValueError(f"The policy {name} is of type {known.policy_type}, which cannot be changed.")
    body = members.get(f"{kind}PolicyConfiguration")
    if body is None:
        raise ValueError(f"PolicyType {kind} needs {kind}PolicyConfiguration.")
    policy = FakeApplicationAutoscalingPolicy(
        ACCOUNT, region, name, NAMESPACE, target.resource_id, target.dimension.value, kind, body
    )
    scaling_policy(policy)  # raises ValueError
    if known is not None:
        policy.policy_arn, policy.creation_time = known.policy_arn, known.creation_time
    if kind == "TargetTrackingScaling":
        put_tracking_alarms(scaling.alarms, region, target, policy)
    if known is not None:
        delete_tracking_alarms(region, known)
    key = FakeApplicationAutoscalingPolicy.formulate_key(NAMESPACE, target.resource_id, target.dimension.value, name)
    scaling_backend(region).policies[key] = policy
    alarms = [{"AlarmName": alarm.name, "AlarmARN": alarm.alarm_arn} for alarm in policy.alarms]
    return {"PolicyARN": policy.policy_arn, "Alarms": alarms}


def delete_scaling_policy(_scaling: AutoScaling, region: str, members: Members) -> Members:
    target, name = _target(members), members["PolicyName"]
    found = next((policy for policy in policies_of(region, target) if policy.policy_name == name), None)
    if found is None:
        raise NoSuchRecordError(f"No scaling policy found for {target.described()}, policy name: {name}")
    delete_policy(region, found)
    return {}


def put_scheduled_action(scaling: AutoScaling, region: str, members: Members) -> Members:
    target = _registered(region, members)
    name, backend = members["ScheduledActionName"], scaling_backend(region)
    known = next(
        (action for action in _scheduled_actions(region, target) if action.scheduled_action_name == name), None
    )
    expression = members.get("Schedule") or (known.schedule if known is not None else None)
    action = members.get("ScalableTargetAction") or (known.scalable_target_action if known is not None else None)
    if expression is None or not action:
        raise ValueError("Schedule and ScalableTargetAction are needed for a new scheduled action.")
    times = schedule(expression, members.get("Timezone"), members.get("StartTime") or time.time(), scaling.scale)
    if times(time.time()) is None:
        raise ValueError(f"Schedule {expression} is in the past.")
    record = scalable_targets(region)[target]
    check_limits(
        scaling,
        region,
        target,
        action.get("MinCapacity", record.min_capacity),
        action.get("MaxCapacity", record.max_capacity),
    )
    backend.put_scheduled_action(
        service_namespace=NAMESPACE,
        schedule=expression,
        timezone=members.get("Timezone"),
        scheduled_action_name=name,
        resource_id=target.resource_id,
        scalable_dimension=target.dimension.value,
        start_time=members.get("StartTime"),
        end_time=members.get("EndTime"),
        scalable_target_action=action,
    )
    return {}


def delete_scheduled_action(_scaling: AutoScaling, region: str, members: Members) -> Members:
    target, name = _target(members), members["ScheduledActionName"]
    known = [action for action in _scheduled_actions(region, target) if action.scheduled_action_name == name]
    if not known:
        raise NoSuchRecordError(f"No scheduled action found for {target.described()}, scheduled action name: {name}")
    backend = scaling_backend(region)
    backend.scheduled_actions = [action for action in backend.scheduled_actions if action not in known]
    return {}


def _target(members: Members) -> TargetId:
    return TargetId.parse(members["ResourceId"], members["ScalableDimension"])


def _registered(region: str, members: Members, words: str = "No scalable target registered for") -> TargetId:
    """Return a target that is registered. Raises NoSuchRecordError."""
    target = _target(members)
    if target not in scalable_targets(region):
        raise NoSuchRecordError(f"{words} {target.described()}")
    return target


def _scheduled_actions(region: str, target: TargetId) -> list[Any]:
    wanted = (NAMESPACE, target.resource_id, target.dimension.value)
    return [
        action
        for action in scaling_backend(region).scheduled_actions
        if (action.service_namespace, action.resource_id, action.scalable_dimension) == wanted
    ]
