"""A template, checked as a whole before anything is made of it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any, Self

from polyhost.emulator.cloudformation.references import Reference, ReferenceKind, references
from polyhost.emulator.cloudformation.template_text import parse_template
from polyhost.emulator.cloudformation.transforms import declared_transforms, transformed
from polyhost.emulator.errors import ValidationError

PSEUDO_PARAMETERS = frozenset(
    f"AWS::{name}"
    for name in ("AccountId", "NotificationARNs", "NoValue", "Partition", "Region", "StackId", "StackName", "URLSuffix")
)
_SECTIONS = (
    *("AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Transform"),
    *("Resources", "Outputs", "Rules", "Hooks"),
)
_POLICIES = {
    "DeletionPolicy": ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot"),
    "UpdateReplacePolicy": ("Delete", "Retain", "Snapshot"),
}


@dataclass(frozen=True)
class Declaration:
    """A resource as a template declares it."""

    logical_id: str
    type_name: str
    properties: Mapping[str, Any]
    depends_on: frozenset[str]  # what DependsOn names, and what the properties refer to
    condition: str | None
    deletion_policy: str
    replace_policy: str


@dataclass(frozen=True)
class Template:
    """`text` is what a client sent, `processed` what its transforms have made of it, as are the sections."""

    text: str
    description: str
    parameters: Mapping[str, Mapping[str, Any]]
    mappings: Mapping[str, Any]
    conditions: Mapping[str, Any]
    outputs: Mapping[str, Mapping[str, Any]]
    declarations: Mapping[str, Declaration]  # in an order in which they can be made
    transforms: tuple[str, ...]
    processed: str

    @classmethod
    def parse(cls, text: str | None, values: Mapping[str, str] | None = None, region: str = "us-east-1") -> Self:
        """Parse and check a template, after its transforms with the values of its parameters.

        Raises ValidationError that names what is wrong with it.
        """
        content = parse_template(text)
        transforms, processed = declared_transforms(content), str(text)
        if transforms:
            content = transformed(content, values or {}, region)
            processed = json.dumps(content)
        if unknown := [str(name) for name in content if name not in _SECTIONS]:
            raise ValidationError(f"Invalid template property or properties [{', '.join(unknown)}]")
        for section in ("Parameters", "Mappings", "Conditions", "Outputs"):
            if not isinstance(content.setdefault(section, {}), dict):
                raise ValidationError(f"Template format error: [/{section}] must be an object.")
        for section in ("Parameters", "Outputs"):
            for name, item in content[section].items():
                if not isinstance(item, dict):
                    raise ValidationError(f"Template format error: [/{section}/{name}] must be an object.")
        if missing := [name for name, item in content["Outputs"].items() if "Value" not in item]:
            raise ValidationError(f"Template format error: [/Outputs/{missing[0]}] has no Value.")
        declarations = {name: _declaration(name, item) for name, item in content["Resources"].items()}
        _check_references(content, declarations)
        return cls(
            str(text),
            str(content.get("Description") or ""),
            content["Parameters"],
            content["Mappings"],
            content["Conditions"],
            content["Outputs"],
            {name: declarations[name] for name in _in_order(declarations)},
            transforms,
            processed,
        )


def _declaration(name: str, item: Any) -> Declaration:
    if not isinstance(item, dict) or not isinstance(item.get("Type"), str):
        raise ValidationError(f"Template format error: [/Resources/{name}] Every Resources object must contain a Type.")
    properties = item.get("Properties") or {}
    if not isinstance(properties, dict):
        raise ValidationError(f"Template format error: [/Resources/{name}/Properties] must be an object.")
    named = item.get("DependsOn") or []
    named = [named] if isinstance(named, str) else named
    policies = {}
    for policy, known in _POLICIES.items():
        policies[policy] = item.get(policy, "Delete")
        if policies[policy] not in known:
            raise ValidationError(
                f"Template format error: Unrecognized {policy} {policies[policy]} for resource {name};"
                f" use one of {', '.join(known)}"
            )
    used = {found.name for found in references(properties) if found.kind is not ReferenceKind.CONDITION}
    depends_on = frozenset({str(other) for other in named} | {other for other in used if "::" not in other})
    condition = item.get("Condition")
    return Declaration(name, item["Type"], properties, depends_on, condition, *policies.values())


def _check_references(content: Mapping[str, Any], declarations: Mapping[str, Declaration]) -> None:
    """Raise ValidationError for a name that nothing in the template has."""
    parameters = PSEUDO_PARAMETERS | content["Parameters"].keys()
    resources = content["Resources"]
    for section in ("Resources", "Outputs"):
        found = list(references(content[section]))
        unresolved = {item.name for item in found if not _is_known(item, parameters, resources, content["Conditions"])}
        unresolved |= {
            name
            for item in (declarations.values() if section == "Resources" else ())
            for name in item.depends_on
            if name not in resources and name not in parameters
        }
        if unresolved:
            raise ValidationError(
                f"Template format error: Unresolved resource dependencies [{', '.join(sorted(unresolved))}] in the"
                f" {section} block of the template"
            )
    named = [item.condition for item in declarations.values()]
    named += [output.get("Condition") for output in content["Outputs"].values()]
    named += [item.name for item in references(content["Conditions"]) if item.kind is ReferenceKind.CONDITION]
    for name in named:
        if name is not None and name not in content["Conditions"]:
            raise ValidationError(f"Template format error: Unresolved condition dependency {name} in the template")
    for item in references(content["Conditions"]):
        if item.kind is not ReferenceKind.CONDITION and item.name not in parameters:
            raise ValidationError(
                f"Template error: conditions may refer to parameters and conditions only, but one refers to {item.name}"
            )


def _is_known(item: Reference, parameters: Any, resources: Any, conditions: Any) -> bool:
    if item.kind is ReferenceKind.CONDITION:
        return item.name in conditions
    return item.name in resources or (item.kind is ReferenceKind.REF and item.name in parameters)


def _in_order(declarations: Mapping[str, Declaration]) -> Iterator[str]:
    """Yield the resources so that each comes after those that it depends on. Raises ValidationError for a cycle."""
    graph = {name: item.depends_on & declarations.keys() for name, item in declarations.items()}
    try:
        yield from TopologicalSorter(graph).static_order()
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        raise ValidationError(f"Circular dependency between resources: [{names}]") from None
