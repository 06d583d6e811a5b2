"""Calls of the emulator's own AWS, with a template's values converted to what the operations take."""

import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polyhost.emulator.cloudformation.errors import ChangeCancelledError, EmulatorStoppingError, ResourceError
from polyhost.emulator.cloudformation.resource_types.interfaces import Aws, Properties

_POLL_S = 0.1
# How the services say that something does not exist: there is nothing to delete then.
_MISSING = ("NoSuch", "NotFound", "Could not find", "NonExistent", "does not exist", "No scal", "No scheduled")

ClientOf = Callable[[str], Any]


class EmulatorCalls(Aws):
    """Calls by boto3's clients, until `cancelled` or `stopping` is set."""

    def __init__(self, region: str, client_of: ClientOf, stopping: threading.Event) -> None:
        self.region = region
        self.cancelled = threading.Event()
        self._client_of = client_of
        self._stopping = stopping

    def call(self, service: str, operation: str, members: Properties) -> dict[str, Any]:
        """Call an operation. Raises ResourceError with the service's message."""
        self._check()
        client = self._client_of(service)
        shape = client.meta.service_model.operation_model(operation).input_shape
        converted = convert(shape, members, "") if shape is not None else {}
        method = client.meta.method_to_api_mapping
        name = next(name for name, called in method.items() if called == operation)
        try:
            response: dict[str, Any] = getattr(client, name)(**converted)
        except ClientError as error:
            content = error.response["Error"]
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            raise ResourceError(
                f"{content.get('Message') or content['Code']}"
                f" (Service: {service}, Operation: {operation}, Status Code: {status}, Code: {content['Code']})"
            ) from None
        except BotoCoreError as error:  # a missing member, for example
            raise ResourceError(f"{error} (Service: {service}, Operation: {operation})") from None
        return response

    def wait_until(self, reached: Callable[[], bool]) -> None:
        """Return when a state is reached. Raises ChangeCancelledError and EmulatorStoppingError."""
        while not reached():
            self._stopping.wait(_POLL_S)
            self._check()

    def discard(self, service: str, operation: str, members: Properties) -> None:
        """Call an operation that deletes something; if it does not exist, that is as good. Raises ResourceError."""
        try:
            self.call(service, operation, members)
        except ResourceError as error:
            if not _is_missing(error):
                raise

    def _check(self) -> None:
        if self._stopping.is_set():
            raise EmulatorStoppingError
        if self.cancelled.is_set():
            raise ChangeCancelledError("Resource operation was cancelled")


def _is_missing(error: ResourceError) -> bool:
    """Return whether a call failed because what it is about does not exist."""
    return any(word in str(error) for word in _MISSING)


def convert(shape: Any, value: Any, path: str) -> Any:
    """Return a value of a template as an operation takes it: the values of parameters are text, whatever they mean.

    Raises ResourceError for a property that the operation does not have, or a value that cannot be converted.
    """
    if shape.type_name == "structure":
        return _structure(shape, value, path)
    if shape.type_name == "list":
        if not isinstance(value, list):
            raise _unusable(value, path, "a list")
        return [convert(shape.member, item, f"{path}/{number}") for number, item in enumerate(value)]
    if shape.type_name == "map":
        if not isinstance(value, dict):
            raise _unusable(value, path, "a map")
        return {str(name): convert(shape.value, item, f"{path}/{name}") for name, item in value.items()}
    if isinstance(value, dict | list):
        raise _unusable(value, path, f"of type {shape.type_name}")
    return _scalar(shape.type_name, value, path)


def _structure(shape: Any, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unusable(value, path, "an object")
    for name in value:
        if name not in shape.members:
            raise ResourceError(f"Encountered unsupported property {path.lstrip('/') + '/' if path else ''}{name}")
    return {name: convert(shape.members[name], item, f"{path}/{name}") for name, item in value.items()}


def _scalar(kind: str, value: Any, path: str) -> Any:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        raise _unusable(value, path, f"of type {kind}") from None
    if kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise _unusable(value, path, "true or false")
        return text.lower() == "true"
    return text if kind == "string" else value


def _unusable(value: Any, path: str, wanted: str) -> ResourceError:
    return ResourceError(f"Value {value!r} of {path.lstrip('/') or 'Properties'} must be {wanted}")
