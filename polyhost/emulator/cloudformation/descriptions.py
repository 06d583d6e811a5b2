"""Stacks, resources and events as CloudFormation's operations return them."""

from typing import Any

from polyhost.emulator.cloudformation import parameters
from polyhost.emulator.cloudformation.plan import EXPAND, needed_capabilities
from polyhost.emulator.cloudformation.stack import Stack, StackEvent, StackResource
from polyhost.emulator.cloudformation.template import Template

Members = dict[str, Any]


def stack_members(stack: Stack) -> Members:
    """Return the members of DescribeStacks."""
    declared = stack.template.parameters if stack.template is not None else {}
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "ChangeSetId": stack.change_set_id or None,
        "Description": (stack.template.description if stack.template is not None else "") or None,
        "Parameters": parameters.describe(declared, stack.settings.parameters),
        "CreationTime": stack.created,
        "LastUpdatedTime": stack.updated,
        "DeletionTime": stack.deleted,
        "RollbackConfiguration": {},
        "StackStatus": stack.status,
        "StackStatusReason": stack.reason or None,
        "DisableRollback": stack.settings.on_failure == "DO_NOTHING",
        "NotificationARNs": list(stack.settings.notification_arns),
        "Capabilities": list(stack.settings.capabilities),
        "Outputs": [
            {
                "OutputKey": output.key,
                "OutputValue": output.value,
                "Description": output.description or None,
                "ExportName": output.export or None,
            }
            for output in stack.outputs
        ],
        "RoleARN": stack.settings.role_arn or None,
        "Tags": [{"Key": key, "Value": value} for key, value in stack.settings.tags.items()],
        "EnableTerminationProtection": stack.protected,
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    }


def stack_summary(stack: Stack) -> Members:
    """Return the members of ListStacks."""
    return stack_members(stack) | {
        "TemplateDescription": (stack.template.description if stack.template is not None else "") or None
    }


def resource_members(stack: Stack, resource: StackResource) -> Members:
    """Return the members of DescribeStackResources and its relatives."""
    return {
        "StackName": stack.name,
        "StackId": stack.id,
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical.id or None,
        "ResourceType": resource.type_name,
        "Timestamp": resource.at,
        "LastUpdatedTimestamp": resource.at,
        "ResourceStatus": resource.status,
        "ResourceStatusReason": resource.reason or None,
        "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }


def event_members(stack: Stack, event: StackEvent) -> Members:
    """Return the members of DescribeStackEvents."""
    return {
        "StackId": stack.id,
        "StackName": stack.name,
        "EventId": event.event_id,
        "LogicalResourceId": event.logical_id,
        "PhysicalResourceId": event.physical_id,
        "ResourceType": event.type_name,
        "Timestamp": event.at,
        "ResourceStatus": event.status,
        "ResourceStatusReason": event.reason or None,
    }


def template_members(template: Template) -> Members:
    """Return the members of GetTemplateSummary, of which ValidateTemplate has a part."""
    capabilities, reason = needed_capabilities(template)
    capabilities = [*capabilities, *([EXPAND] if template.transforms else [])]
    return {
        "Description": template.description or None,
        "Parameters": parameters.declare(template.parameters),
        "Capabilities": capabilities,
        "CapabilitiesReason": reason or None,
        "ResourceTypes": sorted({item.type_name for item in template.declarations.values()}),
        "DeclaredTransforms": list(template.transforms),
    }
