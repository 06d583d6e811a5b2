"""A stack as it is: its status, its resources, and what has happened to it."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import Properties
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.config import ACCOUNT

STACK_TYPE = "AWS::CloudFormation::Stack"


class StackStatus(StrEnum):
    """The statuses of a stack (CloudFormation API reference, Stack)."""

    REVIEW_IN_PROGRESS = "REVIEW_IN_PROGRESS"
    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    ROLLBACK_IN_PROGRESS = "ROLLBACK_IN_PROGRESS"
    ROLLBACK_COMPLETE = "ROLLBACK_COMPLETE"
    ROLLBACK_FAILED = "ROLLBACK_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_CLEANUP = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED = "UPDATE_FAILED"
    UPDATE_ROLLBACK_IN_PROGRESS = "UPDATE_ROLLBACK_IN_PROGRESS"
    UPDATE_ROLLBACK_CLEANUP = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
    UPDATE_ROLLBACK_COMPLETE = "UPDATE_ROLLBACK_COMPLETE"
    UPDATE_ROLLBACK_FAILED = "UPDATE_ROLLBACK_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETE = "DELETE_COMPLETE"
    DELETE_FAILED = "DELETE_FAILED"

    @property
    def in_progress(self) -> bool:
        """Whether a change is going on. A stack in review waits for its change set to be executed."""
        return self.value.endswith("_IN_PROGRESS") and self is not StackStatus.REVIEW_IN_PROGRESS

    @property
    def after_failure(self) -> "StackStatus":
        """What a status in progress becomes if the change cannot go on."""
        return _AFTER_FAILURE.get(self, StackStatus.UPDATE_ROLLBACK_FAILED)

    @property
    def updatable(self) -> bool:
        """Whether UpdateStack and change sets for an update are allowed."""
        return self in (StackStatus.CREATE_COMPLETE, StackStatus.UPDATE_COMPLETE, StackStatus.UPDATE_ROLLBACK_COMPLETE)


_AFTER_FAILURE = {
    StackStatus.CREATE_IN_PROGRESS: StackStatus.CREATE_FAILED,
    StackStatus.ROLLBACK_IN_PROGRESS: StackStatus.ROLLBACK_FAILED,
    StackStatus.DELETE_IN_PROGRESS: StackStatus.DELETE_FAILED,
    StackStatus.UPDATE_IN_PROGRESS: StackStatus.UPDATE_FAILED,
}


class ResourceStatus(StrEnum):
    """The statuses of a resource of a stack (CloudFormation API reference, StackResource)."""

    CREATE_IN_PROGRESS = "CREATE_IN_PROGRESS"
    CREATE_COMPLETE = "CREATE_COMPLETE"
    CREATE_FAILED = "CREATE_FAILED"
    UPDATE_IN_PROGRESS = "UPDATE_IN_PROGRESS"
    UPDATE_COMPLETE = "UPDATE_COMPLETE"
    UPDATE_FAILED = "UPDATE_FAILED"
    DELETE_IN_PROGRESS = "DELETE_IN_PROGRESS"
    DELETE_COMPLETE = "DELETE_COMPLETE"
    DELETE_FAILED = "DELETE_FAILED"
    DELETE_SKIPPED = "DELETE_SKIPPED"


@dataclass(frozen=True)
class StackEvent:
    """Something that happened to a stack or to one of its resources."""

    logical_id: str
    physical_id: str
    type_name: str
    status: str
    reason: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    event_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True)
class StackResource:
    """A resource that a stack has made. `properties` are the evaluated ones, without a name that was chosen for it."""

    logical_id: str
    type_name: str
    physical: Physical
    properties: Properties
    deletion_policy: str = "Delete"
    replace_policy: str = "Delete"
    status: ResourceStatus = ResourceStatus.CREATE_COMPLETE
    reason: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True)
class Output:
    """A value that a stack tells, and perhaps exports to other stacks."""

    key: str
    value: str
    description: str
    export: str


@dataclass(frozen=True)
class StackSettings:
    """What a request says of a stack besides its template."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    capabilities: tuple[str, ...] = ()
    notification_arns: tuple[str, ...] = ()
    role_arn: str = ""
    on_failure: str = "ROLLBACK"


class Stack:
    """A stack of one region. Its thread changes it; any thread may read it."""

    def __init__(self, region: str, name: str) -> None:
        self.on_change: Callable[[], None] = lambda: None  # called after each event
        self.region = region
        self.name = name
        self.id = f"arn:aws:cloudformation:{region}:{ACCOUNT}:stack/{name}/{uuid.uuid4()}"
        self.template: Template | None = None  # None until a change set is executed
        self.settings = StackSettings()
        self.status = StackStatus.REVIEW_IN_PROGRESS
        self.reason = ""
        self.created = datetime.now(UTC)
        self.updated: datetime | None = None
        self.deleted: datetime | None = None
        self.protected = False
        self.change_set_id = ""
        self.resources: dict[str, StackResource] = {}
        self.outputs: list[Output] = []
        self.imports: set[str] = set()  # names of exports that its template uses
        self.events: list[StackEvent] = []  # the oldest first

    def become(self, status: StackStatus, reason: str = "") -> None:
        """Change the status, and tell so by an event."""
        self.status, self.reason = status, reason
        if status is StackStatus.DELETE_COMPLETE:
            self.deleted = datetime.now(UTC)
        self.events.append(StackEvent(self.name, self.id, STACK_TYPE, status, reason))
        self.on_change()

    def note(self, resource: StackResource) -> None:
        """Tell by an event what a resource has become."""
        self.events.append(
            StackEvent(resource.logical_id, resource.physical.id, resource.type_name, resource.status, resource.reason)
        )
        self.on_change()

    def pseudo_parameters(self) -> dict[str, Any]:
        """Return the values of the pseudo-parameters, apart from AWS::NoValue."""
        return {
            "AWS::AccountId": ACCOUNT,
            "AWS::NotificationARNs": list(self.settings.notification_arns),
            "AWS::Partition": "aws",
            "AWS::Region": self.region,
            "AWS::StackId": self.id,
            "AWS::StackName": self.name,
            "AWS::URLSuffix": "amazonaws.com",
        }
