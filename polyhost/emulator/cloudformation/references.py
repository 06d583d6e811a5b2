"""What the values of a template refer to: resources, parameters and conditions."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, NamedTuple

# ${Name} and ${Name.Attribute}; ${!Literal} is text.
SUBSTITUTION = re.compile(r"\$\{([^!}][^}]*)\}")


class ReferenceKind(StrEnum):
    """How a value refers to a name."""

    REF = "Ref"
    ATTRIBUTE = "Fn::GetAtt"
    CONDITION = "Condition"


class Reference(NamedTuple):
    """A name in a template, and how it is used."""

    kind: ReferenceKind
    name: str


def references(node: Any) -> Iterator[Reference]:
    """Yield what a value refers to."""
    if isinstance(node, list):
        for item in node:
            yield from references(item)
    elif isinstance(node, dict):
        function, argument = next(iter(node.items())) if len(node) == 1 else ("", None)
        if function == "Ref":
            yield Reference(ReferenceKind.REF, str(argument))
        elif function == "Condition" and isinstance(argument, str):
            yield Reference(ReferenceKind.CONDITION, argument)
        elif function == "Fn::GetAtt":
            yield Reference(ReferenceKind.ATTRIBUTE, attribute_path(argument)[0])
        elif function == "Fn::Sub":
            yield from _substitutions(argument)
        else:
            if function == "Fn::If" and isinstance(argument, list) and argument:
                yield Reference(ReferenceKind.CONDITION, str(argument[0]))
            for value in node.values():
                yield from references(value)


def attribute_path(argument: Any) -> tuple[str, str]:
    """Return the resource and the attribute that the argument of Fn::GetAtt names."""
    if isinstance(argument, list) and argument:
        return str(argument[0]), ".".join(str(part) for part in argument[1:])
    name, _, attribute = str(argument).partition(".")
    return name, attribute


def _substitutions(argument: Any) -> Iterator[Reference]:
    text, given = argument if isinstance(argument, list) and len(argument) == 2 else (argument, {})
    given = given if isinstance(given, dict) else {}
    for value in given.values():
        yield from references(value)
    for expression in SUBSTITUTION.findall(text) if isinstance(text, str) else ():
        name, _, attribute = expression.strip().partition(".")
        if name not in given:
            yield Reference(ReferenceKind.ATTRIBUTE if attribute else ReferenceKind.REF, name)
