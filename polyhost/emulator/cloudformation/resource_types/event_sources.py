"""AWS::Lambda::EventSourceMapping: queues whose messages call a function."""

from typing import Any

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties, ResourceType

_SOURCE = "EventSourceArn"
# What a property becomes when a template no longer has it (Lambda API reference, UpdateEventSourceMapping).
_DEFAULTS: Properties = {
    "BatchSize": 10,
    "Enabled": True,
    "FilterCriteria": {},
    "FunctionResponseTypes": [],
    "MaximumBatchingWindowInSeconds": 0,
    "ScalingConfig": {},
}


class EventSourceMappingType(ResourceType):
    type_name = "AWS::Lambda::EventSourceMapping"
    required = ("FunctionName",)
    replaced_by = frozenset((_SOURCE, "StartingPosition", "StartingPositionTimestamp"))

    def create(self, aws: Aws, properties: Properties) -> Physical:
        """Call CreateEventSourceMapping, for a queue of SQS: functions get events of no other source by polling."""
        source = str(properties.get(_SOURCE, ""))
        if not source.startswith("arn:") or source.split(":")[2:3] != ["sqs"]:
            raise ResourceError(f"{_SOURCE} {source!r} is not emulated; it must be the ARN of a queue of SQS")
        members = _members(properties) | {"Tags": _tags(properties)}
        created = aws.call("lambda", "CreateEventSourceMapping", members)
        identifier = created["UUID"]
        return Physical(identifier, {"Id": identifier, "EventSourceMappingArn": created["EventSourceMappingArn"]})

    def update(self, aws: Aws, physical: Physical, properties: Properties, before: Properties) -> Physical:
        """Call UpdateEventSourceMapping, and change the tags."""
        removed = {name: value for name, value in _DEFAULTS.items() if name in before and name not in properties}
        members = {name: value for name, value in _members(properties).items() if name not in self.replaced_by}
        aws.call("lambda", "UpdateEventSourceMapping", {"UUID": physical.id, **removed, **members})
        arn, tags, old = physical.attributes["EventSourceMappingArn"], _tags(properties), _tags(before)
        if gone := sorted(old.keys() - tags.keys()):
            aws.call("lambda", "UntagResource", {"Resource": arn, "TagKeys": gone})
        if tags and tags != old:
            aws.call("lambda", "TagResource", {"Resource": arn, "Tags": tags})
        return physical

    def delete(self, aws: Aws, physical: Physical, properties: Properties) -> None:
        """Call DeleteEventSourceMapping; a batch that runs then comes to its end."""
        aws.discard("lambda", "DeleteEventSourceMapping", {"UUID": physical.id})


def _members(properties: Properties) -> dict[str, Any]:
    """Return the properties as operations have them, without the tags."""
    members = {name: value for name, value in properties.items() if name != "Tags"}
    if "KmsKeyArn" in members:
        members["KMSKeyArn"] = members.pop("KmsKeyArn")
    return members


def _tags(properties: Properties) -> dict[str, Any]:
    return {item["Key"]: item["Value"] for item in properties.get("Tags") or []}
