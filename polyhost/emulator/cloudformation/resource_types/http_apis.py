"""AWS::ApiGatewayV2: HTTP APIs with their integrations, routes, stages and deployments."""

import json
from typing import Any, ClassVar

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, ImmutableType, Properties, ResourceType

_SERVICE = "apigatewayv2"
# Properties of an API that say where its OpenAPI document is, and how strictly it is read.
_OF_IMPORTS = ("Body", "BodyS3Location", "FailOnWarnings", "BasePath", "DisableSchemaValidation")
# What UpdateApi takes besides a document.
_CHANGEABLE = ("CorsConfiguration", "Description", "DisableExecuteApiEndpoint", "Name", "Version")


class HttpApiType(ResourceType):
    type_name = "AWS::ApiGatewayV2::Api"
    replaced_by = frozenset(("ProtocolType",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call ImportApi, or CreateApi if there is no document."""
        document = _document(aws, properties)
        if document is None:
            members = {name: value for name, value in properties.items() if name not in _OF_IMPORTS}
            return _api(aws.call(_SERVICE, "CreateApi", members))
        api = _api(aws.call(_SERVICE, "ImportApi", {"Body": document}))
        self._change(aws, api, properties)
        return api

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call ReimportApi if there is a document, and UpdateApi."""
        document = _document(aws, properties)
        if document is not None:
            aws.call(_SERVICE, "ReimportApi", {"ApiId": physical.id, "Body": document})
        if "CorsConfiguration" in before and "CorsConfiguration" not in properties:
            aws.discard(_SERVICE, "DeleteCorsConfiguration", {"ApiId": physical.id})
        self._change(aws, physical, properties)
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteApi, which takes routes, integrations and stages along."""
        aws.discard(_SERVICE, "DeleteApi", {"ApiId": physical.id})

    @staticmethod
    def _change(aws: Aws, api: Physical, properties: Properties) -> None:
        members = {name: properties[name] for name in _CHANGEABLE if name in properties}
        if members:
            aws.call(_SERVICE, "UpdateApi", {"ApiId": api.id, **members})
        if properties.get("Tags"):
            arn = f"arn:aws:apigateway:{aws.region}::/apis/{api.id}"
            aws.call(_SERVICE, "TagResource", {"ResourceArn": arn, "Tags": properties["Tags"]})


class _PartType(ResourceType):
    """A part of an API, with operations that are named after it."""

    part: ClassVar[str]
    id_member: ClassVar[str]
    required: ClassVar[tuple[str, ...]] = ("ApiId",)
    replaced_by = frozenset(("ApiId",))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call the operation that makes the part."""
        identifier = aws.call(_SERVICE, f"Create{self.part}", properties)[self.id_member]
        return Physical(identifier, {self.id_member: identifier})

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call the operation that changes the part."""
        members = {name: value for name, value in properties.items() if name != "Tags"}
        aws.call(_SERVICE, f"Update{self.part}", members | {self.id_member: physical.id})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call the operation that deletes the part."""
        members = {"ApiId": properties["ApiId"], self.id_member: physical.id}
        aws.discard(_SERVICE, f"Delete{self.part}", members)


class HttpIntegrationType(_PartType):
    type_name = "AWS::ApiGatewayV2::Integration"
    part = "Integration"
    id_member = "IntegrationId"
    required = ("ApiId", "IntegrationType")


class HttpRouteType(_PartType):
    type_name = "AWS::ApiGatewayV2::Route"
    part = "Route"
    id_member = "RouteId"
    required = ("ApiId", "RouteKey")


class HttpStageType(_PartType):
    type_name = "AWS::ApiGatewayV2::Stage"
    part = "Stage"
    id_member = "StageName"
    required = ("ApiId", "StageName")
    replaced_by = frozenset(("ApiId", "StageName"))


class HttpDeploymentType(ImmutableType):
    type_name = "AWS::ApiGatewayV2::Deployment"
    required = ("ApiId",)

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateDeployment."""
        identifier = aws.call(_SERVICE, "CreateDeployment", properties)["DeploymentId"]
        return Physical(identifier, {"DeploymentId": identifier})

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteDeployment."""
        aws.discard(_SERVICE, "DeleteDeployment", {"ApiId": properties["ApiId"], "DeploymentId": physical.id})


def _api(response: dict[str, Any]) -> Physical:
    identifier = response["ApiId"]
    return Physical(identifier, {"ApiId": identifier, "ApiEndpoint": response["ApiEndpoint"]})


def _document(aws: Aws, properties: Properties) -> str | None:
    """Return the API's OpenAPI document as text, if it has one. Raises ResourceError."""
    if (body := properties.get("Body")) is not None:
        return json.dumps(body)
    location = properties.get("BodyS3Location")
    if location is None:
        return None
    if not isinstance(location, dict) or not {"Bucket", "Key"} <= location.keys():
        raise ResourceError("BodyS3Location needs Bucket and Key")
    members = {name: location[name] for name in ("Bucket", "Key") if name in location}
    if location.get("Version"):
        members["VersionId"] = location["Version"]
    return str(aws.call("s3", "GetObject", members)["Body"].read().decode("utf-8", "replace"))
