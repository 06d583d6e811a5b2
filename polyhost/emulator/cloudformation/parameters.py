"""The values of a template's parameters, checked as CloudFormation checks them."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from polyhost.emulator.errors import ValidationError

_FROM_SSM = "AWS::SSM::Parameter::Value<"
_LISTS = ("List<", "CommaDelimitedList")


def given_values(items: list[dict[str, Any]], previous: Mapping[str, str]) -> dict[str, str]:
    """Return the values of a request's Parameters. Raises ValidationError if a previous value does not exist."""
    values = {}
    for item in items:
        name = item["ParameterKey"]
        if item.get("UsePreviousValue"):
            if name not in previous:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true"
                    " for a parameter key not in the previous template"
                )
            values[name] = previous[name]
        else:
            values[name] = item.get("ParameterValue", "")
    return values


def complete(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, str]:
    """Return the text of every parameter, given or by default. Raises ValidationError that names the parameter."""
    if unknown := sorted(given.keys() - declared.keys()):
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    if missing := [name for name, item in declared.items() if name not in given and "Default" not in item]:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    texts = {name: given.get(name, _text(item.get("Default"))) for name, item in declared.items()}
    for name, item in declared.items():
        _check(name, item, texts[name])
    return texts


def resolve(
    declared: Mapping[str, Mapping[str, Any]], texts: Mapping[str, str], stored: Callable[[str], str]
) -> dict[str, Any]:
    """Return what Ref gives for each parameter. `stored` returns the value of a parameter of Systems Manager."""
    values: dict[str, Any] = {}
    for name, item in declared.items():
        kind, text = str(item.get("Type", "String")), texts[name]
        if kind.startswith(_FROM_SSM):
            kind, text = kind.removeprefix(_FROM_SSM), stored(text)
        values[name] = [part.strip() for part in text.split(",")] if kind.startswith(_LISTS) else text
    return values


def describe(declared: Mapping[str, Mapping[str, Any]], texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a stack's Parameters, without those that are not to be shown."""
    return [
        {"ParameterKey": name, "ParameterValue": "****" if _is_true(item.get("NoEcho")) else texts.get(name, "")}
        for name, item in declared.items()
    ]


def declare(declared: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the ParameterDeclarations of GetTemplateSummary, of which ValidateTemplate has a part."""
    return [
        {
            "ParameterKey": name,
            "DefaultValue": _text(item["Default"]) if "Default" in item else None,
            "ParameterType": item.get("Type", "String"),
            "NoEcho": _is_true(item.get("NoEcho")),
            "Description": item.get("Description"),
            "ParameterConstraints": {"AllowedValues": [_text(value) for value in item.get("AllowedValues") or []]},
        }
        for name, item in declared.items()
    ]


def _check(name: str, item: Mapping[str, Any], text: str) -> None:
    kind = str(item.get("Type", "String"))
    parts = [part.strip() for part in text.split(",")] if kind.startswith(_LISTS) else [text]
    for part in parts:
        if violation := next(_violations(item, kind, part), None):
            if explanation := item.get("ConstraintDescription"):
                violation = f"failed to satisfy constraint: {explanation}"
            raise ValidationError(f"Parameter '{name}' {violation}")


def _violations(item: Mapping[str, Any], kind: str, text: str) -> Iterator[str]:
    allowed = [_text(value) for value in item.get("AllowedValues") or []]
    if allowed and text not in allowed:
        yield f"must be one of AllowedValues: {', '.join(allowed)}"
    if "AllowedPattern" in item and re.fullmatch(str(item["AllowedPattern"]), text) is None:
        yield f"must match pattern {item['AllowedPattern']}"
    if "Number" in kind:
        try:
            number = float(text)
        except ValueError:
            yield f"must be a number, not {text!r}"
            return
        if "MinValue" in item and number < float(item["MinValue"]):
            yield f"must be a number not less than {item['MinValue']}"
        if "MaxValue" in item and number > float(item["MaxValue"]):
            yield f"must be a number not greater than {item['MaxValue']}"
    elif "MinLength" in item and len(text) < int(item["MinLength"]):
        yield f"must contain at least {item['MinLength']} characters"
    elif "MaxLength" in item and len(text) > int(item["MaxLength"]):
        yield f"must contain at most {item['MaxLength']} characters"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_true(value: Any) -> bool:
    return str(value).lower() == "true"
