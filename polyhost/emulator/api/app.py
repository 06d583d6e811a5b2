"""One port for everything: which request is for the control plane, the runtime, the page, or for moto."""

import asyncio
import json
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from polyhost.emulator import aws
from polyhost.emulator.api.access import Callers
from polyhost.emulator.api.control import Control
from polyhost.emulator.api.runtime import MAX_BODY_BYTES, Headers, Invocation, Runtime
from polyhost.emulator.errors import AwsError, ValidationError

OWN_PATH = "/_polyhost"
_TARGET = b"SageMaker."
_ENDPOINTS = "/endpoints/"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

logger = logging.getLogger("polyhost.emulator")


class App:
    """An ASGI application; `own` serves what lies below /_polyhost, `others` is AWS without hosting."""

    def __init__(
        self, control: Control, runtime: Runtime, own: Application, others: Application, callers: Callers
    ) -> None:
        self._control = control
        self._runtime = runtime
        self._own = own
        self._others = others
        self._callers = callers
        self._invocations = {
            "invocations": self._invoke,
            "invocations-response-stream": self._stream,
            "async-invocations": self._invoke_later,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path: str = scope["path"]
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        try:
            self._callers.check(headers)
        except AwsError as error:
            await _send_error(send, error, b"application/json", "message")
            return
        if path.startswith(_ENDPOINTS) and scope["method"] == "POST":
            region, service = aws.scope(headers)
            name, _, action = path[len(_ENDPOINTS) :].partition("/")
            if service in ("sagemaker", "") and (invoke := self._invocations.get(action)):
                await invoke(region, name, headers, receive, send)
                return
        if headers.get(b"x-amz-target", b"").startswith(_TARGET):
            await self._manage(headers, receive, send)
        elif path.startswith(OWN_PATH):
            await self._own(scope, receive, send)
        elif path == "/" and b"authorization" not in headers and b"text/html" in headers.get(b"accept", b""):
            await _send(send, 307, [(b"location", f"{OWN_PATH}/".encode())], b"")
        else:
            await self._others(scope, receive, send)

    async def _invoke(
        self, region: str, name: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        try:
            body = await _body(receive)
            answer: Invocation = await self._runtime.invoke(region, name, headers, body)
        except AwsError as error:
            await _send_error(send, error, b"application/json", "Message")
        except ClientGone:
            return
        except Exception as error:
            logger.exception("the invocation of %s failed", name)
            await _send_error(send, AwsError(f"the emulator failed: {error!r}"), b"application/json", "Message")
        else:
            await _send(send, 200, answer.headers, answer.body)

    async def _stream(
        self, region: str, name: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        try:
            body = await _body(receive)
        except ClientGone:
            return
        work = asyncio.create_task(self._relay(region, name, headers, body, send))
        gone = asyncio.create_task(_until_gone(receive))
        try:
            # Who hung up is told nothing more: the container sees it too, and can end what it computes.
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            gone.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _relay(self, region: str, name: str, headers: Mapping[bytes, bytes], body: bytes, send: Send) -> None:
        response = _Response(send)
        try:
            await self._runtime.stream(region, name, headers, body, response)
        except AwsError as error:
            await _send_error(send, error, b"application/json", "Message")
        except Exception as error:
            logger.exception("the invocation of %s failed", name)
            await _send_error(send, AwsError(f"the emulator failed: {error!r}"), b"application/json", "Message")
        else:
            await response.end()

    async def _invoke_later(
        self, region: str, name: str, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        error = ValidationError(f"The emulator does not have InvokeEndpointAsync; call {name} by InvokeEndpoint.")
        await _send_error(send, error, b"application/json", "Message")

    async def _manage(self, headers: Mapping[bytes, bytes], receive: Receive, send: Send) -> None:
        region, _ = aws.scope(headers)
        operation = headers[b"x-amz-target"][len(_TARGET) :].decode("latin-1")
        try:
            content = await self._control.call(region, operation, await _body(receive), aws.waits(headers))
        except AwsError as error:
            await _send_error(send, error, b"application/x-amz-json-1.1", "message")
        except ClientGone:
            return
        except Exception as error:
            logger.exception("%s failed", operation)
            failure = AwsError(f"the emulator failed: {error!r}")
            await _send_error(send, failure, b"application/x-amz-json-1.1", "message")
        else:
            await _send(send, 200, [(b"content-type", b"application/x-amz-json-1.1")], content)


class _Response:
    """A response that is sent piece by piece."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def begin(self, headers: Headers) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": [*headers, _request_id()]})

    async def send(self, piece: bytes) -> None:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})


class ClientGone(Exception):  # noqa: N818
    """The client closed the connection before its request was whole."""


async def _body(receive: Receive) -> bytes:
    """Of a body that is too long, just enough to know that it is."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size <= MAX_BODY_BYTES + len(piece):
            pieces.append(piece)
        if not message.get("more_body"):
            return b"".join(pieces) if len(pieces) != 1 else pieces[0]


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_error(send: Send, error: AwsError, content_type: bytes, message_member: str) -> None:
    content = {"__type": error.code, message_member: error.message, **error.members}
    headers = [(b"content-type", content_type), (b"x-amzn-errortype", error.code.encode())]
    await _send(send, error.status, headers, json.dumps(content).encode())


async def _send(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    extra = [_request_id(), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers + extra})
    await send({"type": "http.response.body", "body": body})


def _request_id() -> tuple[bytes, bytes]:
    return b"x-amzn-requestid", str(uuid.uuid4()).encode()
