"""The little of ASGI that the API needs: reading a request's body, sending responses and AWS's errors."""

import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from polyhost.emulator.errors import AwsError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApplication = Callable[[Scope, Receive, Send], Awaitable[None]]

RequestHeaders = Mapping[bytes, bytes]  # names in lower case
ResponseHeaders = list[tuple[bytes, bytes]]

_REQUEST_ID = b"x-amzn-requestid"


class ClientDisconnected(Exception):  # noqa: N818
    """The client closed the connection before its request was complete."""


class StreamedResponse:
    """A response with status 200 that is sent chunk by chunk."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def start(self, headers: ResponseHeaders) -> None:
        """Send the head."""
        await self._send({"type": "http.response.start", "status": 200, "headers": [*headers, _request_id()]})

    async def send(self, chunk: bytes) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        """End the body."""
        await self._send({"type": "http.response.body", "body": b""})


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """Return a request's body; of one that is too long, just enough to exceed `max_bytes`.

    Raises ClientDisconnected.
    """
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= max_bytes + len(chunk):
            chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks) if len(chunks) != 1 else chunks[0]


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def send_response(send: Send, status: int, headers: ResponseHeaders, body: bytes) -> None:
    """Send a whole response, with a request ID as AWS gives one if the headers have none."""
    known = any(name == _REQUEST_ID for name, _ in headers)
    extra = [*([] if known else [_request_id()]), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + extra})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: AwsError, content_type: bytes, message_member: str) -> None:
    """Send an error as the JSON that botocore parses; AWS's services spell the message's member differently."""
    headers, body = error.encode(content_type, message_member)
    await send_response(send, error.status, headers, body)


def _request_id() -> tuple[bytes, bytes]:
    return _REQUEST_ID, str(uuid.uuid4()).encode()
