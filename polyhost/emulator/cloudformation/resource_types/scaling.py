"""AWS::ApplicationAutoScaling: targets, their scheduled actions, and policies."""

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties, ResourceType, made

_SERVICE = "application-autoscaling"
_KEYS = ("ResourceId", "ScalableDimension", "ServiceNamespace")
_SCHEDULES = "ScheduledActions"


class ScalableTargetType(ResourceType):
    """What Ref gives, `RESOURCE|DIMENSION|NAMESPACE`, is what a policy has as its ScalingTargetId."""

    type_name = "AWS::ApplicationAutoScaling::ScalableTarget"
    required = (*_KEYS, "MinCapacity", "MaxCapacity")
    replaced_by = frozenset(_KEYS)

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call RegisterScalableTarget, and PutScheduledAction for each scheduled action."""
        members = {name: value for name, value in properties.items() if name != _SCHEDULES}
        aws.call(_SERVICE, "RegisterScalableTarget", members)
        physical = Physical(_target_id(properties))
        with made(physical):
            for action in properties.get(_SCHEDULES) or []:
                aws.call(_SERVICE, "PutScheduledAction", {name: properties[name] for name in _KEYS} | action)
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Register the target again, which changes it, and delete the scheduled actions that are no longer there."""
        changed = self.create(aws, properties)
        kept = {action.get("ScheduledActionName") for action in properties.get(_SCHEDULES) or []}
        for action in before.get(_SCHEDULES) or []:
            if (name := action.get("ScheduledActionName")) not in kept:
                keys = {key: properties[key] for key in _KEYS}
                aws.discard(_SERVICE, "DeleteScheduledAction", {**keys, "ScheduledActionName": name})
        return changed

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeregisterScalableTarget, which deletes policies and scheduled actions too."""
        aws.discard(_SERVICE, "DeregisterScalableTarget", _keys(physical.id))


class ScalingPolicyType(ResourceType):
    type_name = "AWS::ApplicationAutoScaling::ScalingPolicy"
    name_property = "PolicyName"
    required = ("PolicyType",)
    replaced_by = frozenset(("PolicyName", "ScalingTargetId", *_KEYS))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call PutScalingPolicy."""
        members = {name: value for name, value in properties.items() if name != "ScalingTargetId"}
        if "ScalingTargetId" in properties:
            members |= _keys(str(properties["ScalingTargetId"]))
        arn = aws.call(_SERVICE, "PutScalingPolicy", members)["PolicyARN"]
        return Physical(arn, {"Arn": arn, "PolicyName": properties["PolicyName"]}, properties["PolicyName"])

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the policy again, which changes it."""
        return self.create(aws, properties)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteScalingPolicy."""
        of_target = _keys(str(properties["ScalingTargetId"])) if "ScalingTargetId" in properties else None
        keys = of_target or {name: properties[name] for name in _KEYS}
        aws.discard(_SERVICE, "DeleteScalingPolicy", {**keys, "PolicyName": physical.name})


def _target_id(properties: Properties) -> str:
    return "|".join(str(properties[name]) for name in _KEYS)


def _keys(target_id: str) -> dict[str, str]:
    parts = target_id.split("|")
    if len(parts) != len(_KEYS):
        raise ResourceError(f"{target_id!r} is no scalable target; use Ref of an AWS::ApplicationAutoScaling target")
    return dict(zip(_KEYS, parts, strict=True))
