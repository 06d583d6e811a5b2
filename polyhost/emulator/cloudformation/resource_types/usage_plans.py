"""AWS::ApiGateway: usage plans and API keys."""

from typing import Any

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, ImmutableType, Properties, ResourceType
from polyhost.emulator.cloudformation.resource_types.rest_apis import api_members, api_name, replaced

_SERVICE = "apigateway"
_LIMITS = {"Quota": "quota", "Throttle": "throttle"}
# Properties of a key that UpdateApiKey can change, with what they are if a template does not have them.
_OF_KEY = {"CustomerId": "", "Description": "", "Enabled": False}


class UsagePlanType(ResourceType):
    """A plan's name can be changed in place, so no name is kept with the stack."""

    type_name = "AWS::ApiGateway::UsagePlan"
    name_property = "UsagePlanName"

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateUsagePlan."""
        if any("Throttle" in stage for stage in properties.get("ApiStages") or []):
            raise ResourceError("The emulator does not support Throttle in ApiStages; use Throttle of the usage plan")
        members = {name: value for name, value in properties.items() if name != "UsagePlanName"}
        members = api_members(members) | {"name": properties["UsagePlanName"]}
        plan = aws.call(_SERVICE, "CreateUsagePlan", members)["id"]
        return Physical(plan, {"Id": plan})

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateUsagePlan for what differs."""
        patches: list[dict[str, str]] = []
        for name, path in (("UsagePlanName", "/name"), ("Description", "/description")):
            if name in properties and properties[name] != before.get(name):
                patches.append(replaced(path, properties[name]))
        wanted, had = (_stages(item) for item in (properties, before))
        patches += [{"op": "remove", "path": "/apiStages", "value": item} for item in sorted(had - wanted)]
        patches += [{"op": "add", "path": "/apiStages", "value": item} for item in sorted(wanted - had)]
        for name, path in _LIMITS.items():
            patches += _limit_patches(f"/{path}", properties.get(name), before.get(name))
        if patches:
            aws.call(_SERVICE, "UpdateUsagePlan", {"usagePlanId": physical.id, "patchOperations": patches})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteUsagePlan."""
        aws.discard(_SERVICE, "DeleteUsagePlan", {"usagePlanId": physical.id})


class ApiKeyType(ResourceType):
    type_name = "AWS::ApiGateway::ApiKey"
    name_property = "Name"
    max_name_length = 255
    replaced_by = frozenset(("GenerateDistinctId", "Name", "Value"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateApiKey. As on AWS a key is disabled unless the template enables it."""
        key = aws.call(_SERVICE, "CreateApiKey", api_members(dict(properties)))["id"]
        return Physical(key, {"APIKeyId": key}, properties["Name"])

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateApiKey for what differs."""
        patches = [
            replaced(f"/{api_name(name)}", properties.get(name, default))
            for name, default in _OF_KEY.items()
            if properties.get(name) != before.get(name)
        ]
        if patches:
            aws.call(_SERVICE, "UpdateApiKey", {"apiKey": physical.id, "patchOperations": patches})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteApiKey."""
        aws.discard(_SERVICE, "DeleteApiKey", {"apiKey": physical.id})


class UsagePlanKeyType(ImmutableType):
    type_name = "AWS::ApiGateway::UsagePlanKey"
    required = ("KeyId", "KeyType", "UsagePlanId")

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateUsagePlanKey."""
        aws.call(_SERVICE, "CreateUsagePlanKey", api_members(dict(properties)))
        identity = f"{properties['KeyId']}:{properties['UsagePlanId']}"
        return Physical(identity, {"Id": identity})

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteUsagePlanKey."""
        members = {"usagePlanId": properties["UsagePlanId"], "keyId": properties["KeyId"]}
        aws.discard(_SERVICE, "DeleteUsagePlanKey", members)


def _stages(properties: Properties) -> set[str]:
    return {f"{stage['ApiId']}:{stage['Stage']}" for stage in properties.get("ApiStages") or []}


def _limit_patches(path: str, wanted: Any, before: Any) -> list[dict[str, str]]:
    """Return the patches that change a quota or a throttle."""
    if wanted == before:
        return []
    removed = [{"op": "remove", "path": path}] if before else []
    members = api_members(wanted or {})
    return [*removed, *(replaced(f"{path}/{name}", value) for name, value in members.items())]
