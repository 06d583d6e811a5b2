"""What a handler of the user's own gets as a body with MMS_DECODE_INPUT_REQUEST=true, as from MMS's own worker.

MMS (mms/protocol/otf_message_handler.py) parses JSON and decodes text; SageMaker's toolkit switches that off, and so it
is off here unless it is asked for. One thing differs: in MMS a body that cannot be decoded ends the worker.
"""

import json
from dataclasses import replace
from typing import Any

from polyhost.container.worker.types import Headers, Request
from polyhost.handlers import decoders
from polyhost.handlers.errors import BadBodyError
from polyhost.handlers.media_types import JSON, MediaType

_BODY = "body"


def decoded(request: Request) -> Request:
    """Return the request with its body decoded by its media type. Raises BadBodyError."""
    media_type = MediaType.parse(Headers(request.headers).get("content-type") or "")
    body = request.parameters.get(_BODY)
    if body is None or not (media_type.name == JSON or media_type.name.startswith("text")):
        return request
    text = decoders.text(body, media_type)
    value = _json(text) if media_type.name == JSON else text
    return replace(request, parameters={**request.parameters, _BODY: value})


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadBodyError(f"the body is not JSON: {error}") from error
