"""Work on single resources of a stack, each with the events that tell of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from polyhost.emulator.cloudformation.errors import ResourceError
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.plan import new_name
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties, ResourceType
from polyhost.emulator.cloudformation.resource_types.registry import RESOURCE_TYPES
from polyhost.emulator.cloudformation.stack import ResourceStatus, Stack, StackResource
from polyhost.emulator.cloudformation.template import Declaration


class ResourceWork:
    """Makes, changes and deletes resources of a stack, and keeps its record of them."""

    def __init__(self, stack: Stack, aws: Aws) -> None:
        self._stack = stack
        self._aws = aws

    def reject(self, declaration: Declaration, reason: str) -> None:
        """Note that a resource cannot be made at all."""
        self._note(_record(declaration, Physical(""), {}), ResourceStatus.CREATE_FAILED, reason)

    def make(self, declaration: Declaration, properties: Properties) -> None:
        """Make a resource and wait until it is ready. Raises ResourceError."""
        kind = RESOURCE_TYPES[declaration.type_name]
        record = self._note(_record(declaration, Physical(""), properties), ResourceStatus.CREATE_IN_PROGRESS)
        try:
            if missing := [name for name in kind.required if name not in properties]:
                raise ResourceError(
                    f"Properties validation failed for resource {declaration.logical_id} with message:"
                    f" required key [{missing[0]}] not found"
                )
            chosen = {kind.name_property: new_name(kind, self._stack.name, declaration.logical_id)}
            named = (chosen if kind.name_property else {}) | dict(properties)
            record = replace(record, physical=kind.create(self._aws, named))
            record = self._note(record, ResourceStatus.CREATE_IN_PROGRESS, "Resource creation Initiated")
            kind.settle(self._aws, record.physical, named)
        except ResourceError as error:
            if error.made is not None:
                record = replace(record, physical=error.made)
            self._note(record, ResourceStatus.CREATE_FAILED, str(error))
            raise
        self._note(record, ResourceStatus.CREATE_COMPLETE)

    def change(self, before: StackResource, declaration: Declaration, properties: Properties) -> None:
        """Change a resource in place and wait until it is ready. Raises ResourceError."""
        self._change(before, _record(declaration, before.physical, properties))

    def restore(self, changed: StackResource, before: StackResource) -> None:
        """Change a resource back to what it was. Raises ResourceError."""
        self._change(changed, before)

    def check_replaceable(self, before: StackResource, properties: Properties) -> None:
        """Raise ResourceError if the new resource would have the old one's name."""
        kind = RESOURCE_TYPES[before.type_name]
        if kind.name_property in properties and properties[kind.name_property] == before.physical.name:
            error = ResourceError(
                "CloudFormation cannot update a stack when a custom-named resource requires replacing. Rename"
                f" {self._stack.name}/{before.physical.name} and update the stack again."
            )
            self._note(before, ResourceStatus.UPDATE_FAILED, str(error))
            raise error

    def remove(self, resource: StackResource) -> bool:
        """Delete a resource, and return whether it is gone; the stack's record of it is the caller's."""
        if resource.physical.id:
            self._tell(resource, ResourceStatus.DELETE_IN_PROGRESS)
            kind = RESOURCE_TYPES[resource.type_name]
            try:
                kind.delete(self._aws, resource.physical, _named(kind, resource))
            except ResourceError as error:
                self._tell(resource, ResourceStatus.DELETE_FAILED, str(error))
                return False
            self._tell(resource, ResourceStatus.DELETE_COMPLETE)
        return True

    def keep(self, resource: StackResource) -> None:
        """Note that a resource stays although the stack no longer has it."""
        self._tell(resource, ResourceStatus.DELETE_SKIPPED)

    def _change(self, before: StackResource, after: StackResource) -> None:
        kind = RESOURCE_TYPES[after.type_name]
        record = self._note(replace(after, physical=before.physical), ResourceStatus.UPDATE_IN_PROGRESS)
        try:
            physical = kind.update(self._aws, record.physical, _named(kind, record), _named(kind, before))
            # The service may return another ARN, with a random part; to the stack it is the same resource.
            record = replace(record, physical=replace(physical, id=before.physical.id))
            kind.settle(self._aws, record.physical, _named(kind, record))
        except ResourceError as error:
            self._note(record, ResourceStatus.UPDATE_FAILED, str(error))
            raise
        self._note(record, ResourceStatus.UPDATE_COMPLETE)

    def _note(self, resource: StackResource, status: ResourceStatus, reason: str = "") -> StackResource:
        """Record what a resource has become, and tell so."""
        noted = replace(resource, status=status, reason=reason, at=datetime.now(UTC))
        self._stack.resources[noted.logical_id] = noted
        self._stack.note(noted)
        return noted

    def _tell(self, resource: StackResource, status: ResourceStatus, reason: str = "") -> None:
        """Tell what becomes of a resource; while it is the one that the stack has, record it too."""
        told = replace(resource, status=status, reason=reason, at=datetime.now(UTC))
        known = self._stack.resources.get(resource.logical_id)
        if known is not None and known.physical == resource.physical:
            self._stack.resources[resource.logical_id] = told
        self._stack.note(told)


def _record(declaration: Declaration, physical: Physical, properties: Properties) -> StackResource:
    return StackResource(
        declaration.logical_id,
        declaration.type_name,
        physical,
        properties,
        declaration.deletion_policy,
        declaration.replace_policy,
    )


def _named(kind: ResourceType, resource: StackResource) -> Mapping[str, Any]:
    """Return a resource's properties, with the name that it has."""
    named = {kind.name_property: resource.physical.name} if kind.name_property and resource.physical.name else {}
    return {**resource.properties, **named}
