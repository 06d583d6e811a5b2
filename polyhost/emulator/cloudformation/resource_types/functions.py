"""AWS::Lambda: functions, their versions, aliases, URLs, permissions and retries, and layers."""

import io
import zipfile
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
from polyhost.emulator.errors import AwsError
from polyhost.emulator.functions.spec import FunctionReference

# Properties of a function that UpdateFunctionConfiguration does not take.
_SEPARATE = frozenset(
    ("Architectures", "Code", "CodeSigningConfigArn", "PackageType", "ReservedConcurrentExecutions", "Tags")
)
# What a property becomes when a template no longer has it.
_DEFAULTS: Properties = {
    "Description": "",
    "Environment": {"Variables": {}},
    "ImageConfig": {},
    "Layers": [],
    "MemorySize": 128,
    "Timeout": 3,
}
_RESERVED = "ReservedConcurrentExecutions"
# A zip of the same text has to be the same zip.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class FunctionType(ResourceType):
    type_name = "AWS::Lambda::Function"
    name_property = "FunctionName"
    max_name_length = 64
    required = ("Code", "Role")
    replaced_by = frozenset(("FunctionName", "PackageType"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateFunction and, if the function has a limit of its own, PutFunctionConcurrency."""
        members = _configuration(properties) | {"Code": _code(properties), "Tags": _tags(properties)}
        for name in ("Architectures", "CodeSigningConfigArn", "PackageType"):
            if name in properties:
                members[name] = properties[name]
        arn = aws.call("lambda", "CreateFunction", members)["FunctionArn"]
        physical = Physical(properties["FunctionName"], {"Arn": arn}, properties["FunctionName"])
        with made(physical):
            self._limit(aws, properties, {})
        return physical

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Change the code, the configuration, the limit and the tags, as far as each differs."""
        name, arn = physical.name, physical.attributes["Arn"]
        parts = [(item["Code"], item.get("Architectures")) for item in (properties, before)]
        if parts[0] != parts[1]:
            architectures = {"Architectures": parts[0][1]} if parts[0][1] else {}
            members = {"FunctionName": name, **_code(properties), **architectures}
            aws.call("lambda", "UpdateFunctionCode", members)
        wanted, had = _configuration(properties), _configuration(before)
        if wanted != had:
            removed = {key: value for key, value in _DEFAULTS.items() if key in had and key not in wanted}
            aws.call("lambda", "UpdateFunctionConfiguration", wanted | removed)
        self._limit(aws, properties, before)
        tags, old = _tags(properties), _tags(before)
        if gone := sorted(old.keys() - tags.keys()):
            aws.call("lambda", "UntagResource", {"Resource": arn, "TagKeys": gone})
        if tags != old and tags:
            aws.call("lambda", "TagResource", {"Resource": arn, "Tags": tags})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteFunction, which deletes versions and aliases too; the log group stays, as on AWS."""
        aws.discard("lambda", "DeleteFunction", {"FunctionName": physical.name})

    @staticmethod
    def _limit(aws: Aws, properties: Properties, before: Properties) -> None:
        name, wanted = properties["FunctionName"], properties.get(_RESERVED)
        if wanted == before.get(_RESERVED):
            return
        if wanted is None:
            aws.call("lambda", "DeleteFunctionConcurrency", {"FunctionName": name})
        else:
            aws.call("lambda", "PutFunctionConcurrency", {"FunctionName": name, _RESERVED: wanted})


class FunctionVersionType(ImmutableType):
    type_name = "AWS::Lambda::Version"
    required = ("FunctionName",)

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call PublishVersion, which publishes nothing if nothing has changed."""
        members = {**properties, "FunctionName": _function(properties["FunctionName"]).name}
        named = {"FunctionName": members["FunctionName"]}
        known = {item["Version"] for item in aws.call("lambda", "ListVersionsByFunction", named)["Versions"]}
        published = aws.call("lambda", "PublishVersion", members)
        version, arn = published["Version"], published["FunctionArn"]
        if version in known:
            raise ResourceError(
                f"A version for this Lambda function exists ( {version} ). Modify the function to create a new version."
            )
        return Physical(arn, {"Version": version, "FunctionArn": arn})

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteFunction for the version."""
        reference = _function(physical.id)
        members = {"FunctionName": reference.name, "Qualifier": reference.qualifier}
        aws.discard("lambda", "DeleteFunction", members)


class FunctionAliasType(ResourceType):
    type_name = "AWS::Lambda::Alias"
    required = ("FunctionName", "FunctionVersion", "Name")
    replaced_by = frozenset(("FunctionName", "Name"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateAlias."""
        arn = aws.call("lambda", "CreateAlias", self._members(properties))["AliasArn"]
        return Physical(arn, {"AliasArn": arn})

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateAlias."""
        removed: dict[str, Any] = {"Description": ""} if "Description" in before else {}
        if "RoutingConfig" in before:
            removed["RoutingConfig"] = {"AdditionalVersionWeights": {}}
        aws.call("lambda", "UpdateAlias", removed | self._members(properties))
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteAlias."""
        name = _function(properties["FunctionName"]).name
        aws.discard("lambda", "DeleteAlias", {"FunctionName": name, "Name": properties["Name"]})

    @staticmethod
    def _members(properties: Properties) -> dict[str, Any]:
        members = {**properties, "FunctionName": _function(properties["FunctionName"]).name}
        if "RoutingConfig" in properties:
            weights = properties["RoutingConfig"].get("AdditionalVersionWeights") or []
            by_version = {item["FunctionVersion"]: item["FunctionWeight"] for item in weights}
            members["RoutingConfig"] = {"AdditionalVersionWeights": by_version}
        return members


class PermissionType(ImmutableType):
    type_name = "AWS::Lambda::Permission"
    name_property = "StatementId"  # which templates cannot give
    max_name_length = 100
    required = ("Action", "FunctionName", "Principal")

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call AddPermission."""
        aws.call("lambda", "AddPermission", {**properties, **_qualified(properties["FunctionName"])})
        statement = properties["StatementId"]
        return Physical(statement, {"Id": statement}, statement)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call RemovePermission."""
        members = {"StatementId": physical.name, **_qualified(properties["FunctionName"])}
        aws.discard("lambda", "RemovePermission", members)


class FunctionUrlType(ResourceType):
    type_name = "AWS::Lambda::Url"
    required = ("AuthType", "TargetFunctionArn")
    replaced_by = frozenset(("Qualifier", "TargetFunctionArn"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateFunctionUrlConfig."""
        return self._physical(aws.call("lambda", "CreateFunctionUrlConfig", self._members(properties)))

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateFunctionUrlConfig."""
        return self._physical(aws.call("lambda", "UpdateFunctionUrlConfig", self._members(properties)))

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteFunctionUrlConfig."""
        members = self._members(properties)
        named = {name: value for name, value in members.items() if name in ("FunctionName", "Qualifier")}
        aws.discard("lambda", "DeleteFunctionUrlConfig", named)

    @staticmethod
    def _members(properties: Properties) -> dict[str, Any]:
        members = {name: value for name, value in properties.items() if name != "TargetFunctionArn"}
        return members | _qualified(properties["TargetFunctionArn"])

    @staticmethod
    def _physical(found: dict[str, Any]) -> Physical:
        return Physical(
            found["FunctionArn"], {"FunctionArn": found["FunctionArn"], "FunctionUrl": found["FunctionUrl"]}
        )


class EventInvokeConfigType(ResourceType):
    type_name = "AWS::Lambda::EventInvokeConfig"
    required = ("FunctionName", "Qualifier")
    replaced_by = frozenset(("FunctionName", "Qualifier"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call PutFunctionEventInvokeConfig."""
        reference = _function(properties["FunctionName"])
        aws.call("lambda", "PutFunctionEventInvokeConfig", {**properties, "FunctionName": reference.name})
        return Physical(f"{reference.name}|{properties['Qualifier']}")

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Put the configuration anew."""
        self.delete(aws, physical, before)
        return self.create(aws, properties)

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteFunctionEventInvokeConfig."""
        name, qualifier = physical.id.split("|")
        aws.discard("lambda", "DeleteFunctionEventInvokeConfig", {"FunctionName": name, "Qualifier": qualifier})


class LayerVersionType(ImmutableType):
    type_name = "AWS::Lambda::LayerVersion"
    name_property = "LayerName"
    max_name_length = 140
    required = ("Content",)

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call PublishLayerVersion. Another version of the layer may have the same name."""
        arn = aws.call("lambda", "PublishLayerVersion", properties)["LayerVersionArn"]
        return Physical(arn, {"LayerVersionArn": arn})

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteLayerVersion."""
        name, version = physical.id.split(":")[-2:]
        aws.discard("lambda", "DeleteLayerVersion", {"LayerName": name, "VersionNumber": version})


def _configuration(properties: Properties) -> dict[str, Any]:
    """Return what UpdateFunctionConfiguration takes."""
    members = {name: value for name, value in properties.items() if name not in _SEPARATE}
    if "KmsKeyArn" in members:
        members["KMSKeyArn"] = members.pop("KmsKeyArn")
    return members


def _code(properties: Properties) -> dict[str, Any]:
    """Return the code as operations take it: CloudFormation's ZipFile is the text of a module `index`."""
    code = dict(properties["Code"])
    if (source := code.get("ZipFile")) is not None:
        python = str(properties.get("Runtime", "")).startswith("python")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            info = zipfile.ZipInfo("index.py" if python else "index.js", _ZIP_TIME)
            info.external_attr = 0o644 << 16
            archive.writestr(info, str(source))
        code["ZipFile"] = content.getvalue()
    return code


def _tags(properties: Properties) -> dict[str, Any]:
    return {item["Key"]: item["Value"] for item in properties.get("Tags") or []}


def _function(text: object) -> FunctionReference:
    """Return the function that a property names. Raises ResourceError."""
    try:
        return FunctionReference.parse(str(text), "")
    except AwsError as error:
        raise ResourceError(error.message or str(error)) from None


def _qualified(text: object) -> dict[str, str]:
    """Return the members that name a function and, if the property has one, its version or alias."""
    reference = _function(text)
    return {"FunctionName": reference.name} | ({"Qualifier": reference.qualifier} if reference.qualifier else {})
