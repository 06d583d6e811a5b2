"""What a script's output_fn or transform_fn may return, and the response that it becomes."""

from collections.abc import Iterator
from typing import Any

from polyhost.handlers.base import HandlerResponse
from polyhost.handlers.body import contents, encoders
from polyhost.handlers.body.media_types import ARRAYS, JSON, MediaType
from polyhost.handlers.errors import WrongAnswerError


def response(returned: Any, accept: str, function: str) -> HandlerResponse:
    """Send text, bytes, an iterator of them, and what a file holds; write anything else in the type that it is given.

    Of the types that predictions are written as; of others, and without one, it becomes JSON, as in MMS.
    """
    body, content_type = returned, None
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[1], str):
        body, content_type = returned
    if hasattr(body, "get_data") and hasattr(body, "status_code"):
        return _web_response(body, content_type)
    body = contents.whole(body, function)
    if isinstance(body, str | bytes | Iterator):
        return HandlerResponse(body, content_type or accept)
    if body is None:
        raise WrongAnswerError(
            f"{function} returned None; it must return the body, or yield it in chunks, or return a pair of the body "
            "and its content type"
        )
    written_as = MediaType.parse(content_type or JSON).name
    return HandlerResponse(encoders.encode(body, written_as if written_as in ARRAYS else JSON), content_type or JSON)


def _web_response(returned: Any, content_type: str | None) -> HandlerResponse:
    """Convert a response of Flask's kind, such as sagemaker_containers' worker.Response."""
    body = returned.get_data()
    headers = {name: value for name, value in dict(returned.headers).items() if name.lower() != "content-type"}
    if not isinstance(body, str | bytes):
        body = encoders.encode(body, JSON)
    return HandlerResponse(body, content_type or returned.content_type, returned.status_code, headers)
