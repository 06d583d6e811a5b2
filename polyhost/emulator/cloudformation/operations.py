"""CloudFormation's operations on stacks."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from polyhost.emulator.cloudformation import descriptions, plan
from polyhost.emulator.cloudformation.requests import StackRequest
from polyhost.emulator.cloudformation.stack import Stack, StackResource, StackStatus
from polyhost.emulator.cloudformation.stacks import Stacks
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import ValidationError

Members = dict[str, Any]
StackOperation = Callable[[StackRequest], Awaitable[Members]]

_WAIT_S = 50.0  # how long DescribeStacks waits for the end of a change; clients give up after 60 s
_POLL_S = 0.05
_PAGE = 100


class StackOperations:
    """Operations on stacks, their resources, events and templates; changes go on after the response."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self.operations: Mapping[str, StackOperation] = {
            "CreateStack": self._create,
            "UpdateStack": self._update,
            "DeleteStack": self._delete,
            "CancelUpdateStack": self._cancel_update,
            "UpdateTerminationProtection": self._protect,
            "DescribeStacks": self._describe,
            "ListStacks": self._list,
            "DescribeStackEvents": self._events,
            "DescribeStackResource": self._resource,
            "DescribeStackResources": self._resources,
            "ListStackResources": self._list_resources,
            "GetTemplate": self._template,
            "GetTemplateSummary": self._template_summary,
            "ValidateTemplate": self._validate,
            "ListExports": self._exports,
            "ListImports": self._imports,
        }

    async def _create(self, request: StackRequest) -> Members:
        name, template = request.checked_name("StackName"), await request.template(self._stacks)
        stack = self._stacks.add(request.region, name)
        try:
            settings = request.settings(template, stack)
            names = await self._stacks.names(stack, template, settings)
        except BaseException:
            self._stacks.forget(stack)
            raise
        stack.protected = bool(request.members.get("EnableTerminationProtection"))
        self._stacks.create(stack, template, settings, names)
        return {"StackId": stack.id}

    async def _update(self, request: StackRequest) -> Members:
        stack = self._get(request)
        template = await request.template(self._stacks, stack)
        settings = request.settings(template, stack)
        names = await self._stacks.names(stack, template, settings)
        if not has_changes(stack, template, settings.tags, plan.foresee(stack, template, names)):
            raise ValidationError("No updates are to be performed.")
        self._stacks.update(stack, template, settings, names)
        return {"StackId": stack.id}

    async def _delete(self, request: StackRequest) -> Members:
        stack = self._stacks.find(request.region, str(request.members["StackName"]))
        if stack is not None and stack.status is not StackStatus.DELETE_COMPLETE:
            self._stacks.delete(stack, list(request.members.get("RetainResources") or []))
        return {}

    async def _cancel_update(self, request: StackRequest) -> Members:
        stack = self._get(request)
        if stack.status is not StackStatus.UPDATE_IN_PROGRESS:
            raise ValidationError(f"CancelUpdateStack cannot be called from current stack status {stack.status}")
        self._stacks.cancel(stack)
        return {}

    async def _protect(self, request: StackRequest) -> Members:
        stack = self._get(request)
        stack.protected = bool(request.members["EnableTerminationProtection"])
        stack.on_change()
        return {"StackId": stack.id}

    async def _describe(self, request: StackRequest) -> Members:
        """Describe stacks; a waiter is answered when the change has ended."""
        if "StackName" not in request.members:
            living = [
                item for item in self._stacks.all(request.region) if item.status is not StackStatus.DELETE_COMPLETE
            ]
            return _page(request, "Stacks", [descriptions.stack_members(item) for item in living])
        stack = self._get(request)
        deadline = time.monotonic() + _WAIT_S
        while request.from_waiter and stack.status.in_progress and time.monotonic() < deadline:
            await asyncio.sleep(_POLL_S)
        if stack.status is StackStatus.DELETE_COMPLETE and request.members["StackName"] != stack.id:
            stack = self._get(request)  # raises: it is gone by its name
        return {"Stacks": [descriptions.stack_members(stack)]}

    async def _list(self, request: StackRequest) -> Members:
        wanted = request.members.get("StackStatusFilter")
        found = [item for item in self._stacks.all(request.region) if not wanted or item.status in wanted]
        return _page(request, "StackSummaries", [descriptions.stack_summary(item) for item in found])

    async def _events(self, request: StackRequest) -> Members:
        stack = self._get(request)
        return _page(request, "StackEvents", [descriptions.event_members(stack, item) for item in stack.events[::-1]])

    async def _resource(self, request: StackRequest) -> Members:
        stack = self._get(request)
        name = str(request.members["LogicalResourceId"])
        (resource,) = self._resources_of(stack, name)
        return {"StackResourceDetail": descriptions.resource_members(stack, resource)}

    async def _resources(self, request: StackRequest) -> Members:
        physical = request.members.get("PhysicalResourceId")
        if physical is not None:
            owners = [
                (stack, resource)
                for stack in self._stacks.all(request.region)
                for resource in list(stack.resources.values())
                if resource.physical.id == physical
            ]
            if not owners:
                raise ValidationError(f"Stack for {physical} does not exist")
            return {"StackResources": [descriptions.resource_members(*owner) for owner in owners]}
        stack = self._get(request)
        found = self._resources_of(stack, request.members.get("LogicalResourceId"))
        return {"StackResources": [descriptions.resource_members(stack, resource) for resource in found]}

    async def _list_resources(self, request: StackRequest) -> Members:
        stack = self._get(request)
        found = [descriptions.resource_members(stack, item) for item in self._resources_of(stack, None)]
        return _page(request, "StackResourceSummaries", found)

    async def _template(self, request: StackRequest) -> Members:
        template = self._get(request).template
        if template is None:
            raise ValidationError(f"Stack {request.members['StackName']} has no template yet; execute its change set.")
        processed = request.members.get("TemplateStage") == "Processed"
        body = template.processed if processed else template.text
        return {"TemplateBody": body, "StagesAvailable": ["Original", "Processed"]}

    async def _template_summary(self, request: StackRequest) -> Members:
        if "StackName" in request.members:
            template = self._get(request).template
            return descriptions.template_members(template) if template is not None else {"Parameters": []}
        return descriptions.template_members(await request.template(self._stacks))

    async def _validate(self, request: StackRequest) -> Members:
        return descriptions.template_members(await request.template(self._stacks))

    async def _exports(self, request: StackRequest) -> Members:
        found = [
            {"ExportingStackId": stack.id, "Name": name, "Value": value}
            for name, (stack, value) in self._stacks.exports(request.region).items()
        ]
        return _page(request, "Exports", found)

    async def _imports(self, request: StackRequest) -> Members:
        name = request.members["ExportName"]
        users = [stack.name for stack in self._stacks.all(request.region) if name in stack.imports]
        if not users:
            raise ValidationError(f"Export '{name}' is not imported by any stack.")
        return _page(request, "Imports", users)

    def _get(self, request: StackRequest) -> Stack:
        name = request.members.get("StackName")
        if name is None:
            raise ValidationError(
                "1 validation error detected: Value null at 'stackName' failed to satisfy constraint: "
                "Member must not be null"
            )
        return self._stacks.get(request.region, str(name))

    @staticmethod
    def _resources_of(stack: Stack, logical_id: str | None) -> list[StackResource]:
        """Return the resources, or the one of this name. Raises ValidationError if it does not exist."""
        found = list(stack.resources.values())
        if logical_id is None:
            return found
        named = [resource for resource in found if resource.logical_id == logical_id]
        if not named:
            raise ValidationError(f"Resource {logical_id} does not exist for stack {stack.name}")
        return named


def has_changes(stack: Stack, template: Template, tags: Mapping[str, str], changes: list[plan.ResourceChange]) -> bool:
    """Return whether an update would do anything."""
    outputs = stack.template.outputs if stack.template is not None else {}
    return bool(changes) or dict(template.outputs) != dict(outputs) or dict(tags) != dict(stack.settings.tags)


def _page(request: StackRequest, member: str, items: list[Any]) -> Members:
    """Return a page of items, and the token of the next one. Raises ValidationError for another token."""
    token = str(request.members.get("NextToken") or "0")
    if not token.isdigit():
        raise ValidationError(f"NextToken {token!r} is invalid.")
    start = int(token)
    more = start + _PAGE < len(items)
    return {member: items[start : start + _PAGE], "NextToken": str(start + _PAGE) if more else None}
