"""The values of a template: its functions and conditions, evaluated with what is known of the stack."""

import base64
import ipaddress
import json
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from polyhost.emulator.cloudformation.physical import Physical
from polyhost.emulator.cloudformation.references import SUBSTITUTION, attribute_path
from polyhost.emulator.cloudformation.template import Template
from polyhost.emulator.errors import ValidationError

_NO_VALUE = object()  # what AWS::NoValue stands for: the property is as if it was not there
_ZONES = "abc"


class TemplateEvaluation:
    """Evaluates values of one template.

    `names` are the values of parameters and pseudo-parameters, `resources` what each resource is once it is made,
    `exports` the values that other stacks have exported.
    """

    def __init__(
        self,
        template: Template,
        names: Mapping[str, Any],
        resources: Mapping[str, Physical],
        exports: Callable[[str], str],
    ) -> None:
        self._template = template
        self._names = names
        self._resources = resources
        self._exports = exports
        self._conditions: dict[str, bool | None] = {}  # None while a condition is evaluated
        self._functions: Mapping[str, Callable[[Any], Any]] = {
            "Ref": self._ref,
            "Condition": self.condition,
            "Fn::GetAtt": self._attribute,
            "Fn::Sub": self._substitute,
            "Fn::Join": self._join,
            "Fn::Split": lambda item: str(self._of(item, 2)[1]).split(str(item[0])),
            "Fn::Select": self._select,
            "Fn::FindInMap": self._find_in_map,
            "Fn::If": self._if,
            "Fn::Equals": lambda item: _same(*self._of(item, 2)),
            "Fn::And": lambda item: all(self._of(item)),
            "Fn::Or": lambda item: any(self._of(item)),
            "Fn::Not": lambda item: not self._of(item, 1)[0],
            "Fn::Base64": lambda item: base64.b64encode(str(self.value(item)).encode()).decode(),
            "Fn::Cidr": self._cidr,
            "Fn::GetAZs": lambda item: [f"{self.value(item) or self._names['AWS::Region']}{zone}" for zone in _ZONES],
            "Fn::ImportValue": lambda item: self._exports(str(self.value(item))),
            "Fn::Length": lambda item: len(self.value(item)),
            "Fn::ToJsonString": lambda item: json.dumps(self.value(item)),
        }

    def value(self, node: Any) -> Any:
        """Return a value with all functions evaluated. Raises ValidationError."""
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not _NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            ((name, argument),) = node.items()
            if function := self._functions.get(name):
                try:
                    return function(argument)
                except (IndexError, KeyError, TypeError, ValueError) as error:
                    raise ValidationError(f"Template error: {name} cannot be evaluated: {error!r}") from None
            if str(name).startswith("Fn::"):
                raise ValidationError(f"Template error: the emulator does not support the function {name}.")
        evaluated = {name: self.value(item) for name, item in node.items()}
        return {name: item for name, item in evaluated.items() if item is not _NO_VALUE}

    def condition(self, name: str) -> bool:
        """Return whether a condition holds. Raises ValidationError if it depends on itself."""
        known = self._conditions.get(name, _NO_VALUE)
        if known is None:
            raise ValidationError(f"Circular dependencies for conditions: [{name}]")
        if not isinstance(known, bool):
            self._conditions[name] = None
            self._conditions[name] = known = bool(self.value(self._template.conditions[name]))
        return known

    def _of(self, argument: Any, count: int | None = None) -> list[Any]:
        """Return the evaluated list that is a function's argument."""
        if not isinstance(argument, list) or count not in (None, len(argument)):
            raise ValueError(f"the argument is to be a list{f' of {count}' if count else ''}")
        return [self.value(item) for item in argument]

    def _ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return _NO_VALUE
        return self._names[name] if name in self._names else self._resource(name).id

    def _attribute(self, argument: Any) -> str:
        name, attribute = attribute_path(argument)
        resource, attribute = self._resource(name), str(self.value(attribute))
        try:
            return resource.attributes[attribute]
        except KeyError:
            raise ValidationError(
                f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt; it has"
                f" {', '.join(sorted(resource.attributes)) or 'none'}"
            ) from None

    def _resource(self, name: str) -> Physical:
        try:
            return self._resources[name]
        except KeyError:
            raise ValidationError(f"Unresolved resource dependencies [{name}]: its condition is false") from None

    def _substitute(self, argument: Any) -> str:
        text, given = argument if isinstance(argument, list) else (argument, {})

        def replacement(match: Any) -> str:
            name = match.group(1).strip()
            if name in given:
                return str(self.value(given[name]))
            return str(self._attribute(name) if "." in name else self._ref(name))

        return SUBSTITUTION.sub(replacement, text).replace("${!", "${")

    def _join(self, argument: Any) -> str:
        separator, items = argument
        return str(separator).join(_text(item) for item in self.value(items))

    def _select(self, argument: Any) -> Any:
        index, items = self._of(argument, 2)
        return items[int(index)]

    def _find_in_map(self, argument: Any) -> Any:
        name, first, second = self._of(argument, 3)
        try:
            return self._template.mappings[name][first][second]
        except (KeyError, TypeError):
            raise ValidationError(f"Template error: Unable to get mapping for {name}::{first}::{second}") from None

    def _if(self, argument: Any) -> Any:
        condition, when_true, when_false = argument
        return self.value(when_true if self.condition(condition) else when_false)

    def _cidr(self, argument: Any) -> list[str]:
        block, count, *bits = self._of(argument)
        network = ipaddress.ip_network(block)
        prefix = network.max_prefixlen - int(bits[0]) if bits else network.prefixlen + 8
        return [str(part) for part in islice(network.subnets(new_prefix=prefix), int(count))]


def _same(one: Any, other: Any) -> bool:
    return _text(one) == _text(other)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
