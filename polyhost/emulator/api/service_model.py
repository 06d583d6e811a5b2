"""Requests and responses of AWS's JSON services, checked against botocore's models as the services check them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import botocore.session

from polyhost.emulator.errors import UnknownOperation, ValidationException

# What java.util.regex.Pattern has, and what stands for it in Python's `re`.
_JAVA_SYNTAX = ((r"\p{ASCII}", r"[\x00-\x7f]"), (r"[\p{Print}]", r"[\x20-\x7e]"), (r"\z", r"\Z"))
_MODEL_DATA_URL_SHAPE = "Url"  # the emulator accepts file:// in addition to the shape's pattern


class ServiceModel:
    """botocore's model of one service, such as `sagemaker`."""

    def __init__(self, service: str) -> None:
        self._model = botocore.session.get_session().get_service_model(service)
        self._members: dict[str, Mapping[str, Any]] = {}

    def parse(self, operation: str, body: bytes) -> dict[str, Any]:
        """Return a request's members.

        Raises UnknownOperation, or ValidationException that names every violated constraint.
        """
        if operation not in self._model.operation_names:
            raise UnknownOperation(f"The requested operation {operation} is not recognized by the service.")
        try:
            members = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            members = None
        if not isinstance(members, dict):
            raise ValidationException("The request's body is not a JSON object.")
        shape = self._model.operation_model(operation).input_shape
        violations = list(_violations(shape, members, "")) if shape is not None else []
        if violations:
            raise ValidationException(violations_message(violations))
        return members

    def header_members(self, operation: str) -> dict[bytes, str]:
        """Return the members that are sent as headers, by the header's name in lower case."""
        return {
            member.serialization["name"].lower().encode(): name
            for name, member in self._input_members(operation).items()
            if member.serialization.get("location") == "header"
        }

    def violations(self, operation: str, members: Mapping[str, str | bytes]) -> list[str]:
        """Return the constraints that these members violate, each member by itself."""
        known = self._input_members(operation)
        return [text for name, value in members.items() for text in _violations(known[name], value, _lower(name))]

    def encode(self, operation: str, members: dict[str, Any]) -> bytes:
        """Return a response's body: the members of its shape, without those that are None.

        Times are seconds since 1970.
        """
        shape = self._model.operation_model(operation).output_shape
        return json.dumps(_known(shape, members)).encode() if shape is not None else b"{}"

    def _input_members(self, operation: str) -> Mapping[str, Any]:
        """Return the members of an operation's input, cached because botocore builds them anew each time."""
        if operation not in self._members:
            self._members[operation] = self._model.operation_model(operation).input_shape.members
        return self._members[operation]


def violations_message(violations: Sequence[str]) -> str:
    """Return the services' message for violated constraints."""
    plural = "" if len(violations) == 1 else "s"
    return f"{len(violations)} validation error{plural} detected: {'; '.join(violations)}"


def _known(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure":
        return {
            name: _known(member, value[name]) for name, member in shape.members.items() if value.get(name) is not None
        }
    return [_known(shape.member, item) for item in value] if shape.type_name == "list" else value


def _violations(shape: Any, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        yield from _violations_in_structure(shape, value, path)
    elif shape.type_name == "list":
        yield from _violations_in_list(shape, value, path)
    elif shape.type_name == "map":
        yield from _violations_in_map(shape, value, path)
    elif shape.type_name == "string":
        yield from _violations_in_string(shape, value, path)
    elif shape.type_name in ("integer", "long", "float", "double", "timestamp"):
        yield from _violations_in_number(shape, value, path)
    elif shape.type_name == "blob":
        yield from _violations_in_length(shape, value, path)
    elif shape.type_name == "boolean" and not isinstance(value, bool):
        yield _violation(shape, value, path, "Member must be a boolean")


def _violations_in_structure(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _violation(shape, value, path, "Member must be a structure")
        return
    for name, member in shape.members.items():
        inner = f"{path}.{_lower(name)}" if path else _lower(name)
        if value.get(name) is not None:
            yield from _violations(member, value[name], inner)
        elif name in shape.required_members:
            yield f"Value null at '{inner}' failed to satisfy constraint: Member must not be null"


def _violations_in_list(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield _violation(shape, value, path, "Member must be a list")
        return
    yield from _violations_in_length(shape, value, path)
    for number, item in enumerate(value, 1):
        yield from _violations(shape.member, item, f"{path}.{number}.member")


def _violations_in_map(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield _violation(shape, value, path, "Member must be a map")
        return
    yield from _violations_in_length(shape, value, path)
    for name, item in value.items():
        yield from _violations(shape.key, name, path)
        yield from _violations(shape.value, item, f"{path}.{name}.member")


def _violations_in_string(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _violation(shape, value, path, "Member must be a string")
        return
    yield from _violations_in_length(shape, value, path)
    pattern = shape.metadata.get("pattern")
    if (
        pattern
        and not (shape.name == _MODEL_DATA_URL_SHAPE and value.startswith("file://"))
        and not _matches(pattern, value)
    ):
        yield _violation(shape, value, path, f"Member must satisfy regular expression pattern: {pattern}")
    if shape.enum and value not in shape.enum:
        yield _violation(shape, value, path, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")


def _violations_in_number(shape: Any, value: Any, path: str) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        yield _violation(shape, value, path, "Member must be a number")
        return
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield _violation(shape, value, path, f"Member must have value greater than or equal to {least}")
    if most is not None and value > most:
        yield _violation(shape, value, path, f"Member must have value less than or equal to {most}")


def _violations_in_length(shape: Any, value: Any, path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and len(value) < least:
        yield _violation(shape, value, path, f"Member must have length greater than or equal to {least}")
    if most is not None and len(value) > most:
        yield _violation(shape, value, path, f"Member must have length less than or equal to {most}")


def _matches(pattern: str, value: str) -> bool:
    for java, python in _JAVA_SYNTAX:
        pattern = pattern.replace(java, python)
    try:
        return re.fullmatch(pattern, value) is not None
    except re.error:  # further Java syntax, such as \p{L}, which Python does not have
        return True


def _violation(shape: Any, value: Any, path: str, constraint: str) -> str:
    shown = "Value" if shape.metadata.get("sensitive") else f"Value '{value}'"
    return f"{shown} at '{path}' failed to satisfy constraint: {constraint}"


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
