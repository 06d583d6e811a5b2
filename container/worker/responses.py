"""From what a handler returns and sets to a response that both front ends can send.

A status line or header that Java's HTTP library (Netty) rejects must not reach it: MMS would drop the worker's
connection without a reason. It is checked here, where the error can name it.
"""

import json
from collections.abc import Generator, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from polyhost.container.errors import BadAnswerError, ResponseTooLargeError
from polyhost.container.worker import http_fields
from polyhost.handlers.body import contents

_MAX_PHRASE_BYTES = 1000
# As http.client.responses, whose import takes 20 ms of each process.
_PHRASES: Mapping[int, str] = {status: status.phrase for status in HTTPStatus}


def reason_phrase(status: Any) -> str:
    """Return the usual phrase; without one MMS would send a status line that ends after the number."""
    return _PHRASES.get(status, "")


def checked_status(status: Any, phrase: Any) -> tuple[int, str]:
    """Return the status, by default 200, and its phrase. Raises BadAnswerError."""
    status = status or 200
    phrase = str(phrase or reason_phrase(status))
    if not (http_fields.is_status(status) and http_fields.is_value(phrase)):
        raise BadAnswerError(f"handle() set the status {status!r} {phrase!r}; it must be a number from 200 to 599")
    if len(phrase.encode()) > _MAX_PHRASE_BYTES:
        message = f"handle() set a phrase of {len(phrase)} characters; at most {_MAX_PHRASE_BYTES} bytes are sent"
        raise BadAnswerError(message)
    return status, phrase


def checked_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Return the headers without those that the front end sets: a second framing would contradict its own.

    Of two whose names differ in case only, the one that was set first goes, as in Netty. Raises BadAnswerError.
    """
    texts: dict[str, tuple[Any, str]] = {}
    for name, value in headers.items():
        key = str(name).lower()
        if key not in http_fields.FRAMING:
            texts[key] = (key if key == "content-type" else name, str(value))
    for name, value in texts.values():
        if not (http_fields.is_name(name) and http_fields.is_value(value)):
            raise BadAnswerError(f"handle() set the header {name!r} to {value!r}, which HTTP cannot carry")
    checked = dict(texts.values())
    size = sum(len(name) + len(value.encode()) for name, value in checked.items())
    if len(checked) > http_fields.MAX_HEADERS or size > http_fields.MAX_HEADERS_BYTES:
        raise BadAnswerError(
            f"handle() set {len(checked)} headers of {size} bytes together; at most {http_fields.MAX_HEADERS} headers"
            f" of {http_fields.MAX_HEADERS_BYTES} bytes are sent"
        )
    return checked


def checked_items(returned: Any, count: int) -> list[Any]:
    """Return what a handler returned as one item for each of `count` requests. Raises BadAnswerError."""
    if (isinstance(returned, Iterator) or contents.is_file(returned)) and count == 1:
        return [returned]
    if not isinstance(returned, list):
        raise BadAnswerError(f"handle() returned {kind_of(returned)}; it must return a list, one item per request")
    if len(returned) != count:
        raise BadAnswerError(f"handle() returned {len(returned)} items for {count} requests")
    return returned


def check_size(size: int, limit: int | None) -> None:
    """Raise ResponseTooLargeError above the limit, in bytes."""
    if limit is not None and size > limit:
        raise ResponseTooLargeError(
            f"the response has {size} bytes, the limit is {limit}; raise SAGEMAKER_MAX_REQUEST_SIZE (MB, for requests"
            " and responses)"
        )


def kind_of(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def whole(item: Any) -> Any:
    """Return what a file or buffer holds, as bytes or text; anything else unchanged. Raises HandlerError."""
    return contents.whole(item, "handle()")


def encode(item: Any, headers: dict[str, str]) -> bytes:
    """Return text and bytes as they are, what a file holds, and anything else as JSON, as MMS does."""
    item = whole(item)
    if isinstance(item, bytes):
        return item
    if isinstance(item, str):
        return item.encode()
    body = _json(item, 2).encode(errors="backslashreplace")  # half a surrogate pair, as JSON has it
    headers.setdefault("content-type", "application/json")
    return body


def _json(item: Any, indent: int | None) -> str:
    """Write as MMS does, and what its json.dumps cannot write (arrays, dates, other keys) as our own handlers do."""
    try:
        return json.dumps(item, indent=indent)
    except (TypeError, ValueError, RecursionError):
        from polyhost.handlers.body import json_values  # only here: most handlers return text, and some have no numpy

        return json_values.dumps(item, indent)


def encode_chunk(chunk: Any, headers: dict[str, str]) -> bytes:
    """Return an object as a JSON line, so that a reader of the stream sees where one ends."""
    chunk = whole(chunk)
    if isinstance(chunk, bytes | str):
        return encode(chunk, headers)
    headers.setdefault("content-type", "application/jsonlines")
    return _json(chunk, None).encode(errors="backslashreplace") + b"\n"


def encode_chunks(chunks: Iterator[Any], headers: dict[str, str], limit: int | None = None) -> Iterator[bytes]:
    """Encode chunks as they are read; a generator is closed with this one. Raises ResponseTooLargeError."""
    try:
        for chunk in chunks:
            encoded = encode_chunk(chunk, headers)
            check_size(len(encoded), limit)
            yield encoded
    finally:
        if isinstance(chunks, Generator):
            chunks.close()
