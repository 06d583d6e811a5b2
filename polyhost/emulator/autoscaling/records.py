"""moto's records of scalable targets, policies and scheduled actions: how they are removed together."""

from typing import Any

from polyhost.emulator.autoscaling.scalable_target import NAMESPACE, TargetId, scaling_backend, target_id
from polyhost.emulator.autoscaling.tracking_alarms import delete_tracking_alarms
from polyhost.emulator.autoscaling.triggers import policies_of


def deregister(region: str, target: TargetId) -> None:
    """Remove a target, its policies with their alarms, and its scheduled actions."""
    backend = scaling_backend(region)
    for policy in policies_of(region, target):
        delete_policy(region, policy)
    backend.scheduled_actions = [
        action
        for action in backend.scheduled_actions
        if action.service_namespace != NAMESPACE or target_id(action) != target
    ]
    backend.targets.get(target.dimension, {}).pop(target.resource_id, None)


def delete_policy(region: str, policy: Any) -> None:
    """Remove a policy and the alarms that it has made."""
    delete_tracking_alarms(region, policy)
    policies = scaling_backend(region).policies
    for key in [key for key, known in policies.items() if known is policy]:
        del policies[key]
