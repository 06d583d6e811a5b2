"""Operations of Application Auto Scaling on variants of SageMaker, in place of moto's.

moto keeps the records, checks none of them against the endpoints, and never scales.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from flask import request as flask_request
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse

from polyhost.emulator.api.service_model import ServiceModel
from polyhost.emulator.autoscaling.descriptions import (
    describe_scalable_targets,
    describe_scaling_activities,
    describe_scaling_policies,
    describe_scheduled_actions,
)
from polyhost.emulator.autoscaling.errors import InvalidScalingError
from polyhost.emulator.autoscaling.operations import (
    delete_scaling_policy,
    delete_scheduled_action,
    deregister_scalable_target,
    put_scaling_policy,
    put_scheduled_action,
    register_scalable_target,
)
from polyhost.emulator.autoscaling.scalable_target import NAMESPACE
from polyhost.emulator.autoscaling.service import SCALING, AutoScaling
from polyhost.emulator.errors import ValidationException

Members = dict[str, Any]
Operation = Callable[[AutoScaling, str, Members], Members]

_OPERATIONS: dict[str, Operation] = {
    "RegisterScalableTarget": register_scalable_target,
    "DeregisterScalableTarget": deregister_scalable_target,
    "DescribeScalableTargets": describe_scalable_targets,
    "PutScalingPolicy": put_scaling_policy,
    "DeleteScalingPolicy": delete_scaling_policy,
    "DescribeScalingPolicies": describe_scaling_policies,
    "PutScheduledAction": put_scheduled_action,
    "DeleteScheduledAction": delete_scheduled_action,
    "DescribeScheduledActions": describe_scheduled_actions,
    "DescribeScalingActivities": describe_scaling_activities,
}


def add_to_application_auto_scaling() -> None:
    """Give moto's Application Auto Scaling the operations."""
    for name, operation in _OPERATIONS.items():
        attribute = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
        motos = getattr(ApplicationAutoScalingResponse, attribute, None)
        setattr(ApplicationAutoScalingResponse, attribute, _in_place_of(motos, name, operation))


def _in_place_of(motos: Any, name: str, operation: Operation) -> Any:
    def respond(response: ApplicationAutoScalingResponse) -> Any:
        scaling: AutoScaling | None = flask_request.environ.get(SCALING)
        if scaling is None or response._get_param("ServiceNamespace") != NAMESPACE:
            if motos is None:
                raise NotImplementedError
            return motos(response)
        try:
            members = _service_model().parse(name, response.body.encode())
            return json.dumps(operation(scaling, response.region, members))
        except (ValidationException, ValueError) as error:
            raise InvalidScalingError(str(error)) from None

    return respond


@lru_cache(None)
def _service_model() -> ServiceModel:
    return ServiceModel("application-autoscaling")
