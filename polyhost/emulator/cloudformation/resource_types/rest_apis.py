"""AWS::ApiGateway: REST APIs, their deployments and stages."""

import json
from typing import Any

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import (
    Aws,
    ImmutableType,
    Properties,
    ResourceType,
    made,
)
from polyhost.emulator.cloudformation.template_text import parse_document
from polyhost.emulator.errors import ValidationError

_SERVICE = "apigateway"
# Properties of an API that say what is imported, and how.
_OF_IMPORT = frozenset(("Body", "BodyS3Location", "FailOnWarnings", "Mode", "Parameters"))
# Properties that UpdateRestApi can change, with what they are if a template does not have them.
_CHANGEABLE = {"Description": "", "ApiKeySourceType": "HEADER", "DisableExecuteApiEndpoint": False, "Policy": ""}
_BINARY = "x-amazon-apigateway-binary-media-types"
# Names that API Gateway has for properties, where they are not the same in lower case.
_OTHER_NAMES = {"ApiKeySourceType": "apiKeySource"}
# A method's settings: the paths that UpdateStage has for them.
_METHOD_SETTINGS = {
    "CacheDataEncrypted": "caching/dataEncrypted",
    "CacheTtlInSeconds": "caching/ttlInSeconds",
    "CachingEnabled": "caching/enabled",
    "DataTraceEnabled": "logging/dataTrace",
    "LoggingLevel": "logging/loglevel",
    "MetricsEnabled": "metrics/enabled",
    "ThrottlingBurstLimit": "throttling/burstLimit",
    "ThrottlingRateLimit": "throttling/rateLimit",
}
_OF_STAGE = ("CacheClusterEnabled", "CacheClusterSize", "Description", "DocumentationVersion", "TracingEnabled")


class RestApiType(ResourceType):
    """The name is that of the imported document if the template has none."""

    type_name = "AWS::ApiGateway::RestApi"

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateRestApi and, if there is a document, PutRestApi."""
        document = _document(aws, properties)
        members = {name: value for name, value in properties.items() if name not in _OF_IMPORT}
        members = api_members(members) | {"name": _api_name(properties, document)}
        members |= {"policy": _policy(properties)} if "Policy" in properties else {}
        api = aws.call(_SERVICE, "CreateRestApi", members)["id"]
        with made(Physical(api)):
            return self._imported(aws, api, properties, document, str(properties.get("Mode", "merge")))

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateRestApi for what differs, and import the document in place of the former one."""
        document = _document(aws, properties)
        patches = [replaced("/name", _api_name(properties, document))]
        for name, default in _CHANGEABLE.items():
            if properties.get(name) != before.get(name):
                value = _policy(properties) if name == "Policy" else properties.get(name, default)
                patches.append(replaced(f"/{api_name(name)}", value))
        wanted, had = (set(item.get("BinaryMediaTypes") or []) for item in (properties, before))
        for op, types in (("remove", had - wanted), ("add", wanted - had)):
            patches += [{"op": op, "path": f"/binaryMediaTypes/{_escaped(item)}"} for item in sorted(types)]
        kinds, old = ((item.get("EndpointConfiguration") or {}).get("Types") for item in (properties, before))
        if kinds and kinds != old:
            patches.append(replaced(f"/endpointConfiguration/types/{(old or ['EDGE'])[0]}", kinds[0]))
        aws.call(_SERVICE, "UpdateRestApi", {"restApiId": physical.id, "patchOperations": patches})
        return self._imported(aws, physical.id, properties, document, str(properties.get("Mode", "overwrite")))

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteRestApi."""
        aws.discard(_SERVICE, "DeleteRestApi", {"restApiId": physical.id})

    @staticmethod
    def _imported(aws: Aws, api: str, properties: Properties, document: Any, mode: str) -> Physical:
        if document is not None:
            members = {"restApiId": api, "mode": mode, "body": json.dumps(document).encode()}
            members |= {"failOnWarnings": properties["FailOnWarnings"]} if "FailOnWarnings" in properties else {}
            members |= {"parameters": properties["Parameters"]} if "Parameters" in properties else {}
            aws.call(_SERVICE, "PutRestApi", members)
        root = aws.call(_SERVICE, "GetRestApi", {"restApiId": api})["rootResourceId"]
        return Physical(api, {"RestApiId": api, "RootResourceId": root})


class DeploymentType(ImmutableType):
    """Deployments are replaced whatever changes: API Gateway's operation to change one is not emulated."""

    type_name = "AWS::ApiGateway::Deployment"
    required = ("RestApiId",)

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateDeployment; with a StageName, the stage has the new deployment from then on."""
        stage = dict(properties.get("StageDescription") or {})
        members = {api_name(name): value for name, value in properties.items() if name != "StageDescription"}
        if "Variables" in stage:
            members["variables"] = stage.pop("Variables")
        if "Description" in stage:
            members["stageDescription"] = stage.pop("Description")
        if stage:
            raise ResourceError(f"The emulator does not support {min(stage)} in StageDescription; use a Stage")
        deployment = aws.call(_SERVICE, "CreateDeployment", members)["id"]
        return Physical(deployment, {"DeploymentId": deployment})

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteDeployment, after the deletion of a stage that came with the deployment and still has it."""
        api, name = properties["RestApiId"], properties.get("StageName")
        if name is not None and self._deployed(aws, api, name) == physical.id:
            aws.discard(_SERVICE, "DeleteStage", {"restApiId": api, "stageName": name})
        aws.discard(_SERVICE, "DeleteDeployment", {"restApiId": api, "deploymentId": physical.id})

    @staticmethod
    def _deployed(aws: Aws, api: str, stage: str) -> str:
        """Return the deployment that a stage has."""
        try:
            return str(aws.call(_SERVICE, "GetStage", {"restApiId": api, "stageName": stage})["deploymentId"])
        except ResourceError:
            return ""  # there is no such stage


class StageType(ResourceType):
    type_name = "AWS::ApiGateway::Stage"
    required = ("DeploymentId", "RestApiId", "StageName")
    replaced_by = frozenset(("RestApiId", "StageName"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateStage and, for settings of methods and logs, UpdateStage."""
        known = {*self.required, *_OF_STAGE, "AccessLogSetting", "MethodSettings", "Tags", "Variables"}
        if unknown := sorted(properties.keys() - known):
            raise ResourceError(f"The emulator does not support the property {unknown[0]} of {self.type_name}")
        plain = {name: properties[name] for name in (*self.required, *_OF_STAGE) if name in properties}
        members = api_members(plain | ({"Tags": properties["Tags"]} if "Tags" in properties else {}))
        members |= {"variables": properties["Variables"]} if "Variables" in properties else {}
        aws.call(_SERVICE, "CreateStage", members)
        physical = Physical(properties["StageName"])
        with made(physical):
            self._patch(aws, properties, _setting_patches(properties))
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateStage for what differs."""
        patches: list[dict[str, str]] = []
        for name in ("DeploymentId", *_OF_STAGE):
            if properties.get(name) != before.get(name):
                patches.append(replaced(f"/{api_name(name)}", properties.get(name, "")))
        wanted, had = (item.get("Variables") or {} for item in (properties, before))
        patches += [{"op": "remove", "path": f"/variables/{name}"} for name in sorted(had.keys() - wanted.keys())]
        patches += [replaced(f"/variables/{name}", value) for name, value in wanted.items() if had.get(name) != value]
        if "AccessLogSetting" in before and "AccessLogSetting" not in properties:
            patches.append({"op": "remove", "path": "/accessLogSettings"})
        self._patch(aws, properties, [*patches, *_setting_patches(properties)])
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteStage."""
        members = {"restApiId": properties["RestApiId"], "stageName": properties["StageName"]}
        aws.discard(_SERVICE, "DeleteStage", members)

    @staticmethod
    def _patch(aws: Aws, properties: Properties, patches: list[dict[str, str]]) -> None:
        if patches:
            named = {"restApiId": properties["RestApiId"], "stageName": properties["StageName"]}
            aws.call(_SERVICE, "UpdateStage", {**named, "patchOperations": patches})


def api_name(name: str) -> str:
    """Return what API Gateway's operations call a property."""
    return _OTHER_NAMES.get(name, f"{name[:1].lower()}{name[1:]}")


def api_members(value: Any) -> Any:
    """Return properties as API Gateway's operations take them; tags are a map there."""
    if isinstance(value, list):
        return [api_members(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        api_name(name): {tag["Key"]: tag["Value"] for tag in item} if name == "Tags" else api_members(item)
        for name, item in value.items()
    }


def replaced(path: str, value: Any) -> dict[str, str]:
    """Return the patch that gives a member a new value."""
    return {"op": "replace", "path": path, "value": str(value).lower() if isinstance(value, bool) else str(value)}


def _setting_patches(properties: Properties) -> list[dict[str, str]]:
    patches: list[dict[str, str]] = []
    for item in properties.get("MethodSettings") or []:
        resource = str(item.get("ResourcePath", "/*"))
        place = f"/{'*' if resource == '/*' else _escaped(resource)}/{item.get('HttpMethod', '*')}"
        patches += [replaced(f"{place}/{path}", item[name]) for name, path in _METHOD_SETTINGS.items() if name in item]
    for name, value in (properties.get("AccessLogSetting") or {}).items():
        patches.append(replaced(f"/accessLogSettings/{api_name(name)}", value))
    return patches


def _document(aws: Aws, properties: Properties) -> dict[str, Any] | None:
    """Return the OpenAPI document of an API, if it has one, with the binary types of the property."""
    document = properties.get("Body")
    if (place := properties.get("BodyS3Location")) is not None:
        members = {"Bucket": place["Bucket"], "Key": place["Key"]}
        members |= {"VersionId": place["Version"]} if place.get("Version") else {}
        document = aws.call("s3", "GetObject", members)["Body"].read().decode("utf-8", "replace")
    if isinstance(document, str):
        try:
            document = parse_document(document)
        except ValidationError as error:
            raise ResourceError(f"Invalid OpenAPI input: {error}") from None
    if document is None:
        return None
    if not isinstance(document, dict):
        raise ResourceError("Invalid OpenAPI input: the document must be an object.")
    types = {*(document.get(_BINARY) or []), *(properties.get("BinaryMediaTypes") or [])}
    return {**document, _BINARY: sorted(types)}


def _api_name(properties: Properties, document: dict[str, Any] | None) -> str:
    information = (document or {}).get("info")
    title = information.get("title") if isinstance(information, dict) else None
    if (name := properties.get("Name") or title) is None:
        raise ResourceError("An API needs a Name, or a Body with info.title")
    return str(name)


def _policy(properties: Properties) -> str:
    policy = properties.get("Policy", "")
    return policy if isinstance(policy, str) else json.dumps(policy)


def _escaped(text: str) -> str:
    """Return a text as a part of a JSON pointer (RFC 6901)."""
    return text.replace("~", "~0").replace("/", "~1")
