"""AWS::SageMaker: models, endpoint configurations and endpoints."""

from collections.abc import Callable
from typing import Any

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import (
    Aws,
    ImmutableType,
    Properties,
    ResourceType,
)

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_REJECTED = "in-progress endpoint"  # SageMaker's words for a change or a deletion during another change
# Properties of an endpoint that say how it is updated, and are no part of it.
_OF_UPDATES = ("DeploymentConfig", "RetainAllVariantProperties", "ExcludeRetainedVariantProperties")


class ModelType(ImmutableType):
    type_name = "AWS::SageMaker::Model"
    name_property = "ModelName"

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateModel."""
        arn = aws.call("sagemaker", "CreateModel", properties)["ModelArn"]
        return Physical(arn, {"ModelName": properties["ModelName"]}, properties["ModelName"])

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteModel."""
        aws.discard("sagemaker", "DeleteModel", {"ModelName": physical.name})


class EndpointConfigType(ImmutableType):
    type_name = "AWS::SageMaker::EndpointConfig"
    name_property = "EndpointConfigName"
    required = ("ProductionVariants",)

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateEndpointConfig."""
        arn = aws.call("sagemaker", "CreateEndpointConfig", properties)["EndpointConfigArn"]
        name = properties["EndpointConfigName"]
        return Physical(arn, {"EndpointConfigName": name}, name)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteEndpointConfig."""
        aws.discard("sagemaker", "DeleteEndpointConfig", {"EndpointConfigName": physical.name})


class EndpointType(ResourceType):
    """An endpoint is ready when it is InService with the configuration that it is to have."""

    type_name = "AWS::SageMaker::Endpoint"
    name_property = "EndpointName"
    required = ("EndpointConfigName",)
    replaced_by = frozenset(("EndpointName",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateEndpoint."""
        members = {name: value for name, value in properties.items() if name not in _OF_UPDATES}
        arn = aws.call("sagemaker", "CreateEndpoint", members)["EndpointArn"]
        return Physical(arn, {"EndpointName": properties["EndpointName"]}, properties["EndpointName"])

    def settle(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Wait until the endpoint is InService; a deployment that was rolled back has failed."""
        found = self._settled(aws, physical)
        served, wanted = found["EndpointConfigName"], properties["EndpointConfigName"]
        if found["EndpointStatus"] != "InService" or served != wanted:
            reason = found.get("FailureReason") or f"the endpoint serves {served}, not {wanted}"
            raise ResourceError(f"Endpoint {physical.name} is {found['EndpointStatus']}: {reason}")

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateEndpoint, unless the endpoint has the configuration already, as after a rollback of its own."""
        if self._settled(aws, physical)["EndpointConfigName"] != properties["EndpointConfigName"]:
            members = {name: value for name, value in properties.items() if name != "Tags"}
            self._when_settled(aws, physical, lambda: aws.call("sagemaker", "UpdateEndpoint", members))
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteEndpoint once a change of the endpoint has ended, and wait until it is gone."""
        if self._exists(aws, physical):
            named = {"EndpointName": physical.name}
            self._when_settled(aws, physical, lambda: aws.discard("sagemaker", "DeleteEndpoint", named))
        aws.wait_until(lambda: not self._exists(aws, physical))

    def _when_settled(self, aws: Aws, physical: Physical, request: Callable[[], object]) -> None:
        """Make a request when nothing of the endpoint is in progress; scaling may change it between any two calls."""

        def accepted() -> bool:
            self._settled(aws, physical)
            try:
                request()
            except ResourceError as error:
                if _REJECTED not in str(error):
                    raise
                return False
            return True

        aws.wait_until(accepted)

    def _settled(self, aws: Aws, physical: Physical) -> dict[str, Any]:
        """Return the endpoint's description once nothing of it is in progress."""
        found: dict[str, Any] = {}

        def settled() -> bool:
            found.clear()  # a FailureReason may have gone
            found.update(aws.call("sagemaker", "DescribeEndpoint", {"EndpointName": physical.name}))
            return found["EndpointStatus"] not in _IN_PROGRESS

        aws.wait_until(settled)
        return found

    def _exists(self, aws: Aws, physical: Physical) -> bool:
        named = aws.call("sagemaker", "ListEndpoints", {"NameContains": physical.name, "MaxResults": 100})
        return any(item["EndpointName"] == physical.name for item in named["Endpoints"])
