"""The body of a load request, or its query: what MMS takes too (RegisterModelRequest.java)."""

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from polyhost.container.native.errors import bad_request
from polyhost.container.native.parser import HttpRequest
from polyhost.container.native.serving_options import of_load_request
from polyhost.handlers import lookup
from polyhost.handlers.errors import HandlerNotFoundError

# Of each text: a message to the fork server has room for all of them (control_protocol.py).
_MAX_TEXT_BYTES = 4096


@dataclass(frozen=True)
class LoadRequest:
    """What to load under which name.

    SageMaker sends these two only. `handler` is empty unless the request names one; `options` come before those of the
    archive and of the container.
    """

    name: str
    url: str
    handler: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, request: HttpRequest) -> Self:
        """Read the body, or the query if there is no body, as MMS does. Raises Rejection."""
        if request.query and not request.body:
            fields: Any = dict(request.parameters())
        else:
            fields = _parse_json(request.body)
        if not isinstance(fields, dict):
            raise bad_request("the body must be an object with model_name and url", phase="load")
        for key in ("model_name", "url", *(["handler"] if fields.get("handler") else [])):
            if not _is_text(fields.get(key)):
                message = (
                    f"{key} is {reprlib.repr(fields.get(key))}; it must be a string of 1 to {_MAX_TEXT_BYTES} bytes"
                    " without NUL"
                )
                raise bad_request(message, phase="load")
        _check_runtime(fields)
        options = of_load_request(fields, fields["model_name"])
        return cls(fields["model_name"], fields["url"], fields.get("handler") or "", options)


def _parse_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is not JSON: {error}", phase="load") from None


def _check_runtime(fields: dict[str, Any]) -> None:
    if fields.get("runtime") is None:
        return
    try:
        lookup.check_runtime(fields["runtime"], "the load request")
    except HandlerNotFoundError as error:
        raise bad_request(str(error), fields["model_name"], "load") from None


def _is_text(value: Any) -> bool:
    """Check the length; allow neither NUL, which no path has, nor lone surrogates, which JSON has but UTF-8 has not."""
    try:
        return isinstance(value, str) and 1 <= len(value.encode()) <= _MAX_TEXT_BYTES and "\0" not in value
    except UnicodeEncodeError:
        return False
