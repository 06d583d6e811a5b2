"""CloudFormation's templates, read so that they are data only: a tag never names a class or a function of Python's."""

import json
from typing import Any

import yaml

from polyhost.emulator.errors import ValidationError

_MAX_BYTES = 1_000_000  # of a template in S3; AWS allows 51,200 in a request
_FUNCTIONS = (
    *("And", "Base64", "Cidr", "Equals", "FindInMap", "GetAtt", "GetAZs", "If", "ImportValue", "Join", "Length"),
    *("Not", "Or", "Select", "Split", "Sub", "ToJsonString", "Transform"),
    *("Contains", "EachMemberEquals", "EachMemberIn", "RefAll", "ValueOf", "ValueOfAll"),
)
_SHORT_FORMS = {"!Ref": "Ref", "!Condition": "Condition"} | {f"!{name}": f"Fn::{name}" for name in _FUNCTIONS}


def parse_template(text: object) -> dict[str, Any]:
    """Return a template in JSON or YAML with the full names of its functions. Raises ValidationError."""
    if not isinstance(text, str):
        raise ValidationError("Either Template URL or Template Body must be specified.")
    if len(text.encode()) > _MAX_BYTES:
        raise ValidationError(f"Template may not exceed {_MAX_BYTES} bytes in size.")
    template = parse_document(text)
    if not isinstance(template, dict):
        raise ValidationError("Template format error: unsupported structure.")
    if not isinstance(template.get("Resources"), dict) or not template["Resources"]:
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    return template


def parse_document(text: str) -> Any:
    """Return the content of JSON or YAML. Raises ValidationError."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass  # perhaps YAML, which has braces too
        except (ValueError, RecursionError):
            raise ValidationError("Template format error: JSON not well-formed.") from None
    try:
        return yaml.load(text, Loader=_TemplateLoader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise ValidationError(f"Template format error: YAML not well-formed.{place}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ValidationError("Template format error: YAML not well-formed.") from None


class _TemplateLoader(yaml.SafeLoader):  # type: ignore[misc]
    """Knows the short forms of CloudFormation's functions, and no other tags than those of plain data.

    It is pure Python on purpose: the parser in C recurses on the C stack, which deep nesting overflows.
    """

    # As in AWS's user guide (template formats): dates are text, and there are no sets, pairs and binary data.
    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors = {  # noqa: RUF012
        tag: constructor
        for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "seq", "map", "str")
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Each alias may stand for a tree of aliases: a kilobyte becomes gigabytes.
        if self.check_event(yaml.AliasEvent):
            raise ValidationError("Template error: YAML aliases are not allowed in CloudFormation templates")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_function(self, node: yaml.Node) -> dict[str, Any]:
        """Return the full form of a function: `!Ref a` is `{"Ref": "a"}`."""
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = self.construct_sequence(node, deep=True)
        elif isinstance(node, yaml.MappingNode):
            value = self.construct_mapping(node, deep=True)
        else:
            value = node.value
        if node.tag == "!GetAtt" and isinstance(value, str):
            value = value.split(".", 1)
        return {_SHORT_FORMS[node.tag]: value}


for _tag in _SHORT_FORMS:
    _TemplateLoader.add_constructor(_tag, _TemplateLoader.construct_function)
