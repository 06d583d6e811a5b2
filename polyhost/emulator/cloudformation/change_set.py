"""Change sets: what an update would do, kept until it is executed or deleted."""

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from polyhost.emulator.cloudformation import parameters
from polyhost.emulator.cloudformation.plan import Action, ResourceChange
from polyhost.emulator.cloudformation.stack import Stack, StackSettings
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.config import ACCOUNT

_NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ExecutionStatus(StrEnum):
    """Whether a change set can be executed (CloudFormation API reference, DescribeChangeSet)."""

    UNAVAILABLE = "UNAVAILABLE"
    AVAILABLE = "AVAILABLE"
    EXECUTED = "EXECUTE_COMPLETE"
    OBSOLETE = "OBSOLETE"


@dataclass
class ChangeSet:
    """A template and settings for a stack, with the changes that they mean. `names` are the parameters' values."""

    name: str
    stack: Stack
    creates: bool
    description: str
    template: Template
    settings: StackSettings
    names: dict[str, Any]
    changes: list[ResourceChange]
    has_changes: bool
    execution_status: ExecutionStatus = ExecutionStatus.AVAILABLE
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    id: str = ""

    def __post_init__(self) -> None:
        self.id = f"arn:aws:cloudformation:{self.stack.region}:{ACCOUNT}:changeSet/{self.name}/{uuid.uuid4()}"
        if not self.has_changes:
            self.execution_status = ExecutionStatus.UNAVAILABLE

    def summary(self) -> dict[str, Any]:
        """Return the members of ListChangeSets."""
        return {
            "StackId": self.stack.id,
            "StackName": self.stack.name,
            "ChangeSetId": self.id,
            "ChangeSetName": self.name,
            "ExecutionStatus": self.execution_status,
            "Status": "CREATE_COMPLETE" if self.has_changes else "FAILED",
            "StatusReason": None if self.has_changes else _NO_CHANGES,
            "CreationTime": self.created,
            "Description": self.description or None,
        }

    def members(self) -> dict[str, Any]:
        """Return the members of DescribeChangeSet."""
        return self.summary() | {
            "Parameters": parameters.describe(self.template.parameters, self.settings.parameters),
            "Capabilities": list(self.settings.capabilities),
            "Tags": [{"Key": key, "Value": value} for key, value in self.settings.tags.items()],
            "NotificationARNs": list(self.settings.notification_arns),
            "RollbackConfiguration": {},
            "Changes": [{"Type": "Resource", "ResourceChange": _members(change)} for change in self.changes],
        }


def _members(change: ResourceChange) -> dict[str, Any]:
    members: dict[str, Any] = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "PhysicalResourceId": change.before.physical.id if change.before is not None else None,
        "ResourceType": change.type_name,
    }
    if change.action is Action.MODIFY:
        properties = [
            {"Target": {"Attribute": "Properties", "Name": name}, "Evaluation": "Static"}
            for name in sorted(change.changed)
        ]
        members |= {"Replacement": str(change.replaces), "Scope": ["Properties"], "Details": properties}
    return members
