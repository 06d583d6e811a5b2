"""What a template makes of a stack: which resources are added, changed, replaced and removed."""

import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from polyhost.emulator.cloudformation.errors import InsufficientCapabilities
from polyhost.emulator.cloudformation.functions import TemplateEvaluation
from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.resource_types.interfaces import ResourceType
from polyhost.emulator.cloudformation.resource_types.registry import RESOURCE_TYPES
from polyhost.emulator.cloudformation.stack import Stack, StackResource
from polyhost.emulator.cloudformation.template import Declaration, Template
from polyhost.emulator.errors import ValidationError

# What a value is before its resource is made (CloudFormation user guide, change sets).
KNOWN_AFTER_APPLY = "{{changeSet:KNOWN_AFTER_APPLY}}"
_NAMED = "CAPABILITY_NAMED_IAM"
EXPAND = "CAPABILITY_AUTO_EXPAND"
_SUFFIX = string.digits + string.ascii_uppercase


class Action(StrEnum):
    """What happens to a resource (CloudFormation API reference, ResourceChange)."""

    ADD = "Add"
    MODIFY = "Modify"
    REMOVE = "Remove"


@dataclass(frozen=True)
class ResourceChange:
    """A change of one resource; `before` is what there is of it now."""

    action: Action
    logical_id: str
    type_name: str
    before: StackResource | None
    replaces: bool = False
    changed: frozenset[str] = frozenset()


class _AnyAttribute(dict[str, str]):
    """The attributes of a resource that is not made yet."""

    def __missing__(self, name: str) -> str:
        return KNOWN_AFTER_APPLY


class _Foreseen(dict[str, Physical]):
    """The resources of a stack, and in place of those that are not made yet what can be said of them."""

    def __missing__(self, name: str) -> Physical:
        return Physical(KNOWN_AFTER_APPLY, _AnyAttribute())


def foresee(stack: Stack, template: Template, names: Mapping[str, Any]) -> list[ResourceChange]:
    """Return what would change, as far as it can be told before anything is made."""
    resources = _Foreseen({name: item.physical for name, item in stack.resources.items()})
    evaluation = TemplateEvaluation(template, names, resources, lambda _: KNOWN_AFTER_APPLY)
    changes, wanted = [], list(declared(template, evaluation))
    for declaration in wanted:
        before = stack.resources.get(declaration.logical_id)
        change = compare(declaration, before, evaluation.value(declaration.properties))
        if change is None:
            continue
        changes.append(change)
        if change.replaces:
            resources.pop(declaration.logical_id)
    kept = {declaration.logical_id for declaration in wanted}
    removed = [item for name, item in stack.resources.items() if name not in kept]
    return [*changes, *(ResourceChange(Action.REMOVE, item.logical_id, item.type_name, item) for item in removed)]


def declared(template: Template, evaluation: TemplateEvaluation) -> Iterator[Declaration]:
    """Yield the resources whose conditions hold, in the order in which they are made."""
    for declaration in template.declarations.values():
        if declaration.condition is None or evaluation.condition(declaration.condition):
            yield declaration


def compare(
    declaration: Declaration, before: StackResource | None, properties: Mapping[str, Any]
) -> ResourceChange | None:
    """Return how a resource changes, or None if it stays as it is."""
    name, type_name = declaration.logical_id, declaration.type_name
    if before is None:
        return ResourceChange(Action.ADD, name, type_name, None)
    changed = frozenset(
        key
        for key in properties.keys() | before.properties.keys()
        if _normal(properties.get(key)) != _normal(before.properties.get(key))
    )
    if not changed:
        return None
    kind = RESOURCE_TYPES.get(type_name)
    return ResourceChange(
        Action.MODIFY, name, type_name, before, kind is None or kind.needs_replacement(changed), changed
    )


def new_name(kind: ResourceType, stack: str, logical_id: str) -> str:
    """Return a name for a resource that the template gives none: stack, logical ID and something random."""
    suffix = "".join(secrets.choice(_SUFFIX) for _ in range(12))
    name = f"{f'{stack}-{logical_id}'[: kind.max_name_length - len(suffix) - 1].rstrip('-')}-{suffix}"
    return name.lower() if kind.type_name == "AWS::S3::Bucket" else name


def check_types(stack: Stack, template: Template) -> None:
    """Raise ValidationError if a resource would become one of another type."""
    changed = [
        name
        for name, item in template.declarations.items()
        if name in stack.resources and stack.resources[name].type_name != item.type_name
    ]
    if changed:
        raise ValidationError(
            "Update of resource type is not permitted. The new template modifies resource type of the following"
            f" resources: [{', '.join(changed)}]"
        )


def needed_capabilities(template: Template) -> tuple[list[str], str]:
    """Return the capabilities that a template needs, and why."""
    found, named = [], False
    for item in template.declarations.values():
        kind = RESOURCE_TYPES.get(item.type_name)
        if kind is not None and kind.capability:
            found.append(item.type_name)
            named = named or kind.name_property in item.properties
    if not found:
        return [], ""
    needed = _NAMED if named else "CAPABILITY_IAM"
    types = ", ".join(sorted(set(found)))
    return [needed], f"The following resource(s) require capabilities: [{types}]"


def check_capabilities(template: Template, given: tuple[str, ...], expands: bool) -> None:
    """Raise InsufficientCapabilities if a template needs one that a request does not give.

    `expands`: whether its transforms need one.
    """
    needed, _ = needed_capabilities(template)
    missing = needed if needed and not {*needed, _NAMED} & set(given) else []
    if expands and template.transforms and EXPAND not in given:
        missing = [*missing, EXPAND]
    if missing:
        raise InsufficientCapabilities(f"Requires capabilities : [{', '.join(missing)}]")


def _normal(value: Any) -> Any:
    """Return a value so that the number 1 and the text of a parameter "1" are the same."""
    if isinstance(value, Mapping):
        return {name: _normal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)
