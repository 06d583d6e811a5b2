"""What a handler of the user's own is given with MMS_DECODE_INPUT_REQUEST=true, as from MMS's own worker.

MMS (mms/protocol/otf_message_handler.py) parses JSON and decodes text; SageMaker's toolkit switches that off, and so it
is off here unless it is asked for. One thing differs: in MMS a body that cannot be decoded ends the worker.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from polyhost.container.worker.types import Headers, Request
from polyhost.handlers.body import decoders
from polyhost.handlers.body.forms import FormItem
from polyhost.handlers.body.media_types import JSON, MediaType
from polyhost.handlers.errors import BadBodyError

_BODY = "body"


@dataclass(frozen=True)
class DecodedRequest(Request):
    """A request whose body, or fields of a form, are decoded by their media types."""

    decoded: dict[str, Any] = field(default_factory=dict)

    @property
    def item(self) -> dict[str, Any]:
        return self.decoded


def decoded(request: Request) -> DecodedRequest:
    """Return the request with what its handler is given decoded. Raises BadBodyError."""
    item = request.item
    if isinstance(item, FormItem):
        types = {field.name: field.content_type for field in item.fields}
    else:
        types = {_BODY: Headers(request.headers).get("content-type") or ""}
    for name, content_type in types.items():
        if name in item:
            item[name] = _decoded(name, item[name], MediaType.parse(content_type))
    return DecodedRequest(request.id, request.headers, request.parameters, request.fields, item)


def _decoded(name: str, value: Any, media_type: MediaType) -> Any:
    if media_type.name != JSON and not media_type.name.startswith("text"):
        return value
    text = decoders.text(value, media_type)
    if media_type.name != JSON:
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBodyError(f"{'the body' if name == _BODY else f'the field {name!r}'} is not JSON: {error}") from error
